// What the scheduler answers, and whether its history is as it has to be: for chaos.fsx.

#load "build.fsx"
#load "processes.fsx"
#load "blows.fsx"

open System
open System.Collections.Generic
open System.Diagnostics
open System.Text.Json
open Processes
open Blows

/// What a verb answers: an object a line.
let answerTo (address: string) (arguments: string list) : JsonElement list =
    let info =
        ProcessStartInfo(
            Build.scheduler,
            arguments @ [ "--connect"; address ],
            RedirectStandardOutput = true
        )

    use asked = nonNull (Process.Start info)
    let lines = asked.StandardOutput.ReadToEndAsync()

    if not (lines.Wait patience) then
        asked.Kill()
        raise (Wrong $"%A{arguments} is not answered")

    [
        for line in lines.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries) do
            use answer = JsonDocument.Parse line
            answer.RootElement.Clone()
    ]

let private sum (states: string list) (status: JsonElement) =
    states
    |> List.sumBy (fun state ->
        match status.TryGetProperty state with
        | true, count -> count.GetInt64()
        | false, _ -> 0L)

/// How many tasks are not at their end.
let waiting (address: string) =
    List.exactlyOne (answerTo address [ "status"; "--json" ])
    |> sum [ "queued"; "running"; "waiting"; "publishing"; "split" ]

let quarantined (address: string) =
    List.exactlyOne (answerTo address [ "status"; "--json" ])
    |> sum [ "quarantined" ]

/// <summary>No attempt twice, no end twice, no version of a file twice.</summary>
/// <param name="history">All events.</param>
/// <param name="versions">How many there were of each file.</param>
let checkHistory (history: JsonElement list) (versions: IReadOnlyDictionary<string, int>) =
    let field (name: string) (event: JsonElement) =
        match event.TryGetProperty name with
        | true, value -> value.ToString()
        | _ -> ""

    let only kinds =
        history |> List.filter (fun event -> List.contains (field "event" event) kinds)

    let expectOnce what (keys: string list) =
        match keys |> List.countBy id |> List.tryFind (fun (_, count) -> count > 1) with
        | Some(key, count) -> raise (Wrong $"{what} {key}: {count} times")
        | None -> ()

    let assigned = only [ "assigned" ]
    let ends = only [ "completed"; "cancelled" ]

    expectOnce "attempt" [
        for event in assigned -> field "task" event + "#" + field "attempt" event
    ]

    expectOnce "end of task" (List.map (field "task") ends)

    let tasks = only [ "submitted" ]
    let completed = set (List.map (field "task") (only [ "completed" ]))

    for name, done' in
        tasks
        |> List.filter (fun event ->
            field "whole" event = "" && completed.Contains(field "task" event))
        |> List.countBy (field "name") do
        match versions.TryGetValue name with
        | true, count when done' > count ->
            raise (Wrong $"{count} versions of {name} are done {done'} times")
        | _ -> ()

    if tasks.Length <> ends.Length then
        raise (Wrong $"{tasks.Length} tasks and {ends.Length} ends")

    for event in only [ "requeued"; "delayed"; "quarantined" ] do
        let words = (field "error" event).Split(':')
        tally $"""{field "event" event}: {words[words.Length - 1].Trim()}""" 1

    tally "tasks" ends.Length
    tally "pieces" (List.length (only [ "part" ]))
    tally "claimed over a restart" (List.length (only [ "claimed" ]))
