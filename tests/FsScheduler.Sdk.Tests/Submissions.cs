namespace FsScheduler.Sdk.Tests;

/// <summary>What the tests submit.</summary>
internal static class Submissions
{
    /// <summary>A text for the stage that every worker has.</summary>
    public static Submission Lower(string text, string name = "n") =>
        new() { Name = name, Pipeline = "lower", Payload = Payload.FromText(text) };

    /// <summary>A text that waits for a stage that nobody offers.</summary>
    public static Submission Held => Lower("A") with { Pipeline = "nobody" };
}
