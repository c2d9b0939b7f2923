namespace FsScheduler.Core

open System

/// What names of files and folders nobody made as inputs look like. Judged by one part of a path, never by what is in it.
type IgnoredName =
    /// This name, with its case.
    | Named of string
    /// This name in either case of its letters: systems that tell no case apart write it in both.
    | NamedInAnyCase of string
    /// Names that begin so, and go on.
    | Beginning of string
    /// Names that end so, and begin with something else.
    | Ending of string
    | EndingInAnyCase of string
    /// Names that begin and end with this character.
    | Between of char
    /// This, and then so many letters and digits as of `mkstemp`.
    | WithRandom of string * length: int
    /// This, in either case, and then three digits.
    | WithNumber of string

/// One line of the list: who puts such files down, and what they are called.
type IgnoredNames = { writer: string; names: IgnoredName list }

module IgnoredNames =

    /// Beside what is hidden. The table in docs/operations.md is this list.
    let all: IgnoredNames list = [
        {
            writer = "not whole yet"
            names =
                [
                    ".tmp"
                    ".temp"
                    ".part"
                    ".partial"
                    ".filepart"
                    ".crdownload"
                    ".opdownload"
                    ".download"
                    ".incomplete"
                    ".inprogress"
                    ".!qB"
                    ".!ut"
                    ".!sync"
                    ".fdmdownload"
                    ".drivedownload"
                    ".driveupload"
                    ".bc!"
                    ".jc!"
                    ".xltd"
                    ".dctmp"
                    ".part.met"
                    ".aria2"
                    ".ytdl"
                    ".lftp-pget-status"
                    "._COPYING_"
                ]
                |> List.map EndingInAnyCase
        }
        {
            writer = "editors"
            names = [
                Ending "~"
                Between '#'
                Beginning "~$"
                EndingInAnyCase ".crswap"
                Ending ".swp"
                Ending ".swo"
                Ending "___jb_tmp___"
                Ending "___jb_old___"
                Beginning "(A Document Being Saved By "
            ]
        }
        { writer = "`sed -i`"; names = [ WithRandom("sed", 6) ] }
        { writer = "`mktemp`"; names = [ WithRandom("tmp.", 10) ] }
        {
            writer = "Linux"
            names = [ Named "lost+found"; Named "aquota.user"; Named "aquota.group" ]
        }
        {
            writer = "Windows"
            names = [
                NamedInAnyCase "$RECYCLE.BIN"
                NamedInAnyCase "RECYCLER"
                NamedInAnyCase "RECYCLED"
                NamedInAnyCase "DfsrPrivate"
                NamedInAnyCase "System Volume Information"
                NamedInAnyCase "Thumbs.db"
                NamedInAnyCase "Thumbs.db:encryptable"
                NamedInAnyCase "ehthumbs.db"
                NamedInAnyCase "ehthumbs_vista.db"
                NamedInAnyCase "desktop.ini"
                NamedInAnyCase "pagefile.sys"
                NamedInAnyCase "hiberfil.sys"
                NamedInAnyCase "swapfile.sys"
                WithNumber "found."
            ]
        }
        {
            writer = "macOS"
            names = [
                Named "Icon\r"
                Named "__MACOSX"
                Named "Network Trash Folder"
                Named "Temporary Items"
                Named "TheVolumeSettingsFolder"
            ]
        }
        { writer = "Android"; names = [ NamedInAnyCase "LOST.DIR" ] }
        {
            writer = "Synology, QNAP, NetApp"
            names = [
                Named "@eaDir"
                Named "@tmp"
                Named "@Recycle"
                Named "@Recently-Snapshot"
                Named "#recycle"
                Named "#snapshot"
                Named "~snapshot"
                Ending "@SynoEAStream"
                Ending "@SynoResource"
            ]
        }
    ]

    /// Letters and digits with a capital, or with a digit before a letter: what `mkstemp` makes, but for 1 in 100 of six,
    /// and hardly anybody writes. `sedimento`, `sedes2026` and `sed000001` are somebody's inputs.
    let private isRandom (length: int) (text: ReadOnlySpan<char>) =
        let mutable isPlain = text.Length = length
        let mutable isOdd = false
        let mutable wasDigit = false

        for character in text do
            isPlain <- isPlain && Char.IsAsciiLetterOrDigit character
            let isDigit = Char.IsAsciiDigit character
            isOdd <- isOdd || Char.IsAsciiLetterUpper character || wasDigit && not isDigit
            wasDigit <- isDigit

        isPlain && isOdd

    let private isOne (name: ReadOnlySpan<char>) (ignored: IgnoredName) =
        let length = name.Length

        match ignored with
        | Named text -> name.Equals(text.AsSpan(), StringComparison.Ordinal)
        | NamedInAnyCase text -> name.Equals(text.AsSpan(), StringComparison.OrdinalIgnoreCase)
        | Beginning text ->
            length > text.Length && name.StartsWith(text.AsSpan(), StringComparison.Ordinal)
        | Ending text ->
            length > text.Length && name.EndsWith(text.AsSpan(), StringComparison.Ordinal)
        | EndingInAnyCase text ->
            length > text.Length
            && name.EndsWith(text.AsSpan(), StringComparison.OrdinalIgnoreCase)
        | Between character ->
            name.Length > 2 && name[0] = character && name[name.Length - 1] = character
        | WithRandom(text, length) ->
            name.StartsWith(text.AsSpan(), StringComparison.Ordinal)
            && isRandom length (name.Slice text.Length)
        | WithNumber text ->
            name.StartsWith(text.AsSpan(), StringComparison.OrdinalIgnoreCase)
            && name.Length = text.Length + 3
            && name.Slice(text.Length).IndexOfAnyExceptInRange('0', '9') < 0

    let private names = all |> List.collect _.names |> Array.ofList

    /// Whether a folder, or a file, is hidden by its own name.
    let isHidden (name: ReadOnlySpan<char>) = name.Length > 0 && name[0] = '.'

    /// Whether a folder with all that is in it, or a file, is left alone for its own name.
    let isIgnoredName (name: ReadOnlySpan<char>) =
        let mutable found = isHidden name
        let mutable index = 0

        while not found && index < names.Length do
            found <- isOne name names[index]
            index <- index + 1

        found
