namespace FsScheduler.Server

open System
open System.Buffers
open System.IO
open System.Net.Sockets
open System.Threading
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Protocol

/// <summary>Limits connections, so that files can still be opened, and keeps some for workers.</summary>
[<Sealed>]
type ConnectionSlots(limits: ConnectionLimits) =
    // Refused peers that are still read from, at most: closing a socket with bytes unread would discard the refusal.
    static let refusalsMax = 16
    static let refusalWithin = TimeSpan.FromSeconds 2.0
    static let unreadMax = 64 * 1024

    let mutable clients = 0
    let mutable refusals = 0

    /// The number of connections, at most.
    member _.All = limits.all

    member private _.Bound =
        $"try again later, or raise 'ulimit -n' of the scheduler if that is what allows no more than these (there are {ConnectionLimits.most} at the most)"

    /// Reserves a connection for a client, or says why not.
    member places.TryEnterClient() : Result<unit, string> =
        if Interlocked.Increment &clients <= limits.clients then
            Ok()
        else
            Interlocked.Decrement &clients |> ignore

            Error
                $"there are {limits.clients} clients, and the other {limits.all - limits.clients} connections are kept for workers; {places.Bound}"

    member _.LeaveClient() =
        Interlocked.Decrement &clients |> ignore

    /// The refusal when all connections are taken.
    member places.Full = $"all {limits.all} connections are taken; {places.Bound}"

    /// <summary>Sends a peer the refusal, and closes its socket.</summary>
    member places.RefuseAsync(socket: Socket) : Task =
        task {
            use socket = socket
            let output = ArrayBufferWriter<byte>()
            let refusal = FromScheduler.Error(ErrorCode.NotWelcome, places.Full)
            Codec.encodeFromScheduler output refusal 0L<B>
            use patience = new CancellationTokenSource(refusalWithin)
            let isFew = Interlocked.Increment &refusals <= refusalsMax

            try
                let! _ = socket.SendAsync(output.WrittenMemory, SocketFlags.None, patience.Token)
                socket.Shutdown SocketShutdown.Send
                let buffer: byte[] = Array.zeroCreate 4096
                let mutable left = if isFew then unreadMax else 0

                while left > 0 do
                    let! read = socket.ReceiveAsync(Memory buffer, SocketFlags.None, patience.Token)

                    left <- if read = 0 then 0 else left - read
            with
            | :? SocketException
            | :? IOException
            | :? OperationCanceledException -> ()

            Interlocked.Decrement &refusals |> ignore
        }
