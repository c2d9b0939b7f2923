// A worker whose stages are F# functions, written here. Start a scheduler that knows of them, then this:
//
//     src/FsScheduler.Scheduler/bin/Release/net10.0/fs-scheduler --pipeline 'lower | vowels' --expect vowels,title
//     dotnet fsi scripts/worker.fsx
//
// It takes HOST:PORT as its argument; without one, the scheduler of this machine. Ctrl+C ends it in order.
// The library has to be built once: `dotnet build`.

#r "../src/FsScheduler.Worker/bin/Release/net10.0/FsScheduler.Core.dll"
#r "../src/FsScheduler.Worker/bin/Release/net10.0/FsScheduler.Platform.dll"
#r "../src/FsScheduler.Worker/bin/Release/net10.0/FsScheduler.Stages.dll"
#r "../src/FsScheduler.Worker/bin/Release/net10.0/FsScheduler.Protocol.dll"
#r "../src/FsScheduler.Worker/bin/Release/net10.0/FsScheduler.Execution.dll"
#r "../src/FsScheduler.Worker/bin/Release/net10.0/Microsoft.Extensions.Logging.Abstractions.dll"
#r "../src/FsScheduler.Worker/bin/Release/net10.0/Microsoft.Extensions.Logging.dll"

open System
open System.Globalization
open FsScheduler.Stages
open FsScheduler.Execution

/// How often each vowel stands in a text. An accent does not make it another vowel. A large file is added up in pieces,
/// by all workers like this one: numbers are what they tell each other.
let vowels: Aggregate<int64 list> =
    let all = List.ofSeq "aeiou"

    {
        seed = fun () -> List.map (fun _ -> 0L) all
        add =
            fun counts line ->
                let plain = line.Normalize(Text.NormalizationForm.FormD).ToLowerInvariant()

                let countOf vowel =
                    plain |> Seq.filter ((=) vowel) |> Seq.length

                List.map2 (fun count vowel -> count + int64 (countOf vowel)) counts all
        merge = List.map2 (+)
        result = List.map2 (fun vowel count -> $"{vowel} {count}\n") all >> String.concat ""
        write = List.map string >> String.concat " "
        read = _.Split(' ') >> Seq.map int64 >> List.ofSeq
    }

/// `title:pt-BR` capitalises words as that culture does. What makes no sense is said, and not tried again.
let title (culture: string) (text: string) =
    try
        CultureInfo.GetCultureInfo(culture, predefinedOnly = true).TextInfo.ToTitleCase text
    with :? CultureNotFoundException ->
        raise (StageException($"there is no culture '{culture}'", retry = false))

let options = {
    Worker.options with
        connect = fsi.CommandLineArgs |> Array.tryItem 1 |> Option.defaultValue "127.0.0.1:7070"
        name = "worker.fsx"
        functions = [
            yield! SplittableStages.aggregate "vowels" vowels
            "title", StageFunction.ofTextWith title
        ]
}

printfn
    $"{options.name} works for {options.connect}, or waits until there is a scheduler; Ctrl+C ends it"

match Worker.run options with
| Ended -> exit 0
| Unserved reason ->
    eprintfn $"{reason}"
    exit 3
