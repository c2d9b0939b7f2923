namespace FsScheduler.Protocol

open System
open System.Net.Sockets

/// How a connection notices that the machine at its other end is gone without a word.
module KeepAlive =

    /// Of TCP on Linux: how long bytes may be on their way without being acknowledged, in ms. Without it that is a quarter of
    /// an hour.
    let private TCP_USER_TIMEOUT = 18

    let private IPPROTO_TCP = 6

    let private probeAfterSeconds = 30
    let private probeEverySeconds = 10
    let private probesMax = 3
    let private unacknowledgedMsMax = 60_000

    /// Has the system look for the other end when it is silent: a minute, and the connection ends.
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
