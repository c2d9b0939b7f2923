/// Folders as people really have them: with temporary names, in one another, unreadable, under mounts that come and go.
module FsScheduler.System.Tests.FolderAwkwardTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private link (place: Workplace) (name: string) (target: string) =
    File.CreateSymbolicLink(place.At name, target) |> ignore

let private onlyWithLinks () =
    if OperatingSystem.IsWindows() then
        skiptest "links need a right of their own there"

/// Runs a program of the system to its end.
let private system (folder: string) (path: string) (args: string list) =
    task {
        use program = new Program(path, args, folder)
        let! code = program.Exit

        if code <> 0 then
            failtest $"{path} {args}: exit code {code}. {program.Said}"
    }

/// The exit code of `fs-scheduler` with these arguments, and what it said.
let private run (place: Workplace) (args: string list) =
    task {
        use scheduler = fsScheduler place.Path args
        let! code = scheduler.Exit
        return struct (code, scheduler.Said)
    }

let private temporaryNames = [
    scenario "a folder with a temporary name is nobody's until it is renamed, and then taken once"
    <| fun () ->
        task {
            use place = new Workplace()

            let! struct (scheduler, port) =
                startScheduler place [ "--settle"; "50ms"; "--on-done"; "delete" ]

            use scheduler = scheduler
            use _ = startWorker place port []
            let! _ = scheduler.Says "joined"
            place.Put("lote.tmp/a.txt", "A")
            place.Put("lote.tmp/sub/b.txt", "B")
            place.Put("later/c.part/c.txt", "C")
            place.Put("last.txt", "LAST")
            do! eventually "the last one is done" (fun () -> place.HasResult "last.txt.out")
            Expect.equal place.Results [ "last.txt.out" ] scheduler.Said
            Directory.Move(place.At "entrada/lote.tmp", place.At "entrada/lote")

            do!
                eventually "the folder is done" (fun () ->
                    place.HasResult "lote/a.txt.out" && place.HasResult "lote/sub/b.txt.out")

            do!
                eventually "its files are deleted" (fun () ->
                    not (File.Exists(place.At "entrada/lote/a.txt")))

            Expect.isTrue (File.Exists(place.At "entrada/later/c.part/c.txt")) "not touched"

            Expect.equal
                place.Results
                [ "last.txt.out"; "lote/a.txt.out"; "lote/sub/b.txt.out" ]
                scheduler.Said
        }

    scenario "a scan, --once and plan leave such folders and what systems put down alone"
    <| fun () ->
        task {
            use place = new Workplace()
            place.Put("a.txt", "A")

            for name in
                [
                    "lote.tmp/x"
                    "d/lote.part/pipeline.txt"
                    ".d/x"
                    "lost+found/x"
                    "Thumbs.db"
                    "~$a.docx"
                    "sedAbC123"
                    "a.txt~"
                ] do
                place.Put(name, [| 0xFFuy |])

            let! struct (code, said) = run place [ "plan"; "--json" ]
            Expect.equal code 0 said
            Expect.stringContains said "a.txt" "the file"
            Expect.equal ((said.Split "\"pipeline\":").Length) 2 $"one file: {said}"
            Expect.isFalse (said.Contains "refused" || said.Contains "/x") said

            let! struct (scheduler, _) = startScheduler place [ "--once"; "--workers"; "1" ]
            use scheduler = scheduler
            let! code = scheduler.Exit
            Expect.equal (code, place.Results) (0, [ "a.txt.out" ]) scheduler.Said
        }

    scenario "--ignore leaves files and folders alone, by events and scans, and plan shows it"
    <| fun () ->
        task {
            use place = new Workplace()
            let ignore = [ "--ignore"; "*.bak"; "--ignore"; "old" ]

            for name in [ "a.txt"; "b.bak"; "old/c.txt"; "d/old/e.txt" ] do
                place.Put(name, "TEXT")

            let! struct (code, said) = run place ([ "plan"; "--json" ] @ ignore)
            Expect.equal code 0 said

            for line in
                [
                    """{"ignored":"--ignore '*.bak'","name":"b.bak"}"""
                    """{"ignored":"--ignore 'old'","name":"d/old"}"""
                ] do
                Expect.stringContains said line "what is left alone, and why"

            Expect.isFalse (said.Contains "c.txt") "nor what is in it"

            let! struct (scheduler, port) =
                startScheduler place ([ "--settle"; "50ms" ] @ ignore)

            use scheduler = scheduler
            use _ = startWorker place port []
            do! eventually "the first one is done" (fun () -> place.HasResult "a.txt.out")
            place.Rename("old/f.txt", "F")
            place.Rename("g.bak", "G")
            place.Rename("h.txt", "H")
            do! eventually "the last one is done" (fun () -> place.HasResult "h.txt.out")
            Expect.equal place.Results [ "a.txt.out"; "h.txt.out" ] scheduler.Said

            for pattern in [ "/a"; "entrada/old" ] do
                let! struct (code, said) = run place [ "--ignore"; pattern ]
                Expect.equal code 2 said
                let! struct (code, said) = run place [ "plan"; "--ignore"; pattern ]
                Expect.equal code 2 said
        }
]

