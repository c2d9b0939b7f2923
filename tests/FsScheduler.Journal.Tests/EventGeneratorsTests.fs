/// The generators of events make every case that there is.
module FsScheduler.Journal.Tests.EventGeneratorsTests

open System
open System.Collections
open System.Collections.Generic
open Expecto
open FSharp.Reflection
open FsScheduler.Core
open FsScheduler.Machine

/// Everything that can be in a value of a type.
let rec private reach (found: HashSet<Type>) (kind: Type) =
    if kind <> typeof<Pipeline> && kind <> typeof<TaskName> && found.Add kind then
        if kind = typeof<Submission> then
            [| typeof<Origin>; typeof<Payload> |]
        elif kind.IsArray then
            [| nonNull (kind.GetElementType()) |]
        elif FSharpType.IsTuple kind then
            FSharpType.GetTupleElements kind
        elif FSharpType.IsRecord kind then
            FSharpType.GetRecordFields kind |> Array.map _.PropertyType
        elif FSharpType.IsUnion kind then
            [|
                for case in FSharpType.GetUnionCases kind do
                    for field in case.GetFields() do
                        field.PropertyType
            |]
        else
            [||]
        |> Array.iter (reach found)

let private nameOf (case: UnionCaseInfo) =
    $"{case.DeclaringType.Name}.{case.Name}"

/// The cases that are in a value.
let rec private visit (found: HashSet<string>) (value: objnull) =
    match value with
    | null
    | :? string
    | :? array<byte>
    | :? TaskName
    | :? Pipeline -> ()
    | :? Submission as submission ->
        visit found (box submission.Origin)
        visit found (box submission.Payload)
    | :? IEnumerable as items ->
        for item in items do
            visit found item
    | value ->
        let kind = value.GetType()

        if FSharpType.IsUnion kind then
            let case, fields = FSharpValue.GetUnionFields(value, kind)
            found.Add(nameOf case) |> ignore
            fields
        elif FSharpType.IsTuple kind then
            FSharpValue.GetTupleFields value
        elif FSharpType.IsRecord kind then
            FSharpValue.GetRecordFields value
        else
            [||]
        |> Array.iter (visit found)

[<Tests>]
let tests =
    testList "generated events" [
        test "no case is missing" {
            let kindsOfEvents = HashSet<Type>()
            reach kindsOfEvents typeof<Event>

            let ours = [ typeof<Event>.Assembly; typeof<Content>.Assembly ]

            let all = [
                for kind in kindsOfEvents do
                    if List.contains kind.Assembly ours && FSharpType.IsUnion kind then
                        for case in FSharpType.GetUnionCases kind do
                            nameOf case
            ]

            let found = HashSet<string>()

            for kind in 0 .. EventGenerators.kinds.Length - 1 do
                for event in EventGenerators.sample kind 20 200 do
                    visit found (box event)

            Expect.isGreaterThan all.Length 60 "of all types"
            Expect.isEmpty (List.filter (found.Contains >> not) all) "not written by any test"
        }
    ]
