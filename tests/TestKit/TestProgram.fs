/// What a test program runs, and in which order.
module FsScheduler.TestKit.TestProgram

open Expecto

/// Runs every value of the program with `[<Tests>]`, as one list of this name, and returns the exit code.
let run (name: string) (args: string[]) : int =
    runTestsWithCLIArgs [] args (testList name (Option.toList (Impl.testFromThisAssembly ())))

/// For a test that wants the machine to itself: such tests run after the others, one at a time.
let oneByOne (test: Test) : Test =
    testSequenced (testList "one by one" [ test ])
