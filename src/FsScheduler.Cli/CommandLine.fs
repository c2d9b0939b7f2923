namespace FsScheduler.Cli

open System
open System.Collections.Generic
open System.IO
open Argu
open FsScheduler.Core
open FsScheduler.Platform

/// Exit codes of both executables.
module ExitCode =

    let ok = 0

    /// With `--once`: a task is in quarantine, or a file was refused or not done in time. Of a command: something failed.
    let quarantined = 1
    let wrongArguments = 2

    /// A port is taken, a folder is missing or cannot be written, no scheduler is found, or too few files may be open.
    let cannotStart = 3

    /// A defect: the process has ended, because its state may be wrong.
    let broken = 70
    let interrupted = 130

    /// The reader of standard output has gone: the code of a shell for a program that SIGPIPE has ended.
    let outputClosed = 141

/// An invalid command line.
exception WrongArguments of message: string

/// Parses the values of a command line. Functions take the option, for the message, and its value, and throw
/// `WrongArguments`.
module CommandLine =

    let private orRaise option result =
        match result with
        | Ok value -> value
        | Error message -> raise (WrongArguments $"{option}: {message}")

    let duration option text =
        Quantity.duration text |> orRaise option

    let size option text = Quantity.size text |> orRaise option

    /// A size of at least `least`.
    let sizeFrom (least: Size) option text =
        let value = size option text

        if value < least then
            raise (
                WrongArguments $"{option}: '{text}' is less than {Quantity.ofSize least}, the least"
            )

        value

    /// A duration from `least` to twenty days, the limit of timers.
    let durationFrom (least: Duration) option text =
        let value = duration option text

        if value < least || value > 1_728_000_000L<ms> then
            raise (WrongArguments $"{option}: '{text}' is not from {least} ms to 20d")

        value

    let timeSpanFrom (least: Duration) option text =
        TimeSpan.FromMilliseconds(float (durationFrom least option text))

    let countBetween least most option (value: int) =
        if value < least || value > most then
            raise (WrongArguments $"{option}: {value} is not from {least} to {most}")

        value

    let oneOf (choices: string list) option (value: string) =
        if not (List.contains value choices) then
            let names = String.concat ", " choices
            raise (WrongArguments $"{option}: '{value}' is none of {names}")

        value

    let private commaSeparated (isValid: string -> bool) rule option (text: string) =
        let names =
            text.Split(
                ',',
                StringSplitOptions.TrimEntries ||| StringSplitOptions.RemoveEmptyEntries
            )

        for name in names do
            if not (isValid name) then
                raise (
                    WrongArguments $"{option}: '{name}' cannot be the name of a stage: use {rule}"
                )

        if names.Length = 0 then
            raise (WrongArguments $"{option}: there is no name in '{text}'")

        List.ofArray names

    /// Names of stages, separated by commas.
    let names option text =
        commaSeparated ProtocolLimits.isStageName "letters, digits, - _ and ." option text

    /// Stages and programs that workers offer, separated by commas, such as `exec:jq`.
    let offers option text =
        commaSeparated
            ProtocolLimits.isOffer
            "letters, digits, - _ and ., or exec:PROGRAM"
            option
            text

    /// The stages of `--expect`: known beside the built-in ones.
    let expected (text: string option) : Set<string> =
        text |> Option.map (offers "--expect") |> Option.defaultValue [] |> Set.ofList

    /// The pipeline of `--pipeline`.
    let pipeline (expected: Set<string>) (text: string option) : Pipeline =
        Pipeline.parse (HashSet expected) (defaultArg text "lower")
        |> Result.mapError _.message
        |> orRaise "--pipeline"

    /// Patterns are relative to the folder of inputs: a pattern that begins with the name of the folder fits no file.
    let private checkInside option (inputs: string) (pattern: NamePattern) =
        match NamePattern.insideFault inputs (string pattern) with
        | Some error -> Error $"of the pattern '{pattern}': {error}"
        | None -> Ok()
        |> orRaise option

    /// <summary>The routes of all options `--route`.</summary>
    /// <param name="inputs">The folder of inputs, as on the command line; patterns are relative to the folder.</param>
    /// <param name="expected">The stages of `--expect`.</param>
    /// <param name="texts">The values, in order.</param>
    let routes (inputs: string) (expected: Set<string>) (texts: string list) : Route list = [
        for text in texts do
            let route = Route.parse (HashSet expected) text |> orRaise "--route"

            checkInside "--route" inputs route.pattern
            route
    ]

    /// The rules of all options `--ignore`; `inputs` as for `routes`.
    let ignored (inputs: string) (texts: string list) : IgnoreRules =
        IgnoreRules [
            for text in texts do
                let pattern = IgnoreRules.parse text |> orRaise "--ignore"
                checkInside "--ignore" inputs pattern
                pattern
        ]

    let readFile option (path: string) =
        try
            File.ReadAllText path
        with
        | :? IOException
        | :? UnauthorizedAccessException as error ->
            raise (WrongArguments $"{option}: cannot read '{path}': {error.Message}")

    /// The first token of a role in a token file.
    let tokenFor (role: string) option (path: string) =
        let isOfRole (line: string) =
            match line.Split([| ' '; '\t'; '\r' |], StringSplitOptions.RemoveEmptyEntries) with
            | [| first; token |] when first = role -> Some token
            | _ -> None

        match readFile option path |> _.Split('\n') |> Array.tryPick isOfRole with
        | Some token -> token
        | None -> raise (WrongArguments $"{option}: {path} has no line '{role} TOKEN'")

    /// <summary>Runs a `main` with safe standard streams. A program whose reader has gone ends as by SIGPIPE.</summary>
    /// <param name="program">The name of the program in its own messages.</param>
    /// <param name="run">Returns the exit code.</param>
    let printing (program: string) (run: unit -> int) : int =
        StandardStreams.install ()

        try
            try
                match DescriptorLimit.shortage () with
                | ValueSome sentence ->
                    eprintfn $"{program}: {sentence}"
                    ExitCode.cannotStart
                | ValueNone -> run ()
            with
            | OutputClosed -> ExitCode.outputClosed
            | OutputFailed message ->
                eprintfn $"{program}: {message}"
                ExitCode.cannotStart
        finally
            StandardStreams.finish ()

    /// <summary>Parses a command line and runs it. Wrong arguments become a message and an exit code.</summary>
    /// <param name="program">The name of the executable, and of the command.</param>
    /// <param name="args">The arguments.</param>
    /// <param name="run">Returns the exit code. May throw `WrongArguments`.</param>
    let main<'arguments when 'arguments :> IArgParserTemplate>
        (program: string)
        (args: string[])
        (run: ParseResults<'arguments> -> int)
        : int =
        Signals.ignoreFileSize ()

        Terminal.encoding (Array.contains "--json" args)
        |> Option.iter StandardStreams.setEncoding

        match Terminal.foreignArgument () with
        | Some argument ->
            eprintfn
                $"{program}: the argument '{argument}' is not UTF-8, and would name another file; rename the file, or name a folder above it"

            ExitCode.wrongArguments
        | None when OptionHints.asksVersion args ->
            printfn "%s" (OptionHints.version program)
            ExitCode.ok
        | None ->
            let parser =
                ArgumentParser.Create<'arguments>(programName = program, checkStructure = false)

            let names = OptionHints.namesOf parser
            let args = OptionHints.normalize names args

            let refuse (message: string) =
                eprintfn $"{program}: {Terminal.printableLines message}"
                ExitCode.wrongArguments

            let refuseWithHint (message: string) =
                refuse $"{message}\n{program} --help lists the options."

            match OptionHints.findUnknown parser args, OptionHints.findEmpty args with
            | Some option, _ ->
                refuseWithHint (OptionHints.unknown names (Terminal.printable option))
            | None, Some option -> refuseWithHint $"{option}: the value is empty"
            | None, None ->
                try
                    run (parser.ParseCommandLine(args, raiseOnUsage = true))
                with
                | :? ArguParseException as error when error.ErrorCode = Argu.ErrorCode.HelpText ->
                    printfn $"{error.Message}"
                    ExitCode.ok
                | :? ArguParseException as error ->
                    let whole = error.Message.Replace("ERROR: ", "")
                    refuseWithHint ((Array.head (whole.Split "\nUSAGE:")).Trim())
                | WrongArguments message -> refuse message
