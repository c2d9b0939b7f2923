using System.Reflection;
using System.Xml.Linq;
using Expecto;
using Expecto.CSharp;
using FsScheduler.TestKit;

namespace FsScheduler.Sdk.Tests;

/// <summary>What the assembly shows.</summary>
internal static class ApiTests
{
    private static readonly Assembly Sdk = typeof(SchedulerClient).Assembly;

    public static Test Tests { get; } = Runner.TestList("the public surface",
    [
        Runner.TestCase("is the one that was written down", AsWrittenDown),
        Runner.TestCase("has no type of F#, nor of the runtime", NoForeignType),
        Runner.TestCase("is documented", Documented),
    ]);

    private static void AsWrittenDown()
    {
        var path = Path.Combine(Repository.root, "tests", "FsScheduler.Sdk.Tests", "PublicApi.txt");
        var written = File.Exists(path) ? File.ReadAllText(path).ReplaceLineEndings("\n") : "";
        var actual = PublicApi.Describe(Sdk);

        if (written != actual)
        {
            var copy = Path.Combine(AppContext.BaseDirectory, "PublicApi.txt");
            File.WriteAllText(copy, actual);
            var gone = written.Split('\n').Except(actual.Split('\n')).Select(line => $"- {line.Trim()}");
            var come = actual.Split('\n').Except(written.Split('\n')).Select(line => $"+ {line.Trim()}");
            throw new AssertException(
                $"the public API is another one; if that is meant, say so in CHANGELOG.md and copy\n  {copy}\nover\n  {path}\n"
                + string.Join('\n', gone.Concat(come)));
        }
    }

    private static void NoForeignType()
    {
        var foreign = PublicApi.TypesShown(Sdk)
            .Where(type => type.Assembly != Sdk
                && (type.Namespace?.StartsWith("FsScheduler", StringComparison.Ordinal) == true
                    || type.Namespace?.StartsWith("Microsoft.FSharp", StringComparison.Ordinal) == true))
            .Select(type => type.FullName);
        Check.Equal("", string.Join(", ", foreign), "types that C# should not see");
    }

    private static void Documented()
    {
        var path = Path.ChangeExtension(Sdk.Location, ".xml");
        var documented = XDocument.Load(path).Descendants("member").Select(member => member.Attribute("name")!.Value).ToHashSet();
        var missing = Sdk.GetExportedTypes().Select(type => $"T:{type.FullName!.Replace('+', '.')}").Where(id => !documented.Contains(id));
        Check.Equal("", string.Join(", ", missing), "types without documentation");
    }
}
