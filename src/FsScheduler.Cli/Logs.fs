namespace FsScheduler.Cli

open System
open System.Text.Json
open Microsoft.Extensions.Logging
open Microsoft.Extensions.Logging.Console

/// The logs of the executables, on standard error, and the options for them.
module Logs =

    let private levels = [ "trace"; "debug"; "info"; "warn"; "error"; "none" ]

    let private level name =
        match name with
        | "trace" -> LogLevel.Trace
        | "debug" -> LogLevel.Debug
        | "info" -> LogLevel.Information
        | "warn" -> LogLevel.Warning
        | "error" -> LogLevel.Error
        | _ -> LogLevel.None

    /// The line with a number of dropped lines, in the format of the log.
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

    /// The level by `--log-level`, `--quiet` or `--verbose`.
    let levelOf (given: string option) (isQuiet: bool) (isVerbose: bool) : string =
        match given, isQuiet, isVerbose with
        | None, true, false -> "warn"
        | None, false, true -> "debug"
        | None, false, false -> "info"
        | Some level, false, false -> CommandLine.oneOf levels "--log-level" level
        | _ -> raise (WrongArguments "--log-level, --quiet and --verbose: use one of them")

    /// <summary>Makes the log of a scheduler or a worker, which waits for no reader.</summary>
    /// <param name="program">The name of the executable.</param>
    /// <param name="levelName">The result of `levelOf`.</param>
    /// <param name="format">`--log-format`: text, or json for one object per line.</param>
    let create (program: string) (levelName: string) (format: string option) : ILoggerFactory =
        let json =
            CommandLine.oneOf [ "text"; "json" ] "--log-format" (defaultArg format "text") = "json"

        // Before the factory is made, which keeps the stream of this moment.
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
