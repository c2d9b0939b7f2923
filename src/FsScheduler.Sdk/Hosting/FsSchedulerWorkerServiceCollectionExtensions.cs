using FsScheduler.Sdk;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Workers of FsScheduler in the generic host.</summary>
public static class FsSchedulerWorkerServiceCollectionExtensions
{
    /// <summary>Adds a worker that starts and stops with the host. A host has one worker; a further call changes its
    /// options.</summary>
    /// <param name="services">The services of the host.</param>
    /// <param name="configure">Sets options, which are checked when the host starts.</param>
    /// <returns>A builder, to which stages are added.</returns>
    public static FsSchedulerWorkerBuilder AddFsSchedulerWorker(
        this IServiceCollection services, Action<FsSchedulerWorkerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        var options = services.AddOptions<FsSchedulerWorkerOptions>().ValidateOnStart();

        if (configure is not null)
        {
            options.Configure(configure);
        }

        services.TryAddEnumerable(
            ServiceDescriptor.Singleton<IValidateOptions<FsSchedulerWorkerOptions>, WorkerOptionsValidator>());
        services.AddHostedService<WorkerService>();
        return new(services);
    }
}
