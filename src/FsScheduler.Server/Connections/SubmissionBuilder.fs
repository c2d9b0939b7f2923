namespace FsScheduler.Server

open System
open System.IO
open System.Security.Cryptography
open System.Text
open System.Threading.Tasks
open FsScheduler.Core
open FsScheduler.Machine

/// Makes the submissions of a client.
/// <param name="session">The session of the client.</param>
[<Sealed>]
type internal SubmissionBuilder(session: SessionId) =
    let originOf want key = Origin.Client(session, want, key)

    let result, file, nothing =
        originOf Result None, originOf File None, originOf Nothing None

    /// A hash that tells different submissions under one key apart.
    let contentOf (submit: Submit) (payload: Content) =
        task {
            use hash = IncrementalHash.CreateHash HashAlgorithmName.SHA256
            hash.AppendData(Encoding.UTF8.GetBytes $"{submit.name}\n{submit.pipeline}\n")

            match payload with
            | Bytes bytes -> hash.AppendData bytes
            | Spooled(path, _) ->
                use file = File.OpenRead path
                let buffer: byte[] = Array.zeroCreate (64 * 1024)
                let mutable count = 1

                while count > 0 do
                    let! read = file.ReadAsync(buffer, 0, buffer.Length)
                    count <- read
                    hash.AppendData(buffer, 0, read)

            return Convert.ToHexString(hash.GetHashAndReset())
        }

    let origin (submit: Submit) payload =
        match submit.key, submit.want with
        | None, Result -> Task.FromResult result
        | None, File -> Task.FromResult file
        | None, Nothing -> Task.FromResult nothing
        | Some key, want ->
            task {
                let! content = contentOf submit payload
                return originOf want (Some { text = key; content = content })
            }

    /// <returns>The submission, or why its name is refused.</returns>
    member _.ReadAsync(submit: Submit, payload: Content) : Task<Result<Submission, string>> =
        task {
            match TaskName.parse submit.name with
            | Error reason -> return Error reason
            | Ok name ->
                let! origin = origin submit payload
                return Ok(Submission.Create(name, submit.ref, submit.priority, origin, payload))
        }
