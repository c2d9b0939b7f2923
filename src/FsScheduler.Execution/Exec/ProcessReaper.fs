namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.IO.Pipes
open System.Text
open Microsoft.Extensions.Logging
open Microsoft.Win32.SafeHandles
open FsScheduler.Platform

/// <summary>Kills the programs of this process if the process itself is killed: a small process that is told of each
/// program over a pipe, and kills when the pipe ends, for whatever reason. Linux only.</summary>
/// <param name="mark">A variable in the environment of every program and of no other process, `NAME=VALUE`.</param>
/// <param name="log">Warned once if the small process cannot be started.</param>
/// <remarks>The small process kills the process groups that it was told of, and then every process with the mark, with
/// its group: programs started in the last moment, and processes that have left their group. The process is a few lines
/// of `sh`, which take 1 MB of memory, against 30 MB of a .NET process, and also serve workers that are
/// scripts.</remarks>
[<Sealed>]
type internal ProcessReaper(mark: string, log: ILogger) =

    static let shell = "/bin/sh"

    // `groups` is a list with a blank before and after each group. `grep` searches the environment of every readable
    // process, repeatedly, since a process that is being started is found only afterwards. In `stat` the group is the
    // third word after the name, which is in brackets and may contain more brackets.
    static let script =
        """
        groups=' '
        while read -r change group; do
            case $change in
            +) groups="$groups$group " ;;
            -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
            esac
        done
        for group in $groups; do kill -s KILL -- "-$group"; done 2>/dev/null
        for round in 1 2 3 4 5 6 7 8 9 10; do
            marked=$(grep -ls -- "$1" /proc/[0-9]*/environ 2>/dev/null)
            [ -n "$marked" ] || break
            for path in $marked; do
                set -- "$1" $(sed -n '$s/.*)//p' "${path%/environ}/stat" 2>/dev/null)
                pid=${path#/proc/}
                kill -s KILL -- "-$4" "${pid%/environ}" 2>/dev/null
            done
        done
        """

    let mutable isLost = false

    let lost (reason: string) =
        if not isLost then
            isLost <- true

            log.LogWarning(
                "programs may outlive this worker if it is killed: {Reason}. Programs still end when the worker is stopped",
                reason
            )

    let start () =
        let struct (readEnd, writeEnd) = Posix.pipe ()

        try
            try
                // In another group: a signal from the terminal that ends this process must not end the reaper.
                Posix.spawn
                    {
                        path = shell
                        name = "fs-worker-guard"
                        arguments = [| "-c"; script; "fs-worker-guard"; mark |]
                        environment = [| "PATH=/usr/bin:/bin:/usr/local/bin" |]
                        folder = "/"
                        input = InputPiped
                        isOutputWanted = false
                    }
                    [|
                        Posix.Descriptor readEnd
                        Posix.Path("/dev/null", true)
                        Posix.Path("/dev/null", true)
                    |]
                |> ignore

                new AnonymousPipeClientStream(
                    PipeDirection.Out,
                    new SafePipeHandle(nativeint writeEnd, true)
                )
            with _ ->
                Linux.close writeEnd
                reraise ()
        finally
            Linux.close readEnd

    let pipe: Stream =
        try
            start ()
        with :? IOException as error ->
            lost error.Message
            Stream.Null

    let tell (change: string) (group: int) =
        let line = Encoding.ASCII.GetBytes $"{change} {group}\n"

        lock pipe (fun () ->
            try
                pipe.Write(line, 0, line.Length)
            with
            | :? IOException as error -> lost error.Message
            | :? ObjectDisposedException -> ())

    interface IProgramObserver with
        member _.Started group = tell "+" group
        member _.Ended group = tell "-" group

    /// Ends the reaper, which kills the programs that are left.
    interface IDisposable with
        member _.Dispose() = pipe.Dispose()
