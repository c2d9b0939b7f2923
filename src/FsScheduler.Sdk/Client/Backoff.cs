namespace FsScheduler.Sdk;

/// <summary>How long to wait before the next try.</summary>
internal static class Backoff
{
    /// <summary>100 ms, doubled each time, 5 s at the most, of which the upper half is left to chance: clients that lost
    /// their scheduler together do not come back together.</summary>
    /// <param name="failures">How many tries have failed so far, from 1.</param>
    public static TimeSpan After(int failures)
    {
        var full = Math.Min(5_000, 100 << Math.Min(failures - 1, 10));
        return TimeSpan.FromMilliseconds((full / 2) + Random.Shared.Next((full / 2) + 1));
    }
}
