namespace FsScheduler.Journal

open System.Text.Json
open FsScheduler.Core

/// Prints recorded events, with number, time and the names of workers.
module EventPrint =

    /// The events whose journal form omits the number of a first attempt.
    let private ofAttempts =
        set [ "assigned"; "claimed"; "advanced"; "split"; "accepted"; "completed" ]

    /// The place of a payload, an array in the journal, as an object.
    let private writePlace (json: Utf8JsonWriter) (name: string) (place: JsonElement) =
        json.WriteStartObject name
        json.WriteNumber("at", place[0].GetInt64())
        json.WriteNumber("bytes", place[1].GetInt64())
        json.WriteEndObject()

    /// <summary>Writes an event as an object, with the values that the journal omits.</summary>
    /// <param name="json">A writer at the place of a value.</param>
    /// <param name="workerName">The name of the worker of a session.</param>
    /// <param name="event">The event.</param>
    let write (json: Utf8JsonWriter) (workerName: SessionId -> string) (event: RecordedEvent) =
        use document = JsonDocument.Parse event.json
        let root = document.RootElement
        let has (name: string) = fst (root.TryGetProperty name)
        let kind = nonNull (root.GetProperty("event").GetString())
        json.WriteStartObject()
        json.WriteNumber("number", event.number)
        json.WriteString("time", event.at.UtcDateTime.ToString "yyyy-MM-ddTHH:mm:ss.fffZ")

        for property in root.EnumerateObject() do
            match property.Name with
            | "payload"
            | "result" when property.Value.ValueKind = JsonValueKind.Array ->
                writePlace json property.Name property.Value
            | _ -> property.WriteTo json

            if property.NameEquals "task" && ofAttempts.Contains kind && not (has "attempt") then
                json.WriteNumber("attempt", 1)

            if property.NameEquals "session" && not (has "worker" || has "name" || has "ref") then
                let session = property.Value.GetInt64() * 1L<sessionId>
                json.WriteString("worker", workerName session)

        if kind = "assigned" then
            let first =
                match root.TryGetProperty "first" with
                | true, first -> first.GetInt32()
                | _ -> 0

            if not (has "first") then
                json.WriteNumber("first", 0)

            if not (has "last") then
                json.WriteNumber("last", first + 1)

        json.WriteEndObject()
