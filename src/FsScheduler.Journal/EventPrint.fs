namespace FsScheduler.Journal

open System.Text.Json
open FsScheduler.Core

/// Recorded events for people and programs: what the journal has, with number, time and the names of workers.
module EventPrint =

    /// <summary>Writes one object.</summary>
    /// <param name="json">Where a value may stand.</param>
    /// <param name="workerName">What the worker of a session was called.</param>
    /// <param name="event">The event.</param>
    let write (json: Utf8JsonWriter) (workerName: SessionId -> string) (event: RecordedEvent) =
        use document = JsonDocument.Parse event.json
        let root = document.RootElement
        let has (name: string) = fst (root.TryGetProperty name)
        json.WriteStartObject()
        json.WriteNumber("number", event.number)
        json.WriteString("time", event.at.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ")

        for property in root.EnumerateObject() do
            property.WriteTo json

            if property.NameEquals "session" && not (has "worker" || has "name" || has "ref") then
                let session = property.Value.GetInt64() * 1L<sessionId>
                json.WriteString("worker", workerName session)

        json.WriteEndObject()
