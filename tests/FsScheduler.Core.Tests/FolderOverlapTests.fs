module FsScheduler.Core.Tests.FolderOverlapTests

open Expecto
open Expecto.Flip
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core

/// A place that is known by its path alone.
let private place (path: string) : FolderPlace =
    let chain = [
        for index in 0 .. path.Length - 1 do
            if index > 0 && path[index] = '/' then
                AtPath(path.Substring(0, index))

        AtPath path
    ]

    {
        named = path
        path = path
        self = Set.singleton (AtPath path)
        chain = Set.ofList chain
        mounted = Set.empty
    }

let private folders entrada resultados state : SchedulerFolders = {
    entrada = place entrada
    resultados = place resultados
    state = place state
    spool = place (state + "/spool")
    temporary = place "/tmp"
}

let private examples = [
    test "the default layout, and a state folder that holds the others, are fine" {
        for entrada, resultados, state in
            [
                "/p/entrada", "/p/resultados", "/p/.fs-scheduler"
                "/p/entrada", "/p/resultados", "/p"
                "/p/in", "/p/in2", "/p/in.state"
            ] do
            Expect.equal
                $"{entrada} {resultados} {state}"
                (Ok())
                (FolderOverlap.check (folders entrada resultados state))
    }

    test "what overlaps is told with the option, both folders and what to do" {
        match FolderOverlap.check (folders "/p/in" "/p/in/out" "/p/st") with
        | Ok() -> failtest "accepted"
        | Error message ->
            Expect.equal
                "the sentence"
                "--resultados: '/p/in/out' is in the folder of inputs, '/p/in': results would be taken for inputs, and theirs again; name a folder outside it with --resultados"
                message
    }

    test "a folder is known again by any of its ways" {
        let entrada = {
            place "/in" with
                self = Set.ofList [ AtPath "/in"; WithInode(1UL, 7UL); OnDevice("8:1", "/data") ]
        }

        let elsewhere id = { place "/mnt/x" with chain = Set.ofList [ AtPath "/mnt"; id ] }

        for id in [ WithInode(1UL, 7UL); OnDevice("8:1", "/data") ] do
            Expect.isTrue $"{id}" (FolderOverlap.isWithin entrada (elsewhere id))

        for id in [ WithInode(2UL, 7UL); OnDevice("8:2", "/data"); OnDevice("8:1", "/dat") ] do
            Expect.isFalse $"{id}" (FolderOverlap.isWithin entrada (elsewhere id))
    }

    test "a part of the one folder that is mounted in the other overlaps, one of the state does not" {
        let known path = {
            place path with
                self = Set.ofList [ AtPath path; OnDevice("8:1", path) ]
        }

        let mounted path =
            Set.ofList [ OnDevice("8:1", path); OnDevice("8:1", path + "/x") ]

        let all = {
            entrada = known "/p/in"
            resultados = known "/p/out"
            state = known "/p"
            spool = known "/p/spool"
            temporary = known "/tmp"
        }

        for overlapping, option in
            [
                { all with entrada.mounted = mounted "/p/out" }, "--resultados"
                { all with resultados.mounted = mounted "/p/in" }, "--entrada"
            ] do
            match FolderOverlap.check overlapping with
            | Ok() -> failtest "accepted"
            | Error message ->
                Expect.stringStarts "which" $"{option}: " message
                Expect.stringContains "how" "has a part that is mounted in" message

        for fine in
            [
                { all with entrada.mounted = mounted "/p" }
                { all with entrada.mounted = mounted "/tmp" }
                { all with entrada.mounted = mounted "/archive" }
            ] do
            Expect.equal "fine" (Ok()) (FolderOverlap.check fine)
    }

    test "temporary files are not put into the folder of inputs" {
        let all = { folders "/p/in" "/p/out" "/p/st" with temporary = place "/p/in/tmp" }

        match FolderOverlap.check all with
        | Ok() -> failtest "accepted"
        | Error message -> Expect.stringStarts "who can mend it" "TMPDIR: " message
    }
]

let private paths =
    Gen.elements [ "a"; "b"; "spool" ]
    |> Gen.nonEmptyListOf
    |> Gen.resize 3
    |> Gen.map (fun parts -> "/" + String.concat "/" parts)

let private isIn (outer: string) (inner: string) =
    inner = outer || inner.StartsWith(outer + "/", System.StringComparison.Ordinal)

let private properties = [
    testPropertyWithConfig
        { FsCheckConfig.defaultConfig with maxTest = 1_000 }
        "refused is what overlaps, but for the two folders in that of the state, outside of its spool"
        (Prop.forAll
            (Arb.fromGen (Gen.map3 (fun a b c -> a, b, c) paths paths paths))
            (fun (entrada, resultados, state) ->
                let overlaps =
                    isIn entrada resultados
                    || isIn resultados entrada
                    || isIn entrada state
                    || isIn resultados state
                    || isIn (state + "/spool") entrada
                    || isIn (state + "/spool") resultados

                FolderOverlap.check(folders entrada resultados state).IsError = overlaps))
]

[<Tests>]
let tests = testList "FolderOverlapTests" (examples @ properties)
