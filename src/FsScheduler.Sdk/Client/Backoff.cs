namespace FsScheduler.Sdk;

/// <summary>Delays between attempts to connect, or to submit to a scheduler that is too busy.</summary>
internal static class Backoff
{
    /// <summary>100 ms, doubled each time, at most 5 s, of which the upper half is random: clients that lost their scheduler
    /// together do not come back together.</summary>
    /// <param name="failures">How many attempts have failed so far, from 1.</param>
    public static TimeSpan After(int failures)
    {
        var full = Math.Min(5_000, 100 << Math.Min(failures - 1, 10));
        return TimeSpan.FromMilliseconds((full / 2) + Random.Shared.Next((full / 2) + 1));
    }
}
