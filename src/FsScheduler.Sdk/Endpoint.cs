using System.Net.Sockets;

namespace FsScheduler.Sdk;

/// <summary>Addresses written <c>HOST:PORT</c>.</summary>
internal static class Endpoint
{
    /// <summary>What is wrong with an address; null when nothing is.</summary>
    public static string? Problem(string address)
    {
        var parsed = Protocol.SchedulerAddress.parse(address);
        return parsed.IsError ? parsed.ErrorValue : null;
    }

    /// <summary>A socket to an address without a problem.</summary>
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
