using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FsScheduler.Sdk.Tests;

/// <summary>A generic host with a worker.</summary>
internal static class TestHost
{
    /// <summary>One that is built and not started.</summary>
    public static IHost Build(
        string address,
        Action<FsSchedulerWorkerBuilder> add,
        Action<FsSchedulerWorkerOptions>? change = null)
    {
        var builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();

        add(builder.Services.AddFsSchedulerWorker(options =>
        {
            options.Address = address;
            options.Slots = 4;
            change?.Invoke(options);
        }));

        return builder.Build();
    }

    /// <summary>One that runs.</summary>
    public static async Task<IHost> StartAsync(
        string address,
        Action<FsSchedulerWorkerBuilder> add,
        Action<FsSchedulerWorkerOptions>? change = null)
    {
        var host = Build(address, add, change);
        await Check.Within(host.StartAsync());
        return host;
    }
}
