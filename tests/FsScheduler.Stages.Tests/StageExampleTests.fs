module FsScheduler.Stages.Tests.StageExampleTests

open System
open Expecto
open FsScheduler.Core
open FsScheduler.Stages
open FsScheduler.TestKit
open FsScheduler.Stages.Tests.StageReference

/// For each stage: a payload, and what it becomes.
let private examples = [
    "lower", "O Sistema DISTRIBUÍDO É poderoso.\n", "o sistema distribuído é poderoso.\n"
    "lower", "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß", "àáâãäåæçèéêëìíîïðñòóôõö×øùúûüýþß"
    "lower", "İstanbul Ⱥ K Å ẞ Ǆ ǅ 𐐀", "i\u0307stanbul ⱥ k å ß ǆ ǆ 𐐨"
    "lower", "ΟΔΥΣΣΕΥΣ", "οδυσσευς"
    "lower", "ΑΣ. ΑΣ.Α Σ ΣΑ Α\u0301Σ\u0301", "ας. ασ.α σ σα α\u0301ς\u0301"
    "lower", "𝐀Σ ⅠΣ ªΣ ʰΣ 1Σ", "𝐀ς ⅰς ªς ʰσ 1σ"
    "upper",
    "o scheduler deve balancear a carga entre nós",
    "O SCHEDULER DEVE BALANCEAR A CARGA ENTRE NÓS"
    "upper", "àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ", "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ÷ØÙÚÛÜÝÞŸ"
    "upper", "straße ﬁm µ ŉ ı ſ ǆ ǅ ΐ ᾷ ς ⓐ", "STRASSE FIM Μ ʼN I S Ǆ Ǆ Ι\u0308\u0301 Α\u0342Ι Σ Ⓐ"
    "trim", "  a b \t\r\n\u00A0\u3000c\u2003\n\n \t \n x ", "a b\r\nc\n\n\nx"
    "trim", " \r\n\r\r\na\r", "\r\n\r\na"
    "squeeze", "  a \t\u00A0 b\u3000\nc\t \r\n\u2028 d", " a b \nc \r\n\u2028 d"
    "strip-accents", "São João, coração: É Ñandú Å ǖ ø ł ß", "Sao Joao, coracao: E Nandu A u ø ł ß"
    "strip-accents", "한국 e\u0301\u0323 Ё が ầ", "한국 e Е が a"
    "strip-accents", "ハンター ga\u0308 \u1112\u1161\u11AB か\u3099", "ハンター ga 한 が"
    "strip-accents", "हिन्दी ภาษาไทย ที่นี่ שָׁלוֹם שׁ ﷺ الشَّمْس", "हिन्दी ภาษาไทย ที่นี่ שָׁלוֹם שׁ ﷺ الشَّمْس"
    "strip-accents",
    "❤\uFE0F 👩\u200D👩 1\uFE0F\u20E3 ◌\u0301 ≠",
    "❤\uFE0F 👩\u200D👩 1\uFE0F\u20E3 ◌\u0301 ≠"
    "strip-accents", "Việt Nam: Đường, ế, ộ, ự", "Viet Nam: Đuong, e, o, u"
    "strip-accents", "Ελλάδα ᾳ ΐ Ὀδυσσεύς ῷ", "Ελλαδα α ι Οδυσσευς ω"
    "strip-accents",
    "за\u0301мок мой моя ёлка їжак ўсё ѓ ќ ѝ ӣ",
    "замок мой моя елка їжак ўсе ѓ ќ и ӣ"
    "strip-accents", "и\u0306 е\u0308 і\u0308 г\u0301", "й е ї ѓ"
    "strip-accents", "ﬁ æ ŋ ŉ ı", "ﬁ æ ŋ ŉ ı"
    "strip-accents", "a\uFE0F\u0301 a\u05B0\u0301 \u0301b", "a\uFE0F a\u05B0 \u0301b"
    "strip-accents", "か\u0301 ب\u0301", "か\u0301 ب\u0301"
    "strip-accents", "a\u034F\u0301", "a\u034F"
    "lower", "\uFEFFÀ\uFEFF", "\uFEFFà\uFEFF"
    "upper", "\uFEFF", "\uFEFF"
    "trim", "\uFEFF a \n b", "\uFEFFa\nb"
    "squeeze", "\uFEFF  a", "\uFEFF a"
    "grep:x", "\uFEFFa\nx\n", "\uFEFFx\n"
    "head:0", "\uFEFFa\n", "\uFEFF"
    "replace:\uFEFF/x", "\uFEFFa\uFEFF", "\uFEFFax"
    "sort", "\uFEFFb\na\n", "\uFEFFa\nb\n"
    "sort", "b\n\uFEFFa\n", "b\n\uFEFFa\n"
    "sort:desc", "b\n\uFEFFa\n", "\uFEFFa\nb\n"
    "sort:numeric", "\uFEFF10\n9\n", "\uFEFF9\n10\n"
    "sort:unique", "\uFEFFa\na\n", "\uFEFFa\n"
    "uniq", "\uFEFFa\na\n", "\uFEFFa\n"
    "top:1", "\uFEFF10\n9\n", "10\n"
    "freq", "\uFEFFa a", "2\ta\n"
    "words", "\uFEFF", "0\n"
    "words", "\uFEFF\u00A0a", "1\n"
    "lines", "\uFEFF", "0\n"
    "lines", "\uFEFF\n\uFEFF", "2\n"
    "bytes", "\uFEFFa", "4\n"
    "nfc", "e\u0301 한 a\u0323\u0307 \u212B ﬁ", "é 한 ạ\u0307 Å ﬁ"
    "grep:erro", "um\nerro 1\r\nErro\nsem erro", "erro 1\r\nsem erro"
    "grep:x", "a\nb\n", ""
    "replace:a/bb", "banana", "bbbnbbnbb"
    "replace:aa/b", "aaaaa", "bba"
    @"replace:\//\\", "a/b", @"a\b"
    "replace:ção/cao", "coração", "coracao"
    "head:2", "a\r\nb\nc\n", "a\r\nb\n"
    "head:5", "a\nb", "a\nb"
    "head:0", "a\n", ""
    "sort", "b\na\nB\né\nz\nb\n", "B\na\nb\nb\nz\né\n"
    "sort", "b\r\nb\na", "a\nb\nb\r\n"
    "sort", "a\u0000\na\n\n", "\na\na\u0000\n"
    "sort", "\uFFFD\n😀\n\uE000", "\uE000\n\uFFFD\n😀\n"
    "sort", "", ""
    "sort:desc", "a\nc\nb", "c\nb\na\n"
    "sort:unique", "b\na\nb\na\r\n", "a\na\r\nb\n"
    "sort:numeric", "10 b\n9\n-1\nx\n\n10 a\n+9.5\n0.1", "-1\n\nx\n0.1\n9\n+9.5\n10 a\n10 b\n"
    "sort:numeric", "1e3\n.5\n0.50\n007\n\u00A06\n- 5", "- 5\n.5\n0.50\n1e3\n\u00A06\n007\n"
    "sort:numeric",
    "9007199254740993\n9007199254740992\n0.30000000000000000001\n0.3",
    "0.3\n0.30000000000000000001\n9007199254740992\n9007199254740993\n"
    "sort:numeric,desc,unique", "1\n2\n1\n1.0\n", "2\n1.0\n1\n"
    "uniq", "a\na\nb\na\na\r\na", "a\nb\na\na\r\na\n"
    "uniq", "\n\na\n\n", "\na\n\n"
    "freq", " um dois,\num\u3000três\r\num", "1\tdois,\n1\ttrês\n3\tum\n"
    "freq", " \n", ""
    "top:2", "1 a\n3 c\n2 b\n3 d\n", "3 c\n3 d\n"
    "top:2", "1 a", "1 a\n"
    "top:0", "1 a\n", ""
    "lines", "a\nc\n", "2\n"
    "lines", "d\r\n\ne", "3\n"
    "lines", "", "0\n"
    "words", " um\u00A0dois,três\n\u3000quatro ", "3\n"
    "words", "", "0\n"
    "bytes", "nós", "4\n"
]

