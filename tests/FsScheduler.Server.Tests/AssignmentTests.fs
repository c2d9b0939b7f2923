/// Real workers, each with some of the stages, and a real scheduler between them.
module FsScheduler.Server.Tests.AssignmentTests

open System
open System.IO
open System.Text
open System.Threading
open Expecto
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core
open FsScheduler.Machine
open FsScheduler.Stages
open FsScheduler.Execution
open FsScheduler.TestKit
open FsScheduler.Server.Tests.Cluster
open FsScheduler.Execution.Tests.RunningWorker

/// A worker's own stages, of the three kinds.
let private own = [
    "mirror", [ "mirror", StageFunction.ofText (fun text -> String.Concat(Seq.rev text)) ]
    "shout", SplittableStages.perLine "shout" (fun line -> Some(line.ToUpperInvariant() + "!"))
    "longest",
    SplittableStages.aggregate "longest" {
        seed = fun () -> ""
        add = fun longest line -> if line.Length > longest.Length then line else longest
        merge = fun left right -> if right.Length > left.Length then right else left
        result = fun longest -> longest + "\n"
        write = id
        read = id
    }
]

let private stages = [
    yield! List.map fst own
    "lower"
    "trim"
    "strip-accents"
    "grep:a"
    "replace:a/bb"
    "head:40"
    "sort"
    "sort:desc,unique"
    "uniq"
    "freq"
    "top:3"
    "lines"
    "words"
    "bytes"
]

let private nameOf (wire: string) = wire.Split(':')[0]

type Assignment = {
    pipeline: string list
    /// The stages of each worker, by name.
    workers: string list list
    /// How many lines the input has.
    lines: int
    split: Size
    isShared: bool
}

type Assignments =
    static member Assignment() : Arbitrary<Assignment> =
        let generated =
            gen {
                let! length = Gen.choose (1, 5)
                let! pipeline = Gen.listOfLength length (Gen.elements stages)
                let names = pipeline |> List.map nameOf |> List.distinct
                let! count = Gen.choose (1, 4)
                let! some = Gen.listOfLength count (Gen.subListOf names)
                // Somebody runs each.
                let! owners = Gen.listOfLength names.Length (Gen.choose (0, count - 1))

                let workers = [
                    for index, offered in List.indexed some ->
                        List.zip names owners
                        |> List.filter (fun (_, owner) -> owner = index)
                        |> List.map fst
                        |> List.append offered
                        |> List.distinct
                ]

                let! lines = Gen.elements [ 0; 1; 300; 6_000; 6_000 ]
                let! split = Gen.elements [ 4_000L<B>; 70_000L<B>; Settings.unlimited ]
                let! isShared = Gen.elements [ true; false ]

                return {
                    pipeline = pipeline
                    workers = List.filter (List.isEmpty >> not) workers
                    lines = lines
                    split = split
                    isShared = isShared
                }
            }

        Arb.fromGen generated

let private textOf lines =
    let words = [| "São"; "João"; "Árvore"; "casa"; "  rua"; "ação"; "à"; "mãe"; "x" |]

    String.concat "" [
        for line in 0 .. lines - 1 do
            let word offset =
                words[(line * 7 + offset * offset) % words.Length]

            let ending = if line % 11 = 0 then "\r\n" else "\n"
            $"{word line} {word 3} {word (line / 5)}{ending}"
    ]

/// What the stages give in this process, one after the other.
let private inOneProcess folder (pipeline: string list) (text: string) =
    let runner = StageRunner(BuiltIn.tryStartIn folder, 1024 * 1024)

    let run (payload: byte[]) wire =
        match List.tryFind (fun (name, _) -> name = nameOf wire) own with
        | Some(name, functions) ->
            let call = {
                argument = ""
                name = "n"
                attempt = { task = 1L<taskId>; number = 1 }
                piece = ValueNone
                payload = ReadOnlyMemory payload
                cancellation = CancellationToken.None
            }

            let _, (whole: StageFunction) = List.find (fun (known, _) -> known = name) functions
            let result = (whole.Invoke call).Result
            result.ToArray()
        | None ->
            use input = new MemoryStream(payload)
            use output = new MemoryStream()
            runner.RunAsync([| wire |], input, output, CancellationToken.None).Wait()
            output.ToArray()

    List.fold run (Encoding.UTF8.GetBytes text) pipeline

let private pipelineOf (wires: string list) =
    match Pipeline.parseRecorded (String.concat " | " wires) with
    | Ok pipeline -> pipeline
    | Error error -> failwith error.message

let private inACluster (assignment: Assignment) (text: string) =
    task {
        use cluster =
            new Cluster(fun options -> {
                options with
                    sharesFiles = assignment.isShared
                    settings = {
                        options.settings with
                            pipeline = pipelineOf assignment.pipeline
                            split = assignment.split
                    }
            })

        cluster.Folder.Write("incoming", text)
        File.Move(cluster.Folder.At "incoming", cluster.Folder.At "entrada/a.txt")

        let workers = [
            for offered in assignment.workers ->
                new Running(
                    {
                        options cluster.Address with
                            slots = 2
                            builtIn = offered |> List.filter (Stage.tryBuiltIn >> Option.isSome)
                            functions = [
                                for name, functions in own do
                                    if List.contains name offered then
                                        yield! functions
                            ]
                            sharedFolders = [
                                if assignment.isShared then
                                    cluster.Folder.Path
                            ]
                    }
                )
        ]

        let path = cluster.Folder.At "resultados/a.txt.out"
        do! eventually "there is a result" (fun () -> File.Exists path)
        let result = File.ReadAllBytes path

        for worker in workers do
            do! (worker :> IAsyncDisposable).DisposeAsync()

        return result
    }

[<Tests>]
let tests =
    testSequencedGroup "workers"
    <| testPropertyWithConfig
        {
            FsCheckConfig.defaultConfig with
                maxTest = 100
                arbitrary = [ typeof<Assignments> ]
        }
        "any assignment of stages to workers gives what one process gives"
        (fun (assignment: Assignment) ->
            let text = textOf assignment.lines
            use folder = new TempFolder()
            let expected = inOneProcess folder.Path assignment.pipeline text
            let result = (inACluster assignment text).GetAwaiter().GetResult()

            Expect.equal
                (Encoding.UTF8.GetString result)
                (Encoding.UTF8.GetString expected)
                "the result")
