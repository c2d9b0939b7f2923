namespace FsScheduler.Core

open System

/// A rule for names that no user gives to an input. It sees one part of a path, never the content.
type IgnoredName =
    /// Exactly this name.
    | Named of string
    /// This name in any case: systems that ignore case write it in both.
    | NamedInAnyCase of string
    /// Longer names that begin with this text.
    | Beginning of string
    /// Longer names that end with this text.
    | Ending of string
    | EndingInAnyCase of string
    /// Names that begin and end with this character.
    | Between of char
    /// This text, then `length` random letters and digits as of `mkstemp`.
    | WithRandom of string * length: int
    /// This text in any case, then three digits.
    | WithNumber of string

/// One line of the list: the program that writes such files, and their names.
type IgnoredNames = { writer: string; names: IgnoredName list }

module IgnoredNames =

    /// The names that are ignored beside hidden ones. The table in docs/operations.md is this list.
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

    /// Whether letters and digits look random: a capital, or a digit before a letter. So do 99 of 100 suffixes of six
    /// that `mkstemp` makes, and hardly a name of a user: `sedimento`, `sedes2026` and `sed000001` are inputs.
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

    /// Whether a file or folder is hidden by its own name.
    let isHidden (name: ReadOnlySpan<char>) = name.Length > 0 && name[0] = '.'

    /// Whether a file, or a folder with all files in it, is ignored for its own name.
    let isIgnoredName (name: ReadOnlySpan<char>) =
        let mutable found = isHidden name
        let mutable index = 0

        while not found && index < names.Length do
            found <- isOne name names[index]
            index <- index + 1

        found
