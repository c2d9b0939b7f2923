namespace FsScheduler.Core

open System

/// Names of text encodings that users write in place of the stage that reads the encoding.
module EncodingName =

    /// What a name of an encoding stands for in a pipeline.
    [<RequireQualifiedAccess>]
    type Meaning =
        | Stage of name: string * argument: string
        /// Text in a pipeline is UTF-8 already.
        | Utf8
        /// An encoding that no stage reads.
        | Unread

    let private latin1 =
        set [
            "latin1"
            "isolatin1"
            "iso88591"
            "88591"
            "l1"
            "cp819"
            "ibm819"
            "iso885911987"
        ]

    let private cp1252 =
        set [ "cp1252"; "windows1252"; "win1252"; "xcp1252"; "ansi"; "msansi"; "1252" ]

    let private utf8 =
        set [ "utf8"; "utf8sig"; "utf8bom"; "utf8mac"; "ascii"; "usascii"; "ansix3.41968" ]

    let private utf16 =
        Map [
            "utf16", ""
            "unicode", ""
            "utf16le", "le"
            "utf16be", "be"
            "ucs2", ""
            "ucs2le", "le"
            "ucs2be", "be"
        ]

    let private unreadHeads = [
        "iso8859"
        "windows125"
        "windows874"
        "win125"
        "cp125"
        "cp437"
        "cp85"
        "cp86"
        "cp87"
        "cp93"
        "cp94"
        "ibm"
        "koi8"
        "utf32"
        "ucs4"
        "utf7"
        "shiftjis"
        "sjis"
        "euc"
        "iso2022"
        "gb2312"
        "gbk"
        "gb18030"
        "big5"
        "mac"
        "latin"
        "isolatin"
        "tis620"
        "ebcdic"
    ]

    let private unreadNames =
        set [
            "sjis"
            "shiftjis"
            "gbk"
            "macroman"
            "xmacroman"
            "macintosh"
            "ebcdic"
            "viscii"
            "johab"
            "uhc"
        ]

    /// Names such as cp737, ms932 and windows-31j: a prefix and a number of at least two digits.
    let private isCodePage (plain: string) =
        [ "cp"; "ms"; "windows" ]
        |> List.exists (fun head ->
            let number = plain.AsSpan(min head.Length plain.Length)

            plain.StartsWith(head, StringComparison.Ordinal)
            && number.Length >= 3
            && Char.IsAsciiDigit number[0]
            && Char.IsAsciiDigit number[1])

    /// <summary>Recognizes the name of an encoding, whatever its case, hyphens and underscores.</summary>
    /// <param name="name">A name that is no known stage.</param>
    let tryFind (name: string) : Meaning voption =
        let plain = name.ToLowerInvariant().Replace("-", "").Replace("_", "")

        match Map.tryFind plain utf16 with
        | Some argument -> ValueSome(Meaning.Stage("utf-16", argument))
        | None when latin1.Contains plain -> ValueSome(Meaning.Stage("latin1", ""))
        | None when cp1252.Contains plain -> ValueSome(Meaning.Stage("cp1252", ""))
        | None when utf8.Contains plain -> ValueSome Meaning.Utf8
        | None when
            unreadNames.Contains plain
            || isCodePage plain
            || unreadHeads
               |> List.exists (fun head -> plain.StartsWith(head, StringComparison.Ordinal))
               && (Seq.exists Char.IsAsciiDigit plain
                   || plain.StartsWith("euc", StringComparison.Ordinal))
            ->
            ValueSome Meaning.Unread
        | None -> ValueNone