let private mount (place: Workplace) (args: string list) =
    task {
        if not (OperatingSystem.IsLinux()) then
            skiptest "there is no mount(8) of this kind"

        use mount = new Program("/bin/mount", args, place.Path)
        let! code = mount.Exit

        if code <> 0 then
            skiptest $"nothing may be mounted here: {mount.Said}"
    }

let private overlaps = [
    scenario "folders in one another are refused with exit code 2, however they are named"
    <| fun () ->
        task {
            onlyWithLinks ()
            use place = new Workplace()
            place.Put("a.txt", "A")
            Directory.CreateDirectory(place.At "entrada/sub") |> ignore
            Directory.CreateDirectory(place.At "other") |> ignore
            link place "to-entrada" "entrada"
            link place "to-sub" (place.At "entrada/sub")
            link place "dangling" "entrada/not there yet"

            for args in
                [
                    [ "--resultados"; "entrada/out" ]
                    [ "--resultados"; "entrada" ]
                    [ "--resultados"; "entrada/.out" ]
                    [ "--resultados"; "to-entrada/x" ]
                    [ "--resultados"; "to-sub" ]
                    [ "--resultados"; "dangling" ]
                    [ "--resultados"; "other/../entrada/y" ]
                    [ "--resultados"; "." ]
                    [ "--entrada"; "." ]
                    [ "--entrada"; "to-entrada"; "--resultados"; "entrada/sub" ]
                    [ "--state"; "entrada/st" ]
                    [ "--state"; "entrada" ]
                    [ "--state"; "resultados/st" ]
                    [ "--state"; "other"; "--entrada"; "other/spool" ]
                    [ "--token-file"; "to-entrada/a.txt" ]
                    [ "plan"; "--entrada"; "." ]
                    [ "plan"; "--resultados"; "to-sub" ]
                ] do
                let! struct (code, said) = run place args
                Expect.equal code 2 $"{args}: {said}"
                Expect.stringContains said "outside" $"{args}: what to do"

            for args in [ [ "--entrada"; "" ]; [ "--resultados"; "" ]; [ "plan"; "--state"; "" ] ] do
                let! struct (code, said) = run place args
                Expect.equal code 2 $"{args}: {said}"
                Expect.stringContains said "is empty" $"{args}"

            Expect.isFalse (Directory.Exists(place.At "resultados")) "nothing was made"
            Expect.isFalse (Directory.Exists(place.At ".fs-scheduler")) "no state either"
            Expect.equal (Directory.GetFileSystemEntries(place.At "entrada").Length) 2 "as it was"
        }

    scenario "a scheduler that prints to a file among its inputs is refused"
    <| fun () ->
        task {
            if not (OperatingSystem.IsLinux()) then
                skiptest "asks Linux where it prints to"

            use place = new Workplace()
            place.Put("a.txt", "A")

            let args =
                $"exec '{schedulerPath}' --once --listen 127.0.0.1:0 2> entrada/s.log > entrada/.o"

            use shell = new Program("/bin/sh", [ "-c"; args ], place.Path)
            let! code = shell.Exit
            let said = File.ReadAllText(place.At "entrada/s.log")
            Expect.equal code 2 said
            Expect.stringContains said "'s.log'" "which"
        }

    scenario "a folder that is mounted elsewhere, or whose subfolder is, is known again"
    <| fun () ->
        task {
            use place = new Workplace()
            place.Put("sub/a.txt", "A")
            place.Put("disk/a.txt", "A")

            for folder in [ "whole"; "a part"; "disk"; "apart"; "below" ] do
                Directory.CreateDirectory(place.At folder) |> ignore

            let mounted = Collections.Generic.Stack<string>()

            let bind (source: string) (target: string) =
                task {
                    do! mount place [ "--bind"; place.At source; place.At target ]
                    mounted.Push(place.At target)
                }

            try
                do! bind "entrada" "whole"
                // Of two at one point, the later one is there.
                do! bind "below" "a part"
                do! bind "entrada/sub" "a part"
                // What is mounted below the folder of inputs is in it.
                do! bind "apart" "entrada/disk"
                Directory.CreateDirectory(place.At "apart/results") |> ignore

                for folder in
                    [ "whole"; "whole/new"; "a part"; "a part/new"; "apart"; "apart/results" ] do
                    let! struct (code, said) = run place [ "--resultados"; folder ]
                    Expect.equal code 2 $"{folder}: {said}"
                    let! struct (code, said) = run place [ "--state"; folder ]
                    Expect.equal code 2 $"{folder}: {said}"

                // A part of the one in the other.
                Directory.CreateDirectory(place.At "resultados/sub") |> ignore

                for source, target in
                    [ "entrada/sub", "resultados/sub"; "resultados/sub", "entrada/sub" ] do
                    do! bind source target
                    let! struct (code, said) = run place []
                    Expect.equal code 2 $"{source} at {target}: {said}"
                    Expect.stringContains said "mounted in" $"{source} at {target}"
                    do! system place.Path "/bin/umount" [ mounted.Pop() ]
            finally
                for target in mounted do
                    Diagnostics.Process.Start("/bin/umount", [ "-l"; target ]).WaitForExit()
        }
]

