/// Names, bytes and JSON of tests.
[<AutoOpen>]
module FsScheduler.TestKit.Texts

open System.Collections.Generic
open System.Text
open System.Text.Json
open FsScheduler.Core

let utf8 (text: string) = Encoding.UTF8.GetBytes text

let name text =
    match TaskName.parse text with
    | Ok name -> name
    | Error reason -> failwith $"{text}: {reason}"

let text (json: JsonElement) (field: string) =
    match json.TryGetProperty field with
    | true, value -> value.ToString()
    | _ -> ""

let pipelineOf text =
    match Pipeline.parse (HashSet()) text with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message
