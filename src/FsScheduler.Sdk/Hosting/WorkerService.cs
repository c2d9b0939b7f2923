using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.FSharp.Collections;
using Microsoft.FSharp.Core;

namespace FsScheduler.Sdk;

/// <summary>A worker that starts and stops with its host.</summary>
internal sealed class WorkerService(
    IOptions<FsSchedulerWorkerOptions> options,
    IEnumerable<StageRegistration> stages,
    IServiceScopeFactory scopes,
    IHostApplicationLifetime lifetime,
    ILogger<WorkerService> logger) : BackgroundService
{
    /// <summary>The exit code of fs-worker in the same case.</summary>
    private const int ExitCodeUnserved = 3;

    private readonly List<Tuple<string, Execution.StageFunction>> functions = [];

    /// <summary>Fails the start of the host if a stage cannot be constructed, or its name cannot be offered.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (var stage in stages)
        {
            var (name, forms) = await stage.NamesAsync(scopes).ConfigureAwait(false);
            var longest = forms.Select(form => form.Length).Append(0).Max();

            if (!Core.ProtocolLimits.isStageName(name) || !Core.ProtocolLimits.isStageName(name + new string('x', longest)))
            {
                throw new InvalidOperationException(
                    $"'{name}' cannot be the name of a stage: use 1 to {Core.ProtocolLimits.stageNameBytesMax - longest} letters, digits, - _ and .");
            }

            foreach (var form in forms.Prepend<string?>(null))
            {
                var offered = name + form;

                if (functions.Any(function => function.Item1 == offered))
                {
                    throw new InvalidOperationException($"two stages are called '{offered}': give one of them another name");
                }

                functions.Add(Tuple.Create(offered, stage.Function(scopes, logger, form)));
            }
        }

        if (functions.Count == 0 && !options.Value.OfferBuiltInStages)
        {
            throw new InvalidOperationException("the worker has nothing to offer: add a stage with AddStage");
        }

        await base.StartAsync(cancellationToken).ConfigureAwait(false);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var end = await Execution.Worker.runAsync(RuntimeOptions(), stoppingToken).ConfigureAwait(false);

        if (end is Execution.WorkerEnd.Unserved unserved)
        {
            // The exception stops the host, by default, but does not set the exit code.
            Environment.ExitCode = ExitCodeUnserved;
            throw new SchedulerRefusedException(unserved.reason);
        }

        if (!stoppingToken.IsCancellationRequested)
        {
            logger.LogInformation("the scheduler has drained this worker: the host stops");
            lifetime.StopApplication();
        }
    }

    private Execution.WorkerOptions RuntimeOptions()
    {
        var chosen = options.Value;
        var builtIn = chosen.OfferBuiltInStages ? Execution.Worker.options.builtIn : FSharpList<string>.Empty;
        var open = chosen.OpenStream;

        return new(
            connect: chosen.Address,
            dial: open is null ? null : FSharpOption<Func<CancellationToken, Task<Stream>>>.Some(ct => open(ct).AsTask()),
            name: chosen.Name,
            slots: chosen.Slots,
            token: chosen.Token is null ? null : FSharpOption<string>.Some(chosen.Token),
            builtIn: builtIn,
            functions: ListModule.OfSeq(functions),
            allowExec: FSharpList<string>.Empty,
            sharedFolders: ListModule.OfSeq(chosen.SharedFolders),
            drain: chosen.DrainTime,
            giveUp: chosen.GiveUpAfter is { } giveUp ? FSharpOption<TimeSpan>.Some(giveUp) : null,
            log: logger);
    }
}
