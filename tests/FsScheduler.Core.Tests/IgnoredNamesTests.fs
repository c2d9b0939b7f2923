module FsScheduler.Core.Tests.IgnoredNamesTests

open System
open Expecto
open Expecto.Flip
open FsCheck
open FsCheck.FSharp
open FsScheduler.Core

let private ignored = [
    ".hidden"
    ".processados/a.txt"
    "d/.git/config"
    ".Trash-1000/files/a.txt"
    ".DS_Store"
    "._a.txt"
    ".a.txt.swp"
    ".~lock.a.odt#"
    ".a.txt.Ab12Cd"
    // not whole yet
    "a.tmp"
    "A.PART"
    "d/video.mkv.crDownload"
    "a.iso.filepart"
    "a.iso.!qB"
    "a.iso.aria2"
    "a.iso.!sync"
    "a.iso.fdmdownload"
    "a.txt.tmp.drivedownload"
    "a.csv.crswap"
    "a.partial"
    "lote.tmp/a.txt"
    "x/lote.TMP/y/a.txt"
    "a.download/Info.plist"
    "dados.csv._COPYING_"
    // editors
    "a.txt~"
    "a.txt.~1~"
    "#a.txt#"
    "~$a.docx"
    "d/~$a.docx"
    "a.txt___jb_tmp___"
    "sedAbC123"
    "d/sedXXXXXX"
    "sed1a2b3c"
    "tmp.k3JdU2mQzX"
    // systems
    "lost+found"
    "lost+found/#123"
    "$RECYCLE.BIN/S-1-5/a.txt"
    "$Recycle.Bin"
    "System Volume Information/WPSettings.dat"
    "d/@eaDir/a.txt@SynoEAStream"
    "#recycle/a.txt"
    "Thumbs.db"
    "d/thumbs.DB"
    "desktop.ini"
    "Icon\r"
    "FOUND.000/FILE0000.CHK"
    "Recycled/a.txt"
    "DfsrPrivate/a.txt"
    "TheVolumeSettingsFolder/a"
]

let private taken = [
    "a.txt"
    "a.tmp.txt"
    "tmp/a"
    "part"
    "tmp"
    "a."
    "a..b"
    "README"
    "a~b.txt"
    "~a.txt"
    "~"
    "~/a.txt"
    "#"
    "##"
    "#a.txt"
    "a#"
    "sedimento.txt"
    "sedimento"
    "sedes2026"
    "sed000001"
    "sedAbC123.txt"
    "sedAbC12"
    "tmp.2026093017"
    "tmp.relatorios"
    "tmp.k3JdU2mQz"
    "Lost+Found"
    "lost+found.txt"
    "my lost+found"
    "Thumbs.db.txt"
    "thumbs"
    "found.txt"
    "found.0001"
    "desktop.init"
    "@eadir"
    "a@eaDir"
    "aria2"
    "a.parts"
    "$a.docx"
    "a$RECYCLE.BIN"
    "RECYCLE.BIN"
]

let private examples = [
    test "what systems, editors and programs put down is left alone, and what is in such folders" {
        Expect.equal "all" ignored (List.filter IgnoreRules.BuiltIn.IsIgnored ignored)
    }

    test "names that only look like it are inputs" {
        Expect.isEmpty "none" (List.filter IgnoreRules.BuiltIn.IsIgnored taken)
    }
]

let private parts =
    [
        for path in ignored @ taken do
            yield! path.Split '/'
    ]
    |> List.distinct
    |> Gen.elements

let private paths = Gen.nonEmptyListOf parts |> Gen.resize 5

let private property label check =
    testPropertyWithConfig
        { FsCheckConfig.defaultConfig with maxTest = 300 }
        label
        (Prop.forAll (Arb.fromGen paths) check)

let private properties = [
    property "a path is left alone when one of its parts is, wherever that stands" (fun parts ->
        IgnoreRules.BuiltIn.IsIgnored(String.Join('/', parts)) =
            List.exists IgnoreRules.BuiltIn.IsIgnored parts)

    property "what is in a folder that is left alone is left alone" (fun parts ->
        let path = String.Join('/', parts)

        not (IgnoreRules.BuiltIn.IsIgnored path)
        || IgnoreRules.BuiltIn.IsIgnored(path + "/a.txt"))
]

let private pattern text =
    match IgnoreRules.parse text with
    | Ok pattern -> pattern
    | Error reason -> failwith reason

let private own = [
    test
        "--ignore names files, or folders with all that is in them, beside what is always left alone" {
        let rules =
            IgnoreRules [ for text in [ "*.bak"; "old/"; "a/b"; "cartas/**/x?" ] -> pattern text ]

        let ignored = [
            "x.bak"
            "d/x.bak"
            "x.bak/y"
            "old/a.txt"
            "d/old/e/a.txt"
            "a/b"
            "a/b/c"
            "cartas/2024/x1"
            "lost+found"
            "y.tmp/z"
        ]

        let taken = [ "bak"; "x.bak.txt"; "older/a"; "c/a/b"; "a/bc"; "cartas/x"; "a" ]
        Expect.equal "ignored" ignored (List.filter rules.IsIgnored (ignored @ taken))
    }

    test "the reason names the pattern" {
        let rules = IgnoreRules [ pattern "old" ]
        Expect.equal "of a folder above" "--ignore 'old'" (string (rules.Why "d/old/a.txt").Value)
        Expect.equal "by its name" ValueNone (rules.WhyIn "d/old/a.txt")
    }

    test "a pipeline.txt is left alone only with its folder" {
        let rules = IgnoreRules [ pattern "*.txt"; pattern "old" ]

        Expect.equal "the files around it are" [ true; false; true; true ] [
            for path in [ "d/a.txt"; "d/pipeline.txt"; "old/pipeline.txt"; "pipeline.txt" ] ->
                rules.IsIgnored path
        ]
    }

    test "a pattern that says nothing is refused" {
        Expect.isTrue "empty" (IgnoreRules.parse "").IsError
        Expect.isTrue "absolute" (IgnoreRules.parse "/a/b").IsError
    }
]

[<Tests>]
let tests = testList "IgnoredNamesTests" (examples @ properties @ own)
