using System.Net.Sockets;

namespace FsScheduler.Sdk;

/// <summary>Addresses written <c>HOST:PORT</c>.</summary>
internal static class Endpoint
{
    /// <summary>What is wrong with an address; null when nothing is.</summary>
    public static string? Problem(string address)
    {
        var parsed = Runtime.Worker.parseAddress(address);
        return parsed.IsError ? parsed.ErrorValue : null;
    }

    /// <summary>A socket to an address without a problem.</summary>
    public static async ValueTask<Stream> OpenAsync(string address, CancellationToken ct)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

        try
        {
            // A client may be silent for as long as it likes: this is how it notices that the other machine is gone.
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            await socket.ConnectAsync(Runtime.Worker.parseAddress(address).ResultValue, ct).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
