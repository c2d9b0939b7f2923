namespace FsScheduler.Protocol

open System
open System.Collections.Generic
open System.Text
open System.Text.Json
open FsScheduler.Core

/// <summary>Reads the fields of a message that need not be read fast. A wrong value is replaced by a harmless one, and
/// the first refusal is kept: the caller reads all fields without a branch for each, and checks <c>Problem</c> at the
/// end. </summary>
/// <param name="message">A JSON object. Of two fields with one name the last counts.</param>
[<Sealed>]
type internal MessageFields(message: JsonElement) =
    let mutable problem: string | null = null

    let tryGet (name: string) : JsonElement voption =
        match message.TryGetProperty name with
        | true, value -> ValueSome value
        | _ -> ValueNone

    let refuse (name: string) (should: string) =
        if isNull problem then
            problem <-
                if (tryGet name).IsSome then
                    $"'{name}' must be {should}"
                else
                    $"'{name}' is missing; it must be {should}"

    let tryText name : string voption =
        match tryGet name with
        | ValueSome value when value.ValueKind = JsonValueKind.String ->
            ValueSome(nonNull (value.GetString()))
        | _ -> ValueNone

    let tryItems name : JsonElement[] voption =
        match tryGet name with
        | ValueSome value when value.ValueKind = JsonValueKind.Array ->
            ValueSome(Seq.toArray (value.EnumerateArray()))
        | _ -> ValueNone

    let isText (value: JsonElement) = value.ValueKind = JsonValueKind.String

    /// The first refusal; null: no field was refused.
    member _.Problem = problem

    /// <summary>Refuses the message, unless it is refused already.</summary>
    /// <param name="name">The field.</param>
    /// <param name="should">The values that it may have: `an integer from 1 to 3`.</param>
    member _.Refuse(name: string, should: string) = refuse name should

    /// Whether the message has the field.
    member _.Has(name: string) : bool = (tryGet name).IsSome

    /// An integer from `least` to `most`, without fraction or exponent.
    member _.Integer(name: string, least: int64, most: int64) : int64 =
        let mutable number = 0L

        match tryGet name with
        | ValueSome value when
            value.ValueKind = JsonValueKind.Number
            && value.TryGetInt64 &number
            && number >= least
            && number <= most
            ->
            number
        | _ ->
            refuse name $"an integer from {least} to {most}"
            least

    /// True or false.
    member _.Bool(name: string) : bool =
        match tryGet name with
        | ValueSome value when value.ValueKind = JsonValueKind.True -> true
        | ValueSome value when value.ValueKind = JsonValueKind.False -> false
        | _ ->
            refuse name "true or false"
            false

    /// A string of at most `bytesMax` bytes of UTF-8.
    member _.Text(name: string, bytesMax: int) : string =
        match tryText name with
        | ValueSome text when Encoding.UTF8.GetByteCount text <= bytesMax -> text
        | _ ->
            refuse name $"a string of at most {bytesMax} bytes"
            ""

    /// A string, cut to the longest text of this protocol.
    member _.CutText(name: string) : string =
        match tryText name with
        | ValueSome text -> ProtocolLimits.cut ProtocolLimits.textCharsMax text
        | ValueNone ->
            refuse name "a string"
            ""

    /// An array of strings.
    member _.Texts(name: string) : string[] =
        match tryItems name with
        | ValueSome items when Array.forall isText items ->
            items |> Array.map (fun item -> nonNull (item.GetString()))
        | _ ->
            refuse name "an array of strings"
            [||]

    /// Attempts, each an array of a task and the attempt's number; at most `ProtocolLimits.holdingMax`.
    member _.Attempts(name: string) : Attempt[] =
        let mutable task = 0L
        let mutable number = 0

        let tryAttempt (item: JsonElement) =
            if
                item.ValueKind = JsonValueKind.Array
                && item.GetArrayLength() = 2
                && item[0].ValueKind = JsonValueKind.Number
                && item[0].TryGetInt64 &task
                && item[1].ValueKind = JsonValueKind.Number
                && item[1].TryGetInt32 &number
                && task >= 1L
                && task <= ProtocolLimits.integerMax
                && number >= 1
            then
                Some { task = task * 1L<taskId>; number = number }
            else
                None

        let attempts =
            match tryItems name with
            | ValueSome items when items.Length <= ProtocolLimits.holdingMax ->
                items |> Array.map tryAttempt
            | _ -> [| None |]

        if Array.forall Option.isSome attempts then
            Array.choose id attempts
        else
            refuse
                name
                $"an array of at most {ProtocolLimits.holdingMax} pairs of a task and an attempt, such as [[17,2]]"

            [||]

    /// <summary>An array of objects.</summary>
    /// <param name="name">The field.</param>
    /// <param name="most">The most objects.</param>
    /// <param name="read">Reads an object.</param>
    /// <param name="what">The name of the objects in a refusal: `reports of workers`.</param>
    member _.Objects
        (name: string, most: int, read: MessageFields -> 'value, what: string)
        : 'value[] =
        let values = List<'value>()

        let isGood (item: JsonElement) =
            item.ValueKind = JsonValueKind.Object
            && (let fields = MessageFields item
                values.Add(read fields)
                isNull fields.Problem)

        match tryItems name with
        | ValueSome items when items.Length <= most && Array.forall isGood items -> values.ToArray()
        | _ ->
            refuse name $"an array of at most {most} {what}"
            values.ToArray()

    /// The meaning of the word in a field; any other value is refused.
    member _.Choice(name: string, words: JsonName<'meaning>[]) : 'meaning =
        let text = tryText name

        match words |> Array.tryFind (fun word -> ValueSome word.Text = text) with
        | Some word -> word.Meaning
        | None ->
            let known = words |> Array.map (fun word -> $"'{word.Text}'")
            refuse name ("one of " + String.Join(", ", known))
            words[0].Meaning
