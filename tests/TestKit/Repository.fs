/// The clone that the tests belong to.
module FsScheduler.TestKit.Repository

open System
open System.IO

/// The folder with the solution, above wherever this program was built.
let root =
    let rec find folder =
        if File.Exists(Path.Combine(folder, "FsScheduler.sln")) then
            folder
        else
            match Path.GetDirectoryName folder with
            | null -> failwith $"no FsScheduler.sln above {AppContext.BaseDirectory}"
            | parent -> find parent

    find AppContext.BaseDirectory
