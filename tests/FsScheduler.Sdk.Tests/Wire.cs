using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FsScheduler.Sdk.Tests;

/// <summary>A client as simple as one in any language, for what the SDK has no call for.</summary>
internal sealed class Wire(Stream stream) : IDisposable
{
    public static async ValueTask<Stream> OpenAsync(string address, CancellationToken ct = default)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPEndPoint.Parse(address), ct);
        return new NetworkStream(socket, ownsSocket: true);
    }

    public static async Task<Wire> ConnectAsync(string address)
    {
        var wire = new Wire(await OpenAsync(address));
        await wire.SendAsync("""{"type":"HELLO","protocol":1,"role":"client","name":"wire"}""");
        return wire;
    }

    public async Task SendAsync(string line) => await stream.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"));

    public void Dispose() => stream.Dispose();
}
