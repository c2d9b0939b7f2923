namespace FsScheduler.Execution.Exec

open System
open System.IO
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Stages
open FsScheduler.Protocol
open Microsoft.Win32.SafeHandles

/// The files of a program, and its arguments that name them.
type internal ExecFiles = {
    /// The arguments with the paths filled in.
    arguments: string[]
    /// The file for the payload. Null: standard input.
    input: string | null
    /// The file for the result. Null: standard output.
    output: string | null
}

module internal ExecFiles =

    let private inPlace = "{in}"
    let private outPlace = "{out}"

    /// The extension of a task's name, which tells many programs the format. No other part of the name gets into a path.
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

    /// <summary>Fills paths into the arguments of `exec-file`.</summary>
    /// <param name="kind">The arguments of other stages stay as they are.</param>
    /// <param name="arguments">May contain `{in}` and `{out}` anywhere.</param>
    /// <param name="folder">The folder of the files.</param>
    /// <param name="name">The name of the task, whose extension `{in}` gets.</param>
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

        // Both in one pass: a path that was filled in is not searched again.
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

    /// Writes the payload to the file that `{in}` names, if the arguments have it.
    let writeInput (folder: RunFolder) (files: ExecFiles) (payload: Content) : Task =
        task {
            match files.input with
            | null -> ()
            | path ->
                let name = nonNull (Path.GetFileName path)
                use from = SpoolFile.openContent payload
                use file = new StraightFile(Path.Combine(folder.Root, name), FileMode.CreateNew)
                do! from.CopyToAsync file
        }

    /// The kind of a result that is no file, for messages.
    let private describeKind kind =
        match kind with
        | 0x4000 -> "a folder"
        | 0x1000 -> "a fifo"
        | 0xA000 -> "a link"
        | 0xC000 -> "a socket"
        | 0x2000
        | 0x6000 -> "a device"
        | _ -> "something else"

    let private fail (message: string) : 'result = raise (StageException(message, true))

    let private failMissing (program: string) : 'result =
        fail $"{program} ended with exit code 0, but did not write {outPlace}"

    let private failKind (program: string) kind : 'result =
        fail $"{program} made {outPlace} {describeKind kind}, not a file"

    let private failErrno (program: string) errno : 'result =
        if errno = Linux.Errno.ENOENT then
            failMissing program
        else
            fail $"{program} wrote {outPlace}, but it cannot be read: {Linux.message errno}"

    let private failChanging (program: string) : 'result =
        fail $"{program} ended, but a process that it started still changes {outPlace}"

    /// Reads exactly this many bytes; a file that is still being written may be longer, or shorter.
    let private readWhole (program: string) (file: SafeFileHandle) (size: int) =
        let bytes = GC.AllocateUninitializedArray<byte> size
        let mutable at = 0
        let mutable goOn = true

        while goOn && at < size do
            let count = RandomAccess.Read(file, Span(bytes, at, size - at), int64 at)
            at <- at + count
            goOn <- count > 0

        if at < size then
            failChanging program

        bytes

    /// Reads by calls of Linux, so that the file that is read is the one that was checked: no fifo or device is opened.
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
                    failChanging program

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

    /// <summary>Reads the result that a program has written.</summary>
    /// <param name="program">The name of the program, for messages.</param>
    /// <param name="folder">The folder of the program, with the file `out`.</param>
    /// <param name="newFile">A new path that outlives the folder, for a result too large for memory.</param>
    /// <param name="memoryMax">The largest result in memory, in bytes.</param>
    /// <param name="bytesMax">The largest result, in bytes.</param>
    /// <exception cref="T:FsScheduler.Stages.StageException">The result is missing, no file, or too large.</exception>
    let readOutput
        (program: string)
        (folder: RunFolder)
        (newFile: unit -> string)
        (memoryMax: int)
        (bytesMax: Size)
        : Content =
        if folder.Descriptor >= 0 then
            readByCalls program folder newFile memoryMax bytesMax
        else
            readPortably program (Path.Combine(folder.Path, "out")) newFile memoryMax bytesMax
