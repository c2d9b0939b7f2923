/// Two workers, one of which fails everything at once: every file comes out all the same, and none is in quarantine.
module FsScheduler.System.Tests.BrokenWorkerTests

open System
open System.IO
open Expecto
open FsScheduler.TestKit
open FsScheduler.TestKit.Farm

let private files = 60

/// A script that is called `conv`, in a folder of its own.
let private program (place: Workplace) (folder: string) (text: string) =
    let folder = place.At folder
    Directory.CreateDirectory folder |> ignore
    let path = Path.Combine(folder, "conv")
    File.WriteAllText(path, text)

    File.SetUnixFileMode(
        path,
        UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute
    )

    folder

/// A worker whose `conv` is the one of this folder, with these variables.
let private worker
    (place: Workplace)
    port
    (folder: string)
    (variables: string list)
    (args: string list)
    =
    new Program(
        "/usr/bin/env",
        [
            $"PATH={folder}:/usr/bin:/bin"
            yield! variables
            workerPath
            "--connect"
            $"127.0.0.1:{port}"
            "--allow-exec"
            "conv"
            "--slots"
            "2"
            yield! args
        ],
        place.Path
    )

let private good = "#!/bin/sh\nsleep 0.02\nexec sed -u 's/.*/\\U&/'\n"

let private isThere (place: Workplace) =
    let results = place.Results |> List.filter (fun name -> not (name.Contains "/."))
    results |> List.filter (fun name -> name.EndsWith ".out") |> List.length = files

let private none (_: Workplace) : string list = []

/// A file system with room for little, which only root may mount.
let private small (place: Workplace) =
    let folder = place.At "small"
    Directory.CreateDirectory folder |> ignore

    if not (tryMountTmpfs "size=64k,nr_inodes=12" folder) then
        skiptest "it mounts a file system, which takes root"

    [ $"TMPDIR={folder}" ]

let private fill (place: Workplace) =
    let mutable number = 0
    let mutable isFull = false

    while not isFull do
        number <- number + 1

        try
            File.WriteAllText(place.At $"small/{number}", "x")
        with :? IOException ->
            isFull <- true

/// To be disposed before its workplace.
let private unmount (place: Workplace) = {
    new IDisposable with
        member _.Dispose() =
            if Directory.Exists(place.At "small") then
                unmountNow (place.At "small")
}

/// All files come while both are there. The word is one that the scheduler says of the one that is broken.
let private survives
    (stage: string)
    (bad: string)
    (variables: Workplace -> string list)
    (spoil: Workplace -> unit)
    (word: string)
    =
    task {
        if not (OperatingSystem.IsLinux()) then
            skiptest "its programs are shell scripts"

        use place = new Workplace()
        use _ = unmount place
        let goodFolder = program place "good" good
        let badFolder = program place "bad" bad

        let! struct (scheduler, port) =
            startScheduler place [ "--pipeline"; stage; "--expect"; "exec:conv,exec-lines:conv" ]

        use scheduler = scheduler
        use well = worker place port goodFolder [] [ "--name"; "well" ]
        use broken = worker place port badFolder (variables place) [ "--name"; "broken" ]
        let! _ = well.Says "is session"
        let! _ = broken.Says "is session"
        spoil place

        for number in 1..files do
            place.Put($"f{number}.txt", $"file {number}\n")

        do! eventuallyOf scheduler patience "every result" (fun () -> isThere place)
        let! _ = scheduler.Says word
        Expect.isFalse (place.Results |> List.exists (fun name -> name.EndsWith ".err")) "no error"

        for number in 1..files do
            Expect.equal (place.Result $"f{number}.txt.out") $"FILE {number}\n" $"f{number}.txt"
    }

[<Tests>]
let tests =
    testList "a worker that fails everything" [
        for name, stage, bad in
            [
                "its program fails", "exec:conv", "#!/bin/sh\nexit 1\n"
                "its program has no interpreter", "exec:conv", "#!/nowhere/sh\n"
                "its program has line ends of Windows", "exec:conv", "#!/bin/sh\r\nexit 0\r\n"
                "its program is none", "exec:conv", "neither\n"
                "its interpreter is not in PATH", "exec:conv", "#!/usr/bin/env nosuchshell\n"
                "its program for lines dies at once", "exec-lines:conv", "#!/bin/sh\nexit 1\n"
            ] do
            scenario $"costs no file: {name}" (fun () ->
                survives stage bad none ignore "worker broken only fails")

        scenario "costs no file: its temporary folder is full" (fun () ->
            survives "exec:conv" good small fill ") left")

        scenario "alone, ends what waits for it: --once says why, and is 1" (fun () ->
            task {
                if not (OperatingSystem.IsLinux()) then
                    skiptest "its programs are shell scripts"

                use place = new Workplace()
                let folder = program place "bad" "#!/bin/sh\r\n"

                for number in 1..5 do
                    place.Put($"f{number}.txt", "x\n")

                let! struct (scheduler, port) =
                    startScheduler place [
                        "--once"
                        "--pipeline"
                        "exec:conv"
                        "--expect"
                        "exec:conv"
                    ]

                use scheduler = scheduler
                use _ = worker place port folder [] [ "--name"; "broken" ]
                let! code = scheduler.Exit
                Expect.equal code 1 scheduler.Said
                let! _ = scheduler.Says "carriage return"
                Expect.stringContains (place.Result "f1.txt.err") "carriage return" "what to do"
            })
    ]
