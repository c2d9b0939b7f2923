namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol
open Microsoft.Win32.SafeHandles

/// The files of a program that wants paths, where its arguments name them.
type internal ExecFiles = {
    /// With the paths in their places.
    arguments: string[]
    /// Where the payload goes. Null: it is the standard input.
    input: string | null
    /// Where the result comes from. Null: it is the standard output.
    output: string | null
}

module internal ExecFiles =

    let private inPlace = "{in}"
    let private outPlace = "{out}"

    /// Many programs go by the extension. It is the only part of a name from elsewhere that becomes part of a path here.
    let private extensionOf (name: string) =
        let dot = name.LastIndexOf '.'

        if
            dot < 0
            || name.Length - dot > 17
            || not (Seq.forall Char.IsAsciiLetterOrDigit name[dot + 1 ..])
        then
            ""
        else
            name[dot..]

    /// <summary>Puts paths into the arguments of `exec-file`.</summary>
    /// <param name="kind">Of other stages the arguments stay as they are.</param>
    /// <param name="arguments">`{in}` and `{out}` may stand anywhere in them.</param>
    /// <param name="folder">Where the files are.</param>
    /// <param name="name">What the task is called: `{in}` has its extension.</param>
    let place kind (arguments: string[]) (folder: string) (name: string) : ExecFiles =
        let isThere (place: string) =
            kind = OnFiles && arguments |> Array.exists _.Contains(place)

        let input: string | null =
            if isThere inPlace then
                Path.Combine(folder, "in" + extensionOf name)
            else
                null

        let output: string | null =
            if isThere outPlace then
                Path.Combine(folder, "out")
            else
                null

        // Both at once: a path that is put in is not looked at again.
        let replaced (argument: string) =
            argument.Split inPlace
            |> Array.map (fun part ->
                match output with
                | null -> part
                | output -> part.Replace(outPlace, output))
            |> String.concat (
                match input with
                | null -> inPlace
                | input -> input
            )

        {
            arguments =
                (if isNull input && isNull output then
                     arguments
                 else
                     Array.map replaced arguments)
            input = input
            output = output
        }

    /// Puts the payload where the program will look for it.
    let writeInput (folder: RunFolder) (files: ExecFiles) (payload: Payload) : Task =
        task {
            match files.input with
            | null -> ()
            | path ->
                let name = nonNull (Path.GetFileName path)
                use from = SpoolFile.openPayload payload
                use file = new StraightFile(Path.Combine(folder.Root, name), FileMode.CreateNew)
                do! from.CopyToAsync file
        }

    /// What a program has made of its output, where that is no file.
    let private describeKind kind =
        match kind with
        | 0x4000 -> "a folder"
        | 0x1000 -> "a fifo"
        | 0xC000 -> "a socket"
        | 0x2000
        | 0x6000 -> "a device"
        | _ -> "something else"

    let private fail (message: string) : 'result = raise (StageException(message, true))

    let private failMissing (program: string) : 'result =
        fail $"{program} ended well, but has not written {outPlace}"

    let private failKind (program: string) kind : 'result =
        if kind = Linux.S_IFLNK then
            fail $"{program} has made a link of {outPlace}, not a file"
        else
            fail
                $"{program} ended well, but has not written {outPlace}: it has made {describeKind kind} of it, not a file"

    let private failErrno (program: string) errno : 'result =
        if errno = Linux.Errno.ENOENT then
            failMissing program
        else
            fail $"{program} has written {outPlace}, but it cannot be read: {Linux.message errno}"

    /// Reads so many bytes; whoever is still writing may make a file longer, or shorter.
    let private readWhole (program: string) (file: SafeFileHandle) (size: int) =
        let bytes = GC.AllocateUninitializedArray<byte> size
        let mutable at = 0
        let mutable goOn = true

        while goOn && at < size do
            let count = RandomAccess.Read(file, Span(bytes, at, size - at), int64 at)
            at <- at + count
            goOn <- count > 0

        if at < size then
            fail $"{program} ended, but something that it started still changes {outPlace}"

        bytes

    /// On Linux what is read is what was looked at. Neither a fifo nor a device is ever opened, or waited for.
    let private readByCalls program (folder: RunFolder) newFile memoryMax (bytesMax: Size) =
        let name = FolderCalls.bytesOf "out"

        let kindOf status =
            match status with
            | Error errno -> failErrno program errno
            | Ok(status: FolderCalls.Status) when status.kind <> Linux.S_IFREG ->
                failKind program status.kind
            | Ok status -> status

        kindOf (FolderCalls.statusOf folder.Descriptor name) |> ignore

        match FolderCalls.openAnything folder.Descriptor name with
        | Error errno -> failErrno program errno
        | Ok fd ->
            use file = new SafeFileHandle(nativeint fd, ownsHandle = true)
            let status = kindOf (FolderCalls.statusOfOpen fd)
            let size = status.size * 1L<B>

            if size > bytesMax then
                raise (ResultSink.TooLarge bytesMax)

            if status.size <= int64 memoryMax then
                Bytes(readWhole program file (int status.size))
            else
                let kept: string = newFile ()
                File.Move(Path.Combine(folder.Root, "out"), kept)

                match FolderCalls.statusOfPath kept with
                | Ok there when there.inode = status.inode && there.device = status.device ->
                    Spooled(kept, size)
                | _ ->
                    SpoolFile.delete kept
                    fail $"{program} ended, but something that it started still changes {outPlace}"

    let private readPortably program path (newFile: unit -> string) memoryMax bytesMax =
        let file = FileInfo path

        if not file.Exists then
            failMissing program

        if not (isNull file.LinkTarget) then
            failKind program Linux.S_IFLNK

        let size = file.Length * 1L<B>

        if size > bytesMax then
            raise (ResultSink.TooLarge bytesMax)

        if file.Length <= int64 memoryMax then
            Bytes(File.ReadAllBytes path)
        else
            let kept = newFile ()
            File.Move(path, kept)
            Spooled(kept, size)

    /// <summary>Takes the result from where the program has put it.</summary>
    /// <param name="program">For messages.</param>
    /// <param name="folder">The folder of the program, where it is called `out`.</param>
    /// <param name="newFile">Names a file that outlives the folder, for a result that is too large for memory.</param>
    /// <param name="memoryMax">The largest result in memory, in bytes.</param>
    /// <param name="bytesMax">The largest result.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">It is missing, no file, or too large.</exception>
    let readOutput
        (program: string)
        (folder: RunFolder)
        (newFile: unit -> string)
        (memoryMax: int)
        (bytesMax: Size)
        : Payload =
        if folder.Descriptor >= 0 then
            readByCalls program folder newFile memoryMax bytesMax
        else
            readPortably program (Path.Combine(folder.Path, "out")) newFile memoryMax bytesMax
