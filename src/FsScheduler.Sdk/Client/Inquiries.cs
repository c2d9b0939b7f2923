namespace FsScheduler.Sdk;

/// <summary>Commands and questions that wait for an answer; they are said again when the connection is lost before.</summary>
internal sealed class Inquiries
{
    private readonly Lock gate = new();
    private readonly Queue<Question> asked = [];
    private Protocol.SchedulerClient? wire;
    private TaskCompletionSource online = NewOnline();
    private Exception? end;

    /// <summary>Says a command, if there is one, and asks for the status behind it; again when the connection is lost.</summary>
    public async Task<Question.Answer> AskAsync(Core.ToScheduler? command, CancellationToken ct)
    {
        while (true)
        {
            var question = new Question();
            Task waiting;

            lock (gate)
            {
                if (end is not null)
                {
                    throw end;
                }

                waiting = online.Task;
                Post(command, question);
            }

            if (await question.Answered.WaitAsync(ct).ConfigureAwait(false) is { } answer)
            {
                return answer;
            }

            await waiting.WaitAsync(ct).ConfigureAwait(false);
        }
    }

    public void Attach(Protocol.SchedulerClient connection)
    {
        lock (gate)
        {
            wire = connection;
            online.TrySetResult();
        }
    }

    public void Detach()
    {
        lock (gate)
        {
            wire = null;
            online.TrySetResult();
            online = NewOnline();

            while (asked.TryDequeue(out var question))
            {
                question.Lose();
            }
        }
    }

    /// <summary>The answer to the first question.</summary>
    public void Answer(Core.StatusReport report) => Next(remove: true)?.Complete(report);

    /// <summary>What is wrong with the command of the first question. False: there is none, so it is about something
    /// else.</summary>
    public bool Object(string message)
    {
        if (Next(remove: false) is not { } question)
        {
            return false;
        }

        question.Trouble = message;
        return true;
    }

    /// <summary>Fails whoever waits for a connection.</summary>
    public void Fail(Exception error)
    {
        lock (gate)
        {
            online.TrySetException(error);
            _ = online.Task.Exception; // nobody may be waiting for it, which is no accident
            online = NewOnline();
        }
    }

    /// <summary>Fails whatever is asked from now on.</summary>
    public void End(Exception error)
    {
        lock (gate)
        {
            end ??= error;
        }
    }

    private static TaskCompletionSource NewOnline() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Only inside the gate: the answers come in the order of the questions.</summary>
    private void Post(Core.ToScheduler? command, Question question)
    {
        if (wire is null)
        {
            question.Lose();
            return;
        }

        asked.Enqueue(question);

        if (command is not null)
        {
            wire.Post(command);
        }

        wire.Post(Core.ToScheduler.Status);
    }

    private Question? Next(bool remove)
    {
        lock (gate)
        {
            return (remove ? asked.TryDequeue(out var next) : asked.TryPeek(out next)) ? next : null;
        }
    }
}
