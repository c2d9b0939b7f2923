namespace FsScheduler.Protocol

open System
open System.Net.Sockets

/// How the system notices that the machine at the other end of a connection has failed.
module KeepAlive =

    /// The option of TCP on Linux for how long sent bytes may wait for acknowledgement, in ms: by default a quarter of
    /// an hour.
    let private TCP_USER_TIMEOUT = 18

    let private IPPROTO_TCP = 6

    let private probeAfterSeconds = 30
    let private probeEverySeconds = 10
    let private probesMax = 3
    let private unacknowledgedMsMax = 60_000

    /// Has the system probe a silent peer after 30 s; without an answer the connection ends after a minute.
    let enable (socket: Socket) =
        let tcp (name: SocketOptionName) (value: int) =
            socket.SetSocketOption(SocketOptionLevel.Tcp, name, value)

        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true)
        tcp SocketOptionName.TcpKeepAliveTime probeAfterSeconds
        tcp SocketOptionName.TcpKeepAliveInterval probeEverySeconds
        tcp SocketOptionName.TcpKeepAliveRetryCount probesMax

        if OperatingSystem.IsLinux() then
            socket.SetRawSocketOption(
                IPPROTO_TCP,
                TCP_USER_TIMEOUT,
                ReadOnlySpan(BitConverter.GetBytes unacknowledgedMsMax)
            )
