using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace FsScheduler.Sdk;

/// <summary>Adds stages to a worker.</summary>
public sealed class FsSchedulerWorkerBuilder
{
    internal FsSchedulerWorkerBuilder(IServiceCollection services) => Services = services;

    /// <summary>The services of the host.</summary>
    public IServiceCollection Services { get; }

    /// <summary>Offers a stage. An instance is resolved for each task, from a scope of its own, and one at the start, for the
    /// name. A type that is not registered yet is registered as a scoped service.</summary>
    /// <typeparam name="TStage">The type of the stage.</typeparam>
    public FsSchedulerWorkerBuilder AddStage<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] TStage>()
        where TStage : class, IStage
    {
        Services.TryAddScoped<TStage>();
        Services.AddSingleton(new StageRegistration(typeof(TStage)));
        return this;
    }
}
