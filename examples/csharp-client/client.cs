// A client in C#, in one file: has every file of a folder processed, and writes the results beside it.
//
//     dotnet run examples/csharp-client/client.cs -- FOLDER 'lower | words' [HOST:PORT]
//
// The scheduler may be restarted meanwhile: nothing is lost, and nothing is done twice.
#:project ../../src/FsScheduler.Sdk/FsScheduler.Sdk.csproj
#:property PublishAot=false

using FsScheduler.Sdk;

if (args is not [var folder, var pipeline, .. var rest])
{
    Console.Error.WriteLine("usage: client.cs FOLDER PIPELINE [HOST:PORT]");
    return 2;
}

var target = Directory.CreateDirectory(folder.TrimEnd('/', '\\') + ".out").FullName;
var options = new SchedulerClientOptions { Address = rest.FirstOrDefault() ?? "127.0.0.1:7070" };

try
{
    await using var client = await SchedulerClient.ConnectAsync(options);
    var failures = 0;

    await foreach (var outcome in client.SubmitManyAsync(Files().ToAsyncEnumerable()))
    {
        var name = outcome.Submission.Name;

        switch (outcome)
        {
            case Outcome.Succeeded done:
                using (done.Result)
                {
                    await using var source = done.Result.OpenRead();
                    await using var file = File.Create(Path.Combine(target, name));
                    await source.CopyToAsync(file);
                }

                Console.WriteLine($"{name}: {done.Result.Length} bytes");
                break;
            case Outcome.Failed failed:
                failures++;
                Console.WriteLine($"{name}: {failed.Error}");
                break;
            case Outcome.Rejected rejected:
                failures++;
                Console.WriteLine($"{name}: {rejected.Message}");
                break;
            case Outcome.Cancelled:
                failures++;
                Console.WriteLine($"{name}: cancelled");
                break;
        }
    }

    return failures == 0 ? 0 : 1;
}
catch (SchedulerException error)
{
    Console.Error.WriteLine(error.Message);
    return 3;
}

IEnumerable<Submission> Files() =>
    Directory.EnumerateFiles(folder).Select(path => new Submission
    {
        Name = Path.GetFileName(path),
        Pipeline = pipeline,
        Payload = Payload.FromFile(path),
    });
