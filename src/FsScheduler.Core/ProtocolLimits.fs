/// The bounds of protocol version 1. Together they make every message fit into one line, however much of the text JSON
/// has to escape: the longest escape, `\u0000`, takes six bytes for one.
module FsScheduler.Core.ProtocolLimits

open System
open System.Text

/// The longest line, in bytes, with its newline.
let lineBytesMax = 65_536

/// The `protocol` of HELLO and WELCOME.
let protocolVersion = 1

/// The largest integer that every JSON reader holds exactly: 2^53 - 1.
let integerMax = 9_007_199_254_740_991L

/// The most tasks that a worker may hold at once.
let slotsMax = 65_536

/// Priorities are from -priorityMax to priorityMax.
let priorityMax = 1_000_000

/// The longest `name` of a HELLO, in bytes of UTF-8.
let peerNameBytesMax = 200

/// The longest `token`, in bytes of UTF-8.
let tokenBytesMax = 1_000

/// The longest `ref`, in bytes of UTF-8.
let refBytesMax = 200

/// The longest `key`, in bytes of UTF-8.
let keyBytesMax = 200

/// The longest `session` of a WELCOME, in bytes of UTF-8.
let sessionBytesMax = 200

/// The longest pipeline, in bytes of UTF-8: all stages of a task must fit into the `stages` of a PROCESS.
let pipelineBytesMax = 8_000

/// The longest error text or message, in UTF-16 code units; longer ones are cut.
let textCharsMax = 4_096

/// The most stages that a worker may name in its HELLO.
let stagesMax = 1_000

/// The most attempts that a HELLO or a WELCOME lists.
let holdingMax = 150

/// The most events that one EVENTS asks for.
let eventsMax = 10_000

/// The most tasks that one LIST asks for.
let listedMax = 10_000

/// The longest name of a stage, in bytes.
let stageNameBytesMax = 50

/// The longest path of a PROCESS, in bytes of UTF-8.
let sharedPathBytesMax = 400

/// The longest program of an `exec` stage, in bytes of UTF-8.
let programBytesMax = 200

/// The most bytes that the `stages` of a HELLO may take in a line, however much of them JSON has to escape.
let offersBytesMax = stagesMax * (stageNameBytesMax + 3)

/// The most workers and stages that a STATUS calls held back.
let heldBackMax = 10

/// The most stages that a STATUS calls missing.
let missingMax = 10

/// The most workers that a STATUS lists.
let workersMax = 200

/// Whether a text is a stage name: ASCII letters, digits, `-`, `_` and `.`, the first a letter or a digit.
let isStageName (text: string) =
    let isRest letter =
        Char.IsAsciiLetterOrDigit letter || letter = '-' || letter = '_' || letter = '.'

    text.Length >= 1
    && text.Length <= stageNameBytesMax
    && Char.IsAsciiLetterOrDigit text[0]
    && Seq.forall isRest text

/// Stages that run a program. A worker offers them with the program, as `exec:PROGRAM`.
let execNames = [ "exec"; "exec-file"; "exec-lines" ]

/// Whether a text may be offered as a program: bounded, and safe to show in a comma-separated list and in a log.
let isProgram (text: string) =
    text <> ""
    && Encoding.UTF8.GetByteCount text <= programBytesMax
    && text |> Seq.forall (fun letter -> not (Char.IsControl letter) && letter <> ',')

/// Whether a text is an offer: the name of a stage, or `exec:PROGRAM` for a stage that runs programs.
let isOffer (text: string) =
    match text.IndexOf ':' with
    | -1 -> isStageName text && not (List.contains text execNames)
    | colon -> List.contains text[.. colon - 1] execNames && isProgram text[colon + 1 ..]

/// The most bytes that an offer takes in a line, with its quotes and comma.
let private offerBytesMax (offer: string) =
    3
    + match offer.IndexOf ':' with
      | -1 -> offer.Length
      | _ -> 6 * Encoding.UTF8.GetByteCount offer

/// Whether one HELLO can name all of these offers.
let areOffers (offers: string seq) =
    Seq.length offers <= stagesMax
    && Seq.forall isOffer offers
    && Seq.sumBy offerBytesMax offers <= offersBytesMax

/// The text, or its first characters if it is longer than `charsMax`. A surrogate pair stays whole.
let cut (charsMax: int) (text: string) =
    if text.Length <= charsMax then
        text
    else
        let length =
            if Char.IsHighSurrogate text[charsMax - 1] then
                charsMax - 1
            else
                charsMax

        text.Substring(0, length)