/// Payloads that are not UTF-8, each with the offset of what is wrong.
let private invalid: (byte list * int) list = [
    [ 0xFFuy ], 0
    [ 'a'B; 0xC3uy; '('B ], 1
    [ 'a'B; 'b'B; 0x80uy ], 2
    [ 0xC3uy; 0xA9uy; 0xC0uy; 0x80uy ], 2
    [ 0xE2uy; 0x82uy ], 0
    [ 'a'B; 0xE2uy; 0x82uy; 'b'B ], 1
    [ 0xEDuy; 0xA0uy; 0x80uy ], 0
    [ 0xF0uy; 0x9Fuy; 0x98uy ], 0
    [ 0xF4uy; 0x90uy; 0x80uy; 0x80uy ], 0
    [ 'a'B; '\n'B; 0xF5uy ], 2
]

/// The message of what a stage throws.
let private failure wire (payload: byte[]) =
    try
        runPieces wire [] payload |> ignore
        None
    with :? StageException as error ->
        Some(error.Message, error.Retry)

[<Tests>]
let tests =
    testList "examples" [
        testList "results" [
            for wire, before, after in examples do
                test $"{wire} of {before.ReplaceLineEndings(String.Empty)}" {
                    Expect.equal (runText wire before) after ""
                }
        ]

        test "every stage of the catalogue can be started, and nothing else" {
            for stage in Stage.builtIn do
                let argument =
                    match stage.argument with
                    | NoArgument -> ""
                    | SearchText -> "a"
                    | LineCount -> "3"
                    | OldAndNew -> "a/b"
                    | SortWords -> "desc,numeric"
                    | ByteOrderWord -> "le"

                match Stage.create stage.name argument with
                | Ok stage -> Expect.isTrue (BuiltIn.tryStart stage).IsSome stage.name
                | Error message -> failtest message

            let ocr = { name = "ocr"; argument = ""; kind = WholeFile; demand = "ocr" }
            Expect.isTrue (BuiltIn.tryStart ocr).IsNone ""
        }

        test "what is not UTF-8 is named by its offset" {
            for payload, at in invalid do
                for wire, _ in textStages do
                    Expect.equal
                        (failure wire (Array.ofList payload))
                        (Some($"invalid UTF-8 at byte {at}", false))
                        $"{wire} {payload}"
        }

        test "bytes and latin1 take any bytes" {
            let all = Array.init 256 byte
            Expect.equal (runPieces "bytes" [ 7 ] all) (utf8 "256\n") ""
            let text = Text.Encoding.Latin1.GetString all
            Expect.equal (runPieces "latin1" [ 7; 130 ] all) (utf8 text) ""
        }

        test "what would take more memory than it may is refused" {
            let megabytes count (text: string) =
                utf8 (String.replicate (count * 1_048_576 / text.Length) text)

            let refused wire payload message =
                Expect.equal (failure wire payload) (Some(message, false)) wire

            refused
                "nfc"
                (megabytes 4 "\u0301")
                "nfc: a run of characters that may compose is over 1 MiB"

            refused
                "lower"
                (Array.append (utf8 "ΑΣ") (megabytes 2 "."))
                "lower: punctuation after a sigma is over 1 MiB"

            refused
                "trim"
                (Array.append (utf8 "a") (megabytes 2 " "))
                "trim: blanks inside a line are over 1 MiB"

            refused "grep:x" (megabytes 65 "a") "grep: a line that does not match is over 64 MiB"

            for wire in [ "sort"; "uniq"; "top:1" ] do
                let name = wire.Split(':')[0]
                refused wire (megabytes 65 "a") $"{name}: a line is over 64 MiB"

            refused "freq" (megabytes 65 "a") "freq: a word is over 64 MiB"
        }

        test "long lines are no trouble where nothing has to wait for their end" {
            let long = utf8 (String.replicate 3_000_000 "á ")

            for wire in [ "lower"; "trim"; "squeeze"; "strip-accents"; "nfc"; "grep:á"; "words" ] do
                Expect.isNonEmpty (runPieces wire [ 1; 1_000_000 ] long) wire

            let blanks = utf8 (String.replicate 2_000_000 " " + "a")
            Expect.equal (runPieces "trim" [ 3 ] blanks) (utf8 "a") "leading blanks are not kept"
        }
    ]
