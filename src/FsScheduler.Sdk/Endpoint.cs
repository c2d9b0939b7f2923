using System.Net.Sockets;

namespace FsScheduler.Sdk;

/// <summary>Addresses written <c>HOST:PORT</c>.</summary>
internal static class Endpoint
{
    /// <summary>The error in an address; null: the address is valid.</summary>
    public static string? ErrorOf(string address)
    {
        var parsed = Protocol.SchedulerAddress.parse(address);
        return parsed.IsError ? parsed.ErrorValue : null;
    }

    /// <summary>Opens a socket to a valid address.</summary>
    public static async ValueTask<Stream> OpenAsync(string address, CancellationToken ct)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

        try
        {
            Protocol.KeepAlive.enable(socket);
            await socket.ConnectAsync(Protocol.SchedulerAddress.parse(address).ResultValue, ct).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
