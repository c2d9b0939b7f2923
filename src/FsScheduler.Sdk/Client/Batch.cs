using System.Threading.Channels;

namespace FsScheduler.Sdk;

/// <summary>Submissions on their way, and outcomes that nobody has taken yet; together a bounded number.</summary>
internal sealed class Batch(PendingSubmissions submitted, int most)
{
    private readonly Channel<Outcome> outcomes =
        Channel.CreateUnbounded<Outcome>(new() { SingleReader = true }); // the room is what bounds it

    private readonly SemaphoreSlim room = new(most);
    private readonly HashSet<PendingSubmission> underway = [];
    private bool isSent;

    public ChannelReader<Outcome> Outcomes => outcomes.Reader;

    /// <summary>An outcome was taken, which makes room for another submission.</summary>
    public void Taken() => room.Release();

    /// <summary>Submits all. It does not throw: the reader of the outcomes does.</summary>
    public async Task SendAsync(IAsyncEnumerable<Submission> submissions, CancellationToken ct)
    {
        try
        {
            await foreach (var submission in submissions.WithCancellation(ct).ConfigureAwait(false))
            {
                await room.WaitAsync(ct).ConfigureAwait(false);
                var pending = await submitted.AddAsync(submission, ct).ConfigureAwait(false);

                lock (underway)
                {
                    underway.Add(pending);
                }

                _ = ForwardAsync(pending);
            }

            lock (underway)
            {
                isSent = true;
                CompleteIfOver();
            }
        }
        catch (Exception error)
        {
            outcomes.Writer.TryComplete(error);
        }
    }

    /// <summary>Nobody takes any more.</summary>
    public void Abandon()
    {
        outcomes.Writer.TryComplete();

        lock (underway)
        {
            foreach (var pending in underway)
            {
                pending.Abandon();
            }
        }

        while (outcomes.Reader.TryRead(out var outcome))
        {
            Discard(outcome);
        }
    }

    private async Task ForwardAsync(PendingSubmission pending)
    {
        try
        {
            var outcome = await pending.Ended.ConfigureAwait(false);

            if (!outcomes.Writer.TryWrite(outcome))
            {
                Discard(outcome);
            }
        }
        catch (Exception error)
        {
            outcomes.Writer.TryComplete(error);
        }

        lock (underway)
        {
            underway.Remove(pending);
            CompleteIfOver();
        }
    }

    private void CompleteIfOver()
    {
        if (isSent && underway.Count == 0)
        {
            outcomes.Writer.TryComplete();
        }
    }

    private static void Discard(Outcome outcome)
    {
        if (outcome is Outcome.Succeeded succeeded)
        {
            succeeded.Result.Dispose();
        }
    }
}
