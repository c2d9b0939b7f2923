module FsScheduler.Protocol.Tests.ConnectionLimitsTests

open Expecto
open FsScheduler.Core
open FsScheduler.Protocol

let private limits (descriptors: int64) =
    let limits = ConnectionLimits.ofDescriptors (ValueSome descriptors) 150L
    limits.all, limits.clients

[<Tests>]
let tests =
    testList "connections" [
        test "are bounded by what may be open, less what is, and what files need" {
            Expect.equal (limits 1_024L) (682, 597) "an eighth for files"
            Expect.equal (limits 512L) (234, 205) "at least 64 for files"
            Expect.equal (limits 1_048_576L) (4_096, 3_584) "and never more than these"
        }

        test "are some, however little may be open" {
            Expect.equal (limits 10L) (16, 12) "with places for workers"
        }

        test "are as many as there may be where the system does not tell" {
            Expect.equal
                (ConnectionLimits.ofDescriptors ValueNone 150L)
                { all = 4_096; clients = 3_584 }
                "the most"
        }

        testProperty "leave places for workers, and descriptors for files"
        <| fun (descriptors: uint32) ->
            let all, clients = limits (int64 descriptors)
            let files = int64 descriptors - 150L - int64 all
            clients > 0 && clients <= all - 4 && (files >= 128L || all = 16)
    ]
