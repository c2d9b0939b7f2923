namespace FsScheduler.Scheduler

open System
open System.Globalization
open System.Text
open Spectre.Console
open FsScheduler.Platform

/// Rows for people and for awk: in a terminal aligned, under a header, cut to the width of the terminal; in a pipe
/// complete, with a TAB between cells and no header, so that each line is an item.
module Columns =

    /// The columns of a terminal that a character takes: East Asian ones take two, marks none.
    let private widthOfRune (rune: Rune) =
        match Rune.GetUnicodeCategory rune with
        | UnicodeCategory.NonSpacingMark
        | UnicodeCategory.EnclosingMark
        | UnicodeCategory.Format -> 0
        | _ ->
            let value = rune.Value

            if
                value >= 0x1100 && value <= 0x115F
                || value >= 0x2E80 && value <= 0xA4CF
                || value >= 0xAC00 && value <= 0xD7A3
                || value >= 0xF900 && value <= 0xFAFF
                || value >= 0xFE30 && value <= 0xFE6F
                || value >= 0xFF00 && value <= 0xFF60
                || value >= 0x1F300 && value <= 0x1FAFF
                || value >= 0x20000 && value <= 0x3FFFD
            then
                2
            else
                1

    let widthOf (text: string) : int =
        let mutable width = 0

        for rune in text.EnumerateRunes() do
            width <- width + widthOfRune rune

        width

    /// As much of a text as fits, with an ellipsis in place of the rest.
    let cut (width: int) (text: string) : string =
        if widthOf text <= width then
            text
        else
            let kept = StringBuilder()
            let mutable taken = 1 // the ellipsis
            let mutable runes = text.EnumerateRunes()

            while runes.MoveNext() && taken + widthOfRune runes.Current <= width do
                taken <- taken + widthOfRune runes.Current
                kept.Append(string runes.Current) |> ignore

            kept.Append('…').ToString()

    /// A console for tables with borders: as wide as COLUMNS says, and without colours where they are not wanted.
    let console () =
        let colours =
            if Terminal.hasColours () then
                ColorSystemSupport.Detect
            else
                ColorSystemSupport.NoColors

        let console = AnsiConsole.Create(AnsiConsoleSettings(ColorSystem = colours))
        console.Profile.Width <- Terminal.width ()
        console

    let private cell (text: string) =
        if text = "" then "-" else Terminal.printable text

    /// A row for a pipe.
    let piped (cells: string list) : string =
        cells |> List.map cell |> String.concat "\t"

    /// <summary>The widths of columns: those of their widest cells; if the terminal is narrower, the widest columns are
    /// cut.</summary>
    /// <param name="width">The width of the terminal.</param>
    /// <param name="rows">The rows, the header among them.</param>
    let widths (width: int) (rows: string list list) : int list =
        let natural =
            match rows with
            | [] -> []
            | first :: _ -> [
                for column in 0 .. first.Length - 1 do
                    rows |> List.map (fun row -> widthOf (cell row[column])) |> List.max
              ]

        let room = width - 2 * (natural.Length - 1)

        let rec fit most =
            if most <= 1 || List.sumBy (min most) natural <= room then
                most
            else
                fit (most - 1)

        List.map (min (fit (List.fold max 1 natural))) natural

    /// A row for a terminal.
    let aligned (widths: int list) (cells: string list) : string =
        List.map2
            (fun width text ->
                let text = cut width (cell text)
                text + String(' ', max 0 (width - widthOf text)))
            widths
            cells
        |> String.concat "  "
        |> _.TrimEnd()

    /// <summary>Prints pages of rows as they come. The first page decides the widths of the columns.</summary>
    /// <param name="header">The names of the columns, for a terminal.</param>
    [<Sealed>]
    type Rows(header: string list) =
        let isTerminal = Terminal.isOutput ()
        let mutable columnWidths: int list = []

        member _.Add(rows: string list list) =
            if not rows.IsEmpty then
                if not isTerminal then
                    for row in rows do
                        Console.Out.WriteLine(piped row)
                else
                    if columnWidths.IsEmpty then
                        columnWidths <- widths (Terminal.width ()) (header :: rows)
                        Console.Out.WriteLine(aligned columnWidths header)

                    for row in rows do
                        Console.Out.WriteLine(aligned columnWidths row)
