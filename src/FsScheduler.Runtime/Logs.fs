namespace FsScheduler.Runtime

open System
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Console

/// Logs of the executables: to stderr, because stdout is for what was asked.
module Logs =

    /// Text that others wrote, as it may be shown: nobody writes lines of ours, or moves the cursor.
    let printable (text: string) =
        text |> String.map (fun letter -> if Char.IsControl letter then '?' else letter)

    /// The names of levels, as `--log-level` takes them.
    let levels = [ "trace"; "debug"; "info"; "warn"; "error"; "none" ]

    let private level name =
        match name with
        | "trace" -> LogLevel.Trace
        | "debug" -> LogLevel.Debug
        | "info" -> LogLevel.Information
        | "warn" -> LogLevel.Warning
        | "error" -> LogLevel.Error
        | _ -> LogLevel.None

    /// <summary>Makes the log of an executable.</summary>
    /// <param name="levelName">One of `levels`.</param>
    /// <param name="json">One JSON object a line instead of text.</param>
    let create (levelName: string) (json: bool) : ILoggerFactory =
        LoggerFactory.Create(fun builder ->
            builder.SetMinimumLevel(level levelName) |> ignore

            if json then
                builder.AddJsonConsole(fun options ->
                    options.UseUtcTimestamp <- true
                    options.TimestampFormat <- "yyyy-MM-ddTHH:mm:ss.fffZ")
                |> ignore
            else
                builder.AddSimpleConsole(fun options ->
                    options.SingleLine <- true
                    options.TimestampFormat <- "HH:mm:ss.fff "
                    options.ColorBehavior <- LoggerColorBehavior.Disabled)
                |> ignore

            builder.AddConsole(fun options ->
                options.LogToStandardErrorThreshold <- LogLevel.Trace)
            |> ignore)
