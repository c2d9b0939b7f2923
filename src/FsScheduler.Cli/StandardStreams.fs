namespace FsScheduler.Cli

#nowarn "9" // fixed: a buffer is passed to the system for the time of a call.

open System
open System.IO
open System.Runtime.InteropServices
open System.Text
open System.Threading
open Microsoft.FSharp.NativeInterop
open FsScheduler.Platform

/// The reader of standard output has gone: the program ends without a message.
exception OutputClosed

/// Standard output cannot be written, for example because a disk is full: the program ends with this message.
exception OutputFailed of message: string

/// Calls of the system on descriptors: the streams of the runtime hide that a reader has gone.
module private Descriptor =

    [<Struct; StructLayout(LayoutKind.Sequential)>]
    type PollFd = { fd: int; events: int16; happened: int16 }

    [<DllImport("libc", SetLastError = true)>]
    extern nativeint private write(int fd, nativeint buffer, nativeint count)

    [<DllImport("libc", SetLastError = true)>]
    extern int private poll(PollFd& fd, unativeint count, int timeoutMs)

    [<DllImport("libc", SetLastError = true)>]
    extern int private fcntl(int fd, int command)

    [<DllImport("libc", EntryPoint = "open", SetLastError = true)>]
    extern int private openFile([<MarshalAs(UnmanagedType.LPUTF8Str)>] string path, int flags)

    let private POLLOUT = 4s
    let private POLLERR = 8s
    let private F_GETFD = 1
    let private FD_CLOEXEC = 1
    let private O_RDWR = 2
    let EINTR = 4
    let private EAGAIN = if OperatingSystem.IsLinux() then 11 else 35
    let EPIPE = 32
    let EBADF = 9

    /// How often a blocked write checks for a signal, in milliseconds.
    let private checkEveryMs = 200

    // In bytes: a pipe that is ready for writing takes this many without blocking.
    let private pieceMax = 4096

    /// Whether the reader of a pipe has gone.
    let hasNoReader (fd: int) =
        let mutable question = { fd = fd; events = 0s; happened = 0s }
        poll (&question, 1un, 0) > 0 && question.happened &&& POLLERR <> 0s

    let private isWritable (fd: int) =
        let mutable question = { fd = fd; events = POLLOUT; happened = 0s }
        poll (&question, 1un, checkEveryMs) > 0

    /// <summary>Writes all bytes, however long that takes, also to a non-blocking descriptor.</summary>
    /// <param name="fd">The descriptor.</param>
    /// <param name="bytes">The bytes.</param>
    /// <param name="goesOn">Whether to go on; called while the descriptor is not ready.</param>
    /// <returns>0, or an errno; EINTR if <c>goesOn</c> returned false.</returns>
    let writeAll (fd: int) (bytes: ReadOnlySpan<byte>) (goesOn: unit -> bool) : int =
        use start = fixed &MemoryMarshal.GetReference bytes
        let mutable offset = 0
        let mutable errno = 0

        while errno = 0 && offset < bytes.Length do
            if isWritable fd then
                let length = min pieceMax (bytes.Length - offset)

                match
                    int (
                        write (fd, NativePtr.toNativeInt start + nativeint offset, nativeint length)
                    )
                with
                | -1 ->
                    errno <-
                        match Marshal.GetLastPInvokeError() with
                        | again when again = EINTR || again = EAGAIN -> 0
                        | other -> other
                | written -> offset <- offset + written
            elif not (goesOn ()) then
                errno <- EINTR

        errno

    /// <summary>Occupies a closed standard descriptor: a file that the program opens there would be printed into.</summary>
    /// <returns>Whether the descriptor was closed when the process started. The runtime may have opened a file there
    /// since; such a descriptor, unlike an inherited one, is closed on exec.</returns>
    let plug (fd: int) : bool =
        match fcntl (fd, F_GETFD) with
        | -1 ->
            openFile ("/dev/null", O_RDWR) |> ignore // gets the lowest free descriptor
            true
        | flags -> flags &&& FD_CLOEXEC <> 0

/// A standard stream for writing.
[<AbstractClass>]
type private StandardStream() =
    inherit Stream()
    override _.CanWrite = true
    override _.CanRead = false
    override _.CanSeek = false
    override _.Length = raise (NotSupportedException())

    override _.Position
        with get () = raise (NotSupportedException())
        and set _ = raise (NotSupportedException())

    override _.Flush() = ()
    override _.Read(_: byte[], _: int, _: int) : int = raise (NotSupportedException())
    override _.Seek(_, _) = raise (NotSupportedException())
    override _.SetLength _ = raise (NotSupportedException())

    override stream.Write(buffer: byte[], offset: int, count: int) =
        stream.Write(ReadOnlySpan(buffer, offset, count))

/// Writes at once, and waits for a slow reader, until a signal asks the program to end.
[<Sealed>]
type private DirectStream(fd: int, wasClosed: bool, failed: int -> unit) =
    inherit StandardStream()

    override _.Write(bytes: ReadOnlySpan<byte>) =
        match
            (if wasClosed then
                 Descriptor.EBADF
             else
                 Descriptor.writeAll fd bytes (fun () -> not (Signals.isAskedToEnd ())))
        with
        | 0 -> ()
        | errno -> failed errno

/// Queues lines, and never waits for a reader.
[<Sealed>]
type private QueuedStream(lines: LineQueue) =
    inherit StandardStream()
    let begun = new MemoryStream()
    // In bytes; longer lines are written in pieces.
    static let lineMax = 64L * 1024L

    let enqueue () =
        if begun.Length > 0L then
            lines.Add(begun.ToArray())
            begun.SetLength 0L

    override _.Write(bytes: ReadOnlySpan<byte>) =
        for index in 0 .. bytes.Length - 1 do
            begun.WriteByte bytes[index]

            if bytes[index] = 10uy || begun.Length >= lineMax then
                enqueue ()

