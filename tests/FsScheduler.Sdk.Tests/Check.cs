using Expecto;
using Expecto.CSharp;

namespace FsScheduler.Sdk.Tests;

/// <summary>What a test expects, and how long it waits for it.</summary>
internal static class Check
{
    /// <summary>No test waits longer for anything. Far more than is needed: it is for what will never come.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    /// <summary>No test takes longer: one that hangs is ended, and named.</summary>
    private static readonly TimeSpan Limit = 2 * Patience;

    public static Test Case(string name, Func<Task> body) => Runner.TestCase(name, () => body().WaitAsync(Limit));

    public static void Equal<T>(T expected, T actual, string what)
    {
        if (!EqualityComparer<T>.Default.Equals(expected, actual))
        {
            throw new AssertException($"{what}: expected '{expected}', not '{actual}'");
        }
    }

    public static void True(bool holds, string what)
    {
        if (!holds)
        {
            throw new AssertException($"{what}: it is not so");
        }
    }

    public static void Contains(string part, string text)
    {
        if (!text.Contains(part, StringComparison.Ordinal))
        {
            throw new AssertException($"expected '{part}' in: {text}");
        }
    }

    public static T Is<T>(object? value)
    {
        return value is T expected ? expected : throw new AssertException($"expected {typeof(T).Name}, not {value}");
    }

    public static async Task<T> ThrowsAsync<T>(Func<Task> work)
        where T : Exception
    {
        try
        {
            await work().WaitAsync(Patience);
        }
        catch (T error)
        {
            return error;
        }

        throw new AssertException($"expected a {typeof(T).Name}");
    }

    public static Task<T> Within<T>(Task<T> work) => work.WaitAsync(Patience);

    public static Task Within(Task work) => work.WaitAsync(Patience);

    /// <summary>For what no event tells; looks often and gives up late.</summary>
    public static async Task Eventually(string what, Func<ValueTask<bool>> holds)
    {
        using var limit = new CancellationTokenSource(Patience);

        while (!await holds())
        {
            True(!limit.IsCancellationRequested, $"{what}, in time");
            await Task.Delay(10);
        }
    }
}
