using System.Text;
using Microsoft.Extensions.Options;

namespace FsScheduler.Sdk;

/// <summary>Reports all errors in a worker's options at once.</summary>
internal sealed class WorkerOptionsValidator : IValidateOptions<FsSchedulerWorkerOptions>
{
    public ValidateOptionsResult Validate(string? name, FsSchedulerWorkerOptions options)
    {
        var errors = Errors(options).ToList();
        return errors.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(errors);
    }

    private static IEnumerable<string> Errors(FsSchedulerWorkerOptions options)
    {
        if (Endpoint.ErrorOf(options.Address) is { } error)
        {
            yield return $"{nameof(options.Address)}: {error}";
        }

        if (options.Token is not null && Encoding.UTF8.GetByteCount(options.Token) > Core.ProtocolLimits.tokenBytesMax)
        {
            yield return $"{nameof(options.Token)}: it has at most {Core.ProtocolLimits.tokenBytesMax} bytes";
        }

        if (string.IsNullOrEmpty(options.Name) || Encoding.UTF8.GetByteCount(options.Name) > Core.ProtocolLimits.peerNameBytesMax)
        {
            yield return $"{nameof(options.Name)}: it has 1 to {Core.ProtocolLimits.peerNameBytesMax} bytes";
        }

        if (options.Slots < 1 || options.Slots > Core.ProtocolLimits.slotsMax)
        {
            yield return $"{nameof(options.Slots)}: a worker has 1 to {Core.ProtocolLimits.slotsMax}, not {options.Slots}";
        }

        foreach (var folder in options.SharedFolders.Where(folder => !Directory.Exists(folder)))
        {
            yield return $"{nameof(options.SharedFolders)}: there is no folder '{folder}'";
        }

        if (options.DrainTime < TimeSpan.Zero || options.DrainTime > TimeSpan.FromDays(1))
        {
            yield return $"{nameof(options.DrainTime)}: it is from zero to a day, not {options.DrainTime}";
        }

        if (options.GiveUpAfter < TimeSpan.Zero)
        {
            yield return $"{nameof(options.GiveUpAfter)}: it is zero or more, not {options.GiveUpAfter}";
        }
    }
}
