using System.Text;
using Expecto;
using Expecto.CSharp;

namespace FsScheduler.Sdk.Tests;

/// <summary>The two base classes, without a worker.</summary>
internal static class StageTests
{
    private const string Text = "um\ndois\r\n\ntrês\r\numa linha sem fim";

    public static Test Tests { get; } = Runner.TestList("stages of text",
    [
        Check.Case("keep the ends of lines", async () =>
        {
            Check.Equal(Text.ToUpperInvariant(), await RunAsync(new UpperStage(), Text), "the text");
            Check.Equal("", await RunAsync(new UpperStage(), ""), "nothing");
            Check.Equal("\n\r\n", await RunAsync(new UpperStage(), "\n\r\n"), "lines of nothing");
        }),
        Check.Case("leave out a line with its end", async () =>
            Check.Equal("A\r\nC", await RunAsync(new UpperStage(), "a\r\n-b\nc"), "the text")),
        Check.Case("get the first line without the byte order mark, which stays where lines do", async () =>
        {
            Check.Equal("\uFEFFA\n", await RunAsync(new UpperStage(), "\uFEFFa\n"), "a line");
            Check.Equal("\uFEFFB", await RunAsync(new UpperStage(), "\uFEFF-a\nb"), "a line that goes");
            Check.Equal("\uFEFF", await RunAsync(new UpperStage(), "\uFEFF"), "none");
            Check.Equal("A\n\uFEFF-B", await RunAsync(new UpperStage(), "a\n\uFEFF-b"), "elsewhere");

            foreach (var size in new[] { 1, 2, 100 })
            {
                Check.Equal(
                    "2 words, 2 lines, a … \uFEFFb", await RunAsync(new WordsStage(size), "\uFEFFa\n\uFEFFb"), $"pieces of {size}");
            }
        }),
        Check.Case("name the byte that is not UTF-8, and want no other attempt", async () =>
        {
            byte[] payload = [.. "três\n"u8, (byte)'x', 0xC3, (byte)'\n', (byte)'y'];

            foreach (IStage stage in new IStage[] { new UpperStage(), new WordsStage(), new WordsStage(1) })
            {
                var error = await Check.ThrowsAsync<StageFailedException>(() => RunAsync(stage, payload));
                Check.Equal("invalid UTF-8 at byte 7", error.Message, stage.Name);
                Check.True(!error.Retry, "no other attempt");
            }
        }),
        Check.Case("say which error comes first in the text, however it is cut", async () =>
        {
            byte[] payload = [.. Enumerable.Repeat("palavra\n"u8.ToArray(), 500).SelectMany(line => line), 0xFF, (byte)'\n', 0xFF];
            var error = await Check.ThrowsAsync<StageFailedException>(() => RunAsync(new WordsStage(10), payload));
            Check.Equal("invalid UTF-8 at byte 4000", error.Message, "the first");
        }),
        Check.Case("refuse half a surrogate pair as a result", async () =>
        {
            var error = await Check.ThrowsAsync<StageFailedException>(() => RunAsync(new UpperStage(), "half"));
            Check.True(!error.Retry, "no other attempt");
        }),
        Check.Case("end when nobody waits for the result", async () =>
        {
            using var gone = new CancellationTokenSource();
            await gone.CancelAsync();
            var context = Context(Encoding.UTF8.GetBytes(Text));
            await Check.ThrowsAsync<OperationCanceledException>(() => new UpperStage().RunAsync(context, gone.Token).AsTask());
            await Check.ThrowsAsync<OperationCanceledException>(() => new WordsStage().RunAsync(context, gone.Token).AsTask());
        }),
        Check.Case("add up to the same, whatever the pieces", async () =>
        {
            // The order of the lines is in the state too, so pieces that change places would be seen.
            var text = string.Concat(Enumerable.Range(0, 300).Select(index => $"linha {index % 7}{(index % 3 == 0 ? "\r\n" : "\n")}")) + "fim";
            var whole = await RunAsync(new WordsStage(), text);
            Check.Contains("601 words, 301 lines, linha 0 … fim", whole);

            foreach (var size in new[] { 1, 2, 9, 10, 100, 2_000, 1_000_000 })
            {
                Check.Equal(whole, await RunAsync(new WordsStage(size), text), $"pieces of {size}");
            }

            Check.Equal("0 words, 0 lines,  … ", await RunAsync(new WordsStage(1), ""), "nothing");
        }),
        Check.Case("merge the states of pieces when there are several", async () =>
        {
            var stage = new WordsStage(1);
            await RunAsync(stage, "a\nb\nc\nd\n");
            Check.Equal(3, stage.Merges, "merges of four lines");
        }),
    ]);

    private static StageContext Context(byte[] payload) =>
        new() { TaskId = 1, Attempt = 1, Name = "n", Payload = payload };

    private static async Task<string> RunAsync(IStage stage, byte[] payload) =>
        Encoding.UTF8.GetString((await stage.RunAsync(Context(payload), CancellationToken.None)).Span);

    private static Task<string> RunAsync(IStage stage, string text) => RunAsync(stage, Encoding.UTF8.GetBytes(text));

    /// <summary>Upper case; leaves out what begins with a dash.</summary>
    private sealed class UpperStage : PerLineStage
    {
        public override string Name => "upper-lines";

        protected override string? Transform(string line, StageContext context) =>
            line switch
            {
                "half" => "\uD800",
                ['-', ..] => null,
                _ => line.ToUpperInvariant(),
            };
    }

    private sealed record Seen(int Words, int Lines, string First, string Last);

    private sealed class WordsStage(int pieceBytes = 4 * 1024 * 1024) : AggregateStage<Seen?>
    {
        private int merges;

        public int Merges => merges;

        public override string Name => "seen";

        protected override int PieceBytes => pieceBytes;

        protected override Seen? Seed(StageContext context) => null;

        protected override Seen? Add(Seen? state, string line)
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries).Length;
            return state is null
                ? new(words, 1, line, line)
                : state with { Words = state.Words + words, Lines = state.Lines + 1, Last = line };
        }

        protected override Seen? Merge(Seen? left, Seen? right)
        {
            merges++;

            return left is null ? right
                : right is null ? left
                : new(left.Words + right.Words, left.Lines + right.Lines, left.First, right.Last);
        }

        protected override string Result(Seen? state, StageContext context) =>
            $"{state?.Words ?? 0} words, {state?.Lines ?? 0} lines, {state?.First} … {state?.Last}";
    }
}
