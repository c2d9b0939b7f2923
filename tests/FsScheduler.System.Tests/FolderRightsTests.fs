/// Inputs that the scheduler may not read, and what counts as refused.
module FsScheduler.System.Tests.FolderRightsTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm
open FsScheduler.System.Tests.Commands
open FsScheduler.System.Tests.Requirements

let private otherUser = [ "--reuid=65534"; "--regid=65534"; "--clear-groups"; schedulerPath ]

/// Why no other user can run the scheduler here, if none can.
let private noOtherUser =
    lazy
        (if not (OperatingSystem.IsLinux()) then
             Some "rights are not like that there"
         elif not (File.Exists "/usr/bin/setpriv") then
             Some "there is no setpriv to be another user with"
         else
             use probe = new Program("/usr/bin/setpriv", otherUser @ [ "--help" ], "/")

             if probe.Exit.Result = 0 then
                 None
             else
                 Some $"another user cannot run it: {probe.Said}")

/// As somebody whom rights keep out, unlike root.
let private asNobody (place: Workplace) (args: string list) =
    if Environment.UserName <> "root" then
        fsScheduler place.Path args
    else
        match noOtherUser.Value with
        | Some reason -> skiptest reason
        | None ->
            // All but what a test says is open to everybody.
            File.SetUnixFileMode(place.Path, enum 0o777)
            new Program("/usr/bin/setpriv", otherUser @ args, place.Path)

let private chmod (place: Workplace) (name: string) (mode: int) =
    File.SetUnixFileMode(place.At name, enum mode)

let private rights = [
    scenario
        "a folder that may not be searched, or not be listed, is named: exit code 1, and so says plan"
    <| fun () ->
        task {
            for folder, mode in
                [
                    "entrada", 0o744
                    "entrada", 0o311
                    "entrada/sub", 0o444
                    "entrada/sub", 0o000
                ] do
                use place = new Workplace()
                place.Put("sub/a.txt", "A")
                place.Put("sub/b.txt", "B")
                chmod place "entrada/sub" 0o755
                chmod place folder mode
                let what = $"{folder} {Convert.ToString(mode, 8)}"

                try
                    use plan = asNobody place [ "plan"; "--json" ]
                    let! code = plan.Exit
                    Expect.equal code 1 $"plan, {what}: {plan.Said}"
                    use scheduler = asNobody place [ "--once"; "--listen"; "127.0.0.1:0" ]
                    let! code = scheduler.Exit
                    Expect.equal code 1 $"{what}: {scheduler.Said}"

                    Expect.equal
                        (scheduler.Errors.Count(fun line -> line.Contains "is refused"))
                        1
                        $"one line, {what}: {scheduler.Said}"

                    let! line = scheduler.Says "is refused"
                    Expect.stringContains line $"{Path.GetFileName folder} is" $"the folder, {what}"
                finally
                    chmod place folder 0o755
        }

    scenario "what is refused and put right, or removed, before the end does not count"
    <| fun () ->
        task {
            onlyWithLinks ()
            use place = new Workplace()
            place.Put("a.txt", "A")
            // Where no event tells of it: in a hidden folder.
            Directory.CreateDirectory(place.At "entrada/.later") |> ignore
            link place "entrada/right.txt" ".later/right.txt"
            link place "entrada/removed.txt" "nowhere"

            let! struct (scheduler, port) = startScheduler place [ "--once" ]
            use scheduler = scheduler
            let! _ = scheduler.Says "right.txt is refused"
            let! _ = scheduler.Says "removed.txt is refused"
            File.WriteAllText(place.At "entrada/.later/right.txt", "RIGHT")

            File.SetLastWriteTimeUtc(
                place.At "entrada/.later/right.txt",
                DateTime.UtcNow.AddHours -1.0
            )

            File.Delete(place.At "entrada/removed.txt")
            use _ = startWorker place port []
            let! code = scheduler.Exit
            Expect.equal (code, place.Results) (0, [ "a.txt.out"; "right.txt.out" ]) scheduler.Said

            Expect.equal
                (scheduler.Output.Count(fun line -> line.EndsWith ", 0 refused"))
                1
                scheduler.Said

            ()
        }
]

[<Tests>]
let tests = testList "awkward folders" rights
