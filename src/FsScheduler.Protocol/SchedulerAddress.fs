namespace FsScheduler.Protocol

open System
open System.Net

/// Where a scheduler listens.
module SchedulerAddress =

    /// Reads `HOST:PORT`; the error says what to write.
    let parse (text: string) : Result<DnsEndPoint, string> =
        match text.LastIndexOf ':' with
        | colon when colon > 0 ->
            match Int32.TryParse(text.Substring(colon + 1)) with
            | true, port when port > 0 && port < 65_536 ->
                Ok(DnsEndPoint(text.Substring(0, colon).Trim('[', ']'), port))
            | _ -> Error $"'{text}' has no port from 1 to 65535 after its colon; write HOST:PORT"
        | _ -> Error $"'{text}' is not an address; write HOST:PORT, such as 127.0.0.1:7070"