/// Runs `fs-scheduler status` against a scheduler, for a number in it.
let private statusOf (place: Workplace) (port: int) (field: string) =
    task {
        use status =
            fsScheduler place.Path [ "status"; "--connect"; $"127.0.0.1:{port}"; "--json" ]

        let! code = status.Exit
        Expect.equal code 0 status.Said
        use json = Text.Json.JsonDocument.Parse(String.concat "" status.Output.All)
        return json.RootElement.GetProperty(field).GetInt64()
    }

/// A scheduler that has done `first.txt`, and has three files queued of which nobody runs the stage.
let private withQueue
    (place: Workplace)
    (args: string list)
    (body: Program -> int -> System.Threading.Tasks.Task<unit>)
    =
    task {
        for name in [ "first"; "a"; "b"; "c" ] do
            place.Put($"{name}.txt", name.ToUpperInvariant())

        let! struct (scheduler, port) =
            startScheduler
                place
                ([ "--pipeline"; "upper | lower | upper"; "--route"; "first*=lower" ] @ args)

        use scheduler = scheduler
        use _ = startWorker place port [ "--stages"; "lower" ]
        do! eventually "the first one is done" (fun () -> place.HasResult "first.txt.out")
        do! body scheduler port
    }

/// The files are away: a worker comes, and finds none. Then they are back, and all is done, once.
let private survives
    (place: Workplace)
    (scheduler: Program)
    (port: int)
    (bringBack: unit -> System.Threading.Tasks.Task<unit>)
    =
    task {
        let! _ = scheduler.Says "gone all at once"
        use _ = startWorker place port [ "--stages"; "upper" ]

        do!
            eventually "both workers are there" (fun () ->
                scheduler.Errors.Count(fun line -> line.Contains "joined") = 2)

        do! bringBack ()

        do!
            eventuallyOf scheduler patience "all is done" (fun () ->
                List.forall place.HasResult [ "a.txt.out"; "b.txt.out"; "c.txt.out" ])

        let! cancelled = statusOf place port "cancelled"
        let! finished = statusOf place port "finished"

        Expect.equal
            (cancelled, finished)
            (0L, 4L)
            $"nothing cancelled, nothing done twice. {scheduler.Said}"

        Expect.equal
            (scheduler.Errors.Count(fun line -> line.Contains "gone all at once"))
            1
            $"one line. {scheduler.Said}"
    }

/// The folder of inputs stands elsewhere, and an empty one in its place.
let private takeAway (place: Workplace) =
    Directory.Move(place.At "entrada", place.At "away")
    Directory.CreateDirectory(place.At "entrada") |> ignore

let private putBack (place: Workplace) () : Task<unit> =
    task {
        Directory.Delete(place.At "entrada")
        Directory.Move(place.At "away", place.At "entrada")
    }

let private awayAndBack = [
    scenario "a folder that is replaced by an empty one is doubted, and nothing is cancelled"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place [] (fun scheduler port ->
                    task {
                        takeAway place
                        do! survives place scheduler port (putBack place)
                    })
        }

    scenario "another file system that is mounted over the folder for a while cancels nothing"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place [] (fun scheduler port ->
                    task {
                        let entrada = place.At "entrada"
                        do! mount place [ "-t"; "tmpfs"; "tmpfs"; entrada ]

                        try
                            do!
                                survives place scheduler port (fun () ->
                                    system place.Path "/bin/umount" [ entrada ])
                        finally
                            if
                                (DriveInfo entrada).DriveFormat = "tmpfs"
                                && Directory.GetFiles(entrada).Length = 0
                            then
                                Diagnostics.Process
                                    .Start("/bin/umount", [ "-l"; entrada ])
                                    .WaitForExit()
                    })
        }

    scenario "a scheduler that starts while the folder is away cancels nothing of its queue"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place [] (fun scheduler _ ->
                    task {
                        scheduler.Signal Signal.Kill
                        let! _ = scheduler.Exit
                        ()
                    })

            takeAway place

            let! struct (scheduler, port) =
                startScheduler place [
                    "--pipeline"
                    "upper | lower | upper"
                    "--route"
                    "first*=lower"
                ]

            use scheduler = scheduler
            use _ = startWorker place port [ "--stages"; "lower" ]
            do! survives place scheduler port (putBack place)
        }

    scenario "what is really deleted is cancelled at once, all of it too"
    <| fun () ->
        task {
            use place = new Workplace()

            do!
                withQueue place [] (fun scheduler port ->
                    task {
                        for name in [ "first"; "a"; "b"; "c" ] do
                            File.Delete(place.At $"entrada/{name}.txt")

                        let mutable cancelled = 0L

                        while cancelled < 3L do
                            let! now = statusOf place port "cancelled"
                            cancelled <- now

                        Expect.equal
                            (scheduler.Errors.Count(fun line -> line.Contains "gone all at once"))
                            0
                            scheduler.Said
                    })
        }
]

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
let tests =
    testList "awkward folders" (temporaryNames @ overlaps @ awayAndBack @ rights)
