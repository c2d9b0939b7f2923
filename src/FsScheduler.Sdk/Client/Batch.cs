using System.Threading.Channels;

namespace FsScheduler.Sdk;

/// <summary>The submissions of <see cref="SchedulerClient.SubmitManyAsync"/> without an outcome, and the outcomes that were
/// not read yet; together a bounded number.</summary>
internal sealed class Batch(PendingSubmissions submitted, int most)
{
    private readonly Channel<Outcome> outcomes =
        Channel.CreateUnbounded<Outcome>(new() { SingleReader = true }); // bounded by `room`

    private readonly SemaphoreSlim room = new(most);
    private readonly HashSet<PendingSubmission> underway = [];
    private bool isSent;

    public ChannelReader<Outcome> Outcomes => outcomes.Reader;

    /// <summary>Makes room for another submission, after an outcome was read.</summary>
    public void OutcomeRead() => room.Release();

    /// <summary>Submits all. Throws nothing: the reader of the outcomes gets the exception.</summary>
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

    /// <summary>Deletes the results that were not read, also those to come.</summary>
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
