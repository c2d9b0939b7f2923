module FsScheduler.Folders.Tests.FolderPlacesTests

open System
open System.IO
open Expecto
open FsScheduler.Core
open FsScheduler.Platform
open FsScheduler.Folders

let private line (point: string) kind =
    $"36 35 8:1 / {point} rw,relatime shared:1 - {kind} /dev/sda1 rw"

let private isWithin (mounts: string list) (outer: string) (inner: string) =
    let find = FolderPlaces.findAmong (String.concat "\n" mounts)
    FolderOverlap.isWithin (find outer) (find inner)

[<Tests>]
let tests =
    testList "places of folders" [
        test
            "FAT, exFAT and NTFS by FUSE tell names in another case not apart, and have no inodes to know them by" {
            if not (OperatingSystem.IsLinux()) then
                skiptest "elsewhere no case is told apart"

            let stick = Path.Combine(Path.GetTempPath(), "stick")
            let input = Path.Combine(stick, "entrada")
            let results = Path.Combine(stick, "ENTRADA/out")

            Expect.isTrue (isWithin [ line "/" "ext4"; line stick "fuseblk" ] input results) "FUSE"

            Expect.isFalse (isWithin [ line "/" "ext4"; line stick "ext4" ] input results) "ext4"
            Expect.isFalse (isWithin [ line "/" "ext4" ] input results) "no mount of its own"

            let other = Path.Combine(stick, "saida")
            Expect.isFalse (isWithin [ line stick "fuseblk" ] input other) "another folder"
        }

        test "the last mount at a place lies on top" {
            if not (OperatingSystem.IsLinux()) then
                skiptest "mounts are told by Linux"

            let stick = Path.Combine(Path.GetTempPath(), "stick")
            let input = Path.Combine(stick, "entrada")
            let results = Path.Combine(stick, "ENTRADA/out")
            let lines = [ line "/" "ext4"; line stick "fuseblk"; line stick "ext4" ]
            Expect.isFalse (isWithin lines input results) "ext4 over FUSE"
            Expect.isTrue (isWithin (List.rev lines) input results) "FUSE over ext4"
        }
    ]
