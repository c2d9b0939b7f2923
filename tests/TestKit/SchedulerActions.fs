/// Random histories: actions that mean something in whatever state they meet.
module FsScheduler.TestKit.SchedulerActions

open FsCheck
open FsCheck.FSharp

/// The number `pick` chooses among what is there, modulo how many there are.
type Action =
    | Submit of priority: int * pipeline: int * want: int * key: int
    | SubmitFile of name: int
    | Join of stages: int
    | Ready of pick: int * slots: int
    | Leave of pick: int
    | HeardAll
    | Succeed of pick: int
    | Fail of pick: int * retry: bool
    /// The worker cannot run it.
    | Refuse of pick: int
    /// A worker fails all that it holds, or cannot run it.
    | Break of pick: int * isUnable: bool
    /// A result for an attempt of the past, from the worker that had it.
    | Late of pick: int
    /// A result for a current attempt, from another worker.
    | Foreign of pick: int * worker: int
    | Publish of pick: int
    | Unpublish of pick: int
    | Unread of pick: int
    | Cancel of pick: int
    | Retry of pick: int
    | Withdraw of pick: int
    | Outdate of pick: int
    | Vanish of name: int
    | Unstore of pick: int
    /// Pieces of 4 to 6 bytes, or one of all; or the payload cannot be read.
    | Cut of pick: int * how: int
    /// The parts are put together, or cannot be.
    | JoinParts of pick: int * isThere: bool
    | RetryAll
    | Drain of pick: int
    /// Old events are dropped: those of a share of the history, so many events a turn.
    | Retain of share: int * most: int * isFlushed: bool * isTooMuch: bool
    /// The scheduler is killed and started again.
    | Restart
    /// A new worker says that it holds some of what was given out, of old or now.
    | Claim of stages: int * picks: int list
    | Tick of span: int

/// Of the stages `a`, `b`, `c` and `d`; the empty one is that of the scheduler.
let pipelines = [| ""; "a"; "a | b"; "b | c | d"; "a | b | c | d"; "d | a" |]
/// In milliseconds.
let spans = [| 0; 100; 1_000; 2_400; 2_400; 6_000; 35_000 |]

let action: Gen<Action> =
    let pick = Gen.choose (0, 1_000)
    let upTo n = Gen.choose (0, n - 1)

    Gen.frequency [
        12,
        Gen.map4
            (fun a b c d -> Submit(a - 1, b, c, d))
            (upTo 3)
            (upTo pipelines.Length)
            (upTo 3)
            (upTo 12)
        3, Gen.map SubmitFile (upTo 3)
        4, Gen.map Join (upTo 16)
        5, Gen.map2 (fun a b -> Ready(a, b)) pick (upTo 5)
        6, Gen.map Leave pick
        5, Gen.constant HeardAll
        14, Gen.map Succeed pick
        4, Gen.map2 (fun a b -> Fail(a, b <> 0)) pick (upTo 5)
        3, Gen.map Refuse pick
        3, Gen.map2 (fun a b -> Break(a, b = 0)) pick (upTo 2)
        2, Gen.map Late pick
        1, Gen.map2 (fun a b -> Foreign(a, b)) pick pick
        6, Gen.map Publish pick
        1, Gen.map Unpublish pick
        1, Gen.map Unread pick
        2, Gen.map Cancel pick
        2, Gen.map Retry pick
        1, Gen.map Withdraw pick
        1, Gen.map Outdate pick
        1, Gen.map Vanish (upTo 3)
        1, Gen.map Unstore pick
        5, Gen.map2 (fun a b -> Cut(a, b)) pick (upTo 8)
        3, Gen.map2 (fun a b -> JoinParts(a, b > 0)) pick (upTo 6)
        1, Gen.constant RetryAll
        1, Gen.map Drain pick
        1,
        Gen.map4 (fun a b c d -> Retain(a, b, c > 0, d = 0)) (upTo 101) (upTo 6) (upTo 4) (upTo 4)
        2, Gen.constant Restart
        3, Gen.map2 (fun a b -> Claim(a, b)) (upTo 16) (Gen.listOfLength 3 pick)
        8, Gen.map Tick (upTo spans.Length)
    ]

type Histories =
    static member History() : Arbitrary<Action list> =
        let shrink = ArbMap.defaults |> ArbMap.arbitrary<Action list> |> Arb.toShrink

        let gen = Gen.choose (5, 150) |> Gen.bind (fun n -> Gen.listOfLength n action)
        Arb.fromGenShrink (gen, shrink)