/// Replaces control characters: names of workers and errors of programs may have some, which must not reach a terminal.
[<Sealed>]
type private PrintableWriter(inner: TextWriter) =
    inherit TextWriter()
    override _.Encoding = inner.Encoding
    override _.Flush() = inner.Flush()

    override _.Write(letter: char) =
        inner.Write(Terminal.printableLines (string letter))

    override _.Write(text: string | null) =
        match text with
        | null -> ()
        | text -> inner.Write(Terminal.printableLines text)

    override _.Write(letters: char[], index: int, count: int) =
        inner.Write(Terminal.printableLines (String(letters, index, count)))

/// <summary>Standard output and standard error, for all that executables print: `printfn`, tables, logs.</summary>
/// <remarks>A client command waits for its reader, and ends when the reader has gone. A scheduler or a worker waits for
/// no reader, and goes on without its output. On Windows client commands keep the streams of the runtime.</remarks>
module StandardStreams =

    let private linesMax = 4_096
    let private bytesMax = 1024L * 1024L

    /// The time for the last lines at the end of the process.
    let private lastLinesWithin = TimeSpan.FromSeconds 1.0

    /// Whether descriptors are written directly, not by the runtime.
    let private isDirect = not (OperatingSystem.IsWindows())
    let private utf8 = UTF8Encoding false

    let mutable private encoding: Encoding = utf8

    let private writerOf (stream: Stream) =
        new StreamWriter(stream, encoding, 1024, AutoFlush = true)

    let private outputFailed (errno: int) =
        if errno = Descriptor.EPIPE then
            raise OutputClosed
        elif errno = Descriptor.EINTR then
            raise (OperationCanceledException())
        elif errno = Descriptor.EBADF then
            raise (OutputFailed "standard output is closed")
        else
            raise (OutputFailed $"standard output: {Marshal.GetPInvokeErrorMessage errno}")

    let mutable private output: Stream = Stream.Null
    let mutable private errors: Stream = Stream.Null
    let mutable private isInstalled = false
    let mutable private closed = [| false; false; false |]

    /// <summary>To be called first of all: closed streams become harmless, and writing to standard output throws
    /// `OutputClosed` or `OutputFailed`. Errors of standard error are ignored.</summary>
    let install () =
        if not isInstalled then
            isInstalled <- true

            if isDirect then
                closed <- [| for fd in 0..2 -> Descriptor.plug fd |]
                output <- new DirectStream(1, closed[1], outputFailed)
                Console.SetOut(writerOf output)
                errors <- new DirectStream(2, closed[2], ignore)
                Console.SetError(writerOf errors)
            else
                output <- Console.OpenStandardOutput()

    /// Whether standard input was closed at the start. The runtime may have opened a stream there since, without an end.
    let isInputClosed () = closed[0]

    /// Sets the encoding of text, instead of UTF-8.
    let setEncoding (wanted: Encoding) =
        encoding <- wanted

        if isInstalled && isDirect then
            Console.SetOut(writerOf output)
            Console.SetError(writerOf errors)

    /// Standard output for bytes; text is printed by `printfn`.
    let bytes () : Stream = output

    /// Whether the reader of standard output has gone: a program that prints nothing for now can end.
    let hasNoReader () =
        isDirect && not closed[1] && Descriptor.hasNoReader 1

    /// <summary>Checks periodically whether the reader of standard output has gone.</summary>
    /// <param name="isWanted">Whether to check at all.</param>
    /// <param name="gone">Called when the reader has gone, at every check until the result is disposed.</param>
    let onNoReader (isWanted: bool) (gone: unit -> unit) : IDisposable =
        let check _ =
            if hasNoReader () then
                gone ()

        let every = TimeSpan.FromMilliseconds 300.0

        new Timer(check, null, (if isWanted then every else Timeout.InfiniteTimeSpan), every)

    let private queue (fd: int) (dropped: int64 -> byte[]) =
        let runtime =
            if isDirect then Stream.Null
            elif fd = 1 then Console.OpenStandardOutput()
            else Console.OpenStandardError()

        let write (line: byte[]) =
            if isDirect then
                not closed[fd]
                && Descriptor.writeAll fd (ReadOnlySpan line) (fun () -> true) = 0
            else
                try
                    runtime.Write(line, 0, line.Length)
                    true
                with :? IOException ->
                    false

        let lines = LineQueue(write, linesMax, bytesMax, dropped)
        let writer: TextWriter = writerOf (new QueuedStream(lines))

        lines,
        (if isDirect then
             new PrintableWriter(writer) :> TextWriter
         else
             writer)

    let mutable private queues: LineQueue list = []

    /// <summary>From now on printing waits for no reader: lines beyond the bounds of a `LineQueue` are dropped.</summary>
    /// <param name="dropped">The line for standard error with a number of dropped lines.</param>
    let detach (dropped: int64 -> string) =
        install ()
        let outputs, output = queue 1 (fun _ -> [||])
        let errors, error = queue 2 (fun count -> utf8.GetBytes(dropped count + "\n"))
        Console.SetOut output
        Console.SetError error
        queues <- [ errors; outputs ]

    /// To be called last of all: gives queued lines one second to be written.
    let finish () =
        let started = Diagnostics.Stopwatch.StartNew()

        for lines in queues do
            lines.Drain(lastLinesWithin - started.Elapsed) |> ignore
