/// How a test waits for what others do.
[<AutoOpen>]
module FsScheduler.TestKit.Waiting

open System
open System.Diagnostics
open System.Threading
open System.Threading.Tasks
open Expecto

/// No test of one process waits longer for anything. Far more than is needed: a test that reaches this limit fails.
let patience = TimeSpan.FromSeconds 60.0

/// The same of tests with processes, which take their time to start.
let processPatience = TimeSpan.FromSeconds 90.0

/// Fails a test that would wait for ever.
let within (work: Task<'T>) = work.WaitAsync patience

/// As `within`, for work without a result.
let ended (work: Task) = work.WaitAsync patience

/// Fails with a clear message what would wait for ever.
let awaitedWithin (limit: TimeSpan) (what: string) (work: Task<'T>) =
    task {
        try
            return! work.WaitAsync limit
        with :? TimeoutException ->
            return failtest $"{what}: not within {limit.TotalSeconds} s"
    }

let awaited what (work: Task<'T>) = awaitedWithin patience what work

/// Waits for what no event tells, as what other processes do on the disk; looks every 5 ms.
let eventuallyWithin (limit: TimeSpan) (what: string) (holds: unit -> bool) =
    task {
        let started = Stopwatch.StartNew()

        while not (holds ()) do
            if started.Elapsed > limit then
                failtest $"{what}: not within {limit.TotalSeconds} s"

            do! Task.Delay 5
    }

let eventually what holds = eventuallyWithin patience what holds

let seconds (count: float) = TimeSpan.FromSeconds count

/// No test takes longer: one that hangs is ended, and named.
let private limit = TimeSpan.FromMinutes 12.0

/// A test in `task`, which may `use` what is disposed at once as well as what takes its time.
/// One that takes long says so, for whoever looks at a run that does not come to its end.
let scenario (name: string) (body: unit -> Task<unit>) =
    testTask name {
        let clock = Stopwatch.StartNew()
        let minute = TimeSpan.FromMinutes 1.0

        use _ =
            new Timer(
                (fun _ -> eprintfn $"after {clock.Elapsed.TotalSeconds:F0} s still at it: {name}"),
                null,
                minute,
                minute
            )

        do! Task.Run<unit>(body).WaitAsync limit
    }

/// A scenario that wants the machine to itself.
let scenarioAlone (name: string) (body: unit -> Task<unit>) =
    TestProgram.oneByOne (scenario name body)
