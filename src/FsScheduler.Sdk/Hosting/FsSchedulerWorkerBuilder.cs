using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace FsScheduler.Sdk;

/// <summary>Adds stages to a worker.</summary>
public sealed class FsSchedulerWorkerBuilder
{
    internal FsSchedulerWorkerBuilder(IServiceCollection services) => Services = services;

    /// <summary>The services that the worker is one of.</summary>
    public IServiceCollection Services { get; }

    /// <summary>Offers a stage. It is resolved for each task from a scope of its own, as what it was registered as before,
    /// or else as a scoped service; and once at the start, for its name.</summary>
    /// <typeparam name="TStage">Its type.</typeparam>
    public FsSchedulerWorkerBuilder AddStage<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TStage>()
        where TStage : class, IStage
    {
        Services.TryAddScoped<TStage>();
        Services.AddSingleton(new StageRegistration(typeof(TStage)));
        return this;
    }
}
