namespace FsScheduler.Platform

open System
open System.IO

/// Flushes to the disk, so that files survive a failure of the machine.
module Flush =

    /// <summary>Flushes one file.</summary>
    /// <exception cref="T:System.IO.IOException">The flush failed, or the file is gone.</exception>
    let file (path: string) : unit =
        use handle =
            File.OpenHandle(
                path,
                FileMode.Open,
                FileAccess.ReadWrite,
                FileShare.ReadWrite ||| FileShare.Delete
            )

        RandomAccess.FlushToDisk handle

    /// <summary>Flushes files of one file system, and their names: on Linux in one call for all, elsewhere one by one,
    /// where the names are left to the system.</summary>
    /// <param name="folder">A folder of that file system.</param>
    /// <param name="files">The files; missing ones are skipped.</param>
    /// <exception cref="T:System.IO.IOException">The flush failed.</exception>
    let all (folder: string) (files: string seq) : unit =
        if OperatingSystem.IsLinux() then
            match Linux.syncFileSystem folder with
            | Ok() -> ()
            | Error errno ->
                raise (IOException $"{folder} cannot be flushed: {Linux.message errno}")
        else
            for path in files do
                try
                    file path
                with
                | :? FileNotFoundException
                | :? DirectoryNotFoundException -> ()
