namespace FsScheduler.Cli

open System
open System.Text.Json
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Console

/// Logs of the executables, on stderr: stdout is for results.
module Logs =

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

    /// The line that counts dropped lines, in the format of the log.
    let private dropped (program: string) (json: bool) (count: int64) =
        let now = DateTime.UtcNow

        let message =
            $"{count} lines are missing here: standard error was not read, or could not be written"

        if json then
            JsonSerializer.Serialize {|
                Timestamp = now.ToString "yyyy-MM-ddTHH:mm:ss.fffZ"
                EventId = 0
                LogLevel = "Warning"
                Category = program
                Message = message
            |}
        else
            $"""{now.ToLocalTime().ToString "HH:mm:ss.fff"} warn: {program}[0] {message}"""

    /// <summary>Makes the log of a scheduler or a worker, which goes on whether anybody reads it or not.</summary>
    /// <param name="program">The name of the executable.</param>
    /// <param name="levelName">One of `levels`.</param>
    /// <param name="json">Whether each line is a JSON object instead of text.</param>
    let create (program: string) (levelName: string) (json: bool) : ILoggerFactory =
        // Before the factory, which keeps the stream that it finds.
        StandardStreams.detach (dropped program json)

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
