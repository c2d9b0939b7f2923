namespace FsScheduler.Cli

open System
open System.Globalization
open FsScheduler.Core

/// Durations and sizes with units, such as `500ms`, `5m` and `64MiB`.
module Quantity =

    let private durations = [
        "ms", 1L
        "s", 1_000L
        "m", 60_000L
        "h", 3_600_000L
        "d", 86_400_000L
    ]

    let private sizes = [
        "B", 1L
        "KiB", 1L <<< 10
        "MiB", 1L <<< 20
        "GiB", 1L <<< 30
        "TiB", 1L <<< 40
    ]

    let private parse
        (units: (string * int64) list)
        what
        example
        (text: string)
        : Result<int64, string> =
        let isOfNumber letter =
            Char.IsAsciiDigit letter || letter = '.'

        let digits = text |> Seq.takeWhile isOfNumber |> Seq.length
        let unit = text.Substring digits

        match
            Decimal.TryParse(
                text.Substring(0, digits),
                NumberStyles.AllowDecimalPoint,
                CultureInfo.InvariantCulture
            ),
            units
            |> List.tryFind (fun (name, _) ->
                String.Equals(name, unit, StringComparison.OrdinalIgnoreCase))
        with
        | (true, value), Some(_, factor) when value < decimal (1L <<< 50) / decimal factor ->
            Ok(int64 (value * decimal factor))
        | _ ->
            let names = units |> List.map fst |> String.concat ", "

            Error
                $"'{text}' is not a {what}: write a number and a unit ({names}), such as {example}"

    /// Milliseconds of a text such as `500ms`, `5m` or `1.5h`; or an error message.
    let duration (text: string) : Result<Duration, string> =
        parse durations "duration" "500ms or 5m" text
        |> Result.map (fun value -> value * 1L<ms>)

    /// Bytes of a text such as `64MiB`; or an error message.
    let size (text: string) : Result<Size, string> =
        parse sizes "size" "64MiB" text |> Result.map (fun value -> value * 1L<B>)

    /// A size in the largest unit that gives a whole number, such as `128KiB`.
    let ofSize (size: Size) : string =
        let unit, factor =
            sizes
            |> List.findBack (fun (_, factor) ->
                factor = 1L || size <> 0L<B> && int64 size % factor = 0L)

        $"{int64 size / factor}{unit}"
