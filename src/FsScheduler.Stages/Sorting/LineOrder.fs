namespace FsScheduler.Stages

open System
open System.Buffers.Binary
open FsScheduler.Core

/// Where the decimal number at the beginning of a line is, as offsets into the line.
[<Struct>]
type internal LeadingNumber = {
    isNegative: bool
    /// Of the digits before the point, without zeros in front.
    whole: int
    wholeLength: int
    /// Of the digits after the point, without zeros at the end.
    fraction: int
    fractionLength: int
} with

    member number.Length = number.wholeLength + number.fractionLength

module internal LeadingNumber =

    let private isDigit (value: byte) = value - '0'B <= 9uy

    /// Blanks, a sign, digits and a point with digits; each may be missing, and nothing at all is zero.
    let find (line: ReadOnlySpan<byte>) : LeadingNumber =
        let mutable at =
            if line.IsEmpty || isDigit line[0] then
                0
            else
                line.Length - (Blanks.trimStart line).Length

        let isNegative = at < line.Length && line[at] = '-'B

        if isNegative || (at < line.Length && line[at] = '+'B) then
            at <- at + 1

        while at < line.Length && line[at] = '0'B do
            at <- at + 1

        let whole = at

        while at < line.Length && isDigit line[at] do
            at <- at + 1

        let wholeLength = at - whole
        let fraction = min line.Length (at + 1)
        let mutable fractionEnd = fraction

        if at < line.Length && line[at] = '.'B then
            at <- fraction

            while at < line.Length && isDigit line[at] do
                at <- at + 1

                if line[at - 1] <> '0'B then
                    fractionEnd <- at

        {
            isNegative = isNegative
            whole = whole
            wholeLength = wholeLength
            fraction = fraction
            fractionLength = fractionEnd - fraction
        }

    /// Exact, whatever the lengths are.
    let compare (left: ReadOnlySpan<byte>) (right: ReadOnlySpan<byte>) =
        let a = find left
        let b = find right

        let sign (number: LeadingNumber) =
            if number.Length = 0 then 0
            elif number.isNegative then -1
            else 1

        if sign a <> sign b then
            (sign a).CompareTo(sign b)
        else
            let wholes =
                if a.wholeLength <> b.wholeLength then
                    a.wholeLength.CompareTo b.wholeLength
                else
                    left
                        .Slice(a.whole, a.wholeLength)
                        .SequenceCompareTo(right.Slice(b.whole, b.wholeLength))

            let sizes =
                if wholes <> 0 then
                    wholes
                else
                    left
                        .Slice(a.fraction, a.fractionLength)
                        .SequenceCompareTo(right.Slice(b.fraction, b.fractionLength))

            if sign a < 0 then -sizes else sizes

/// Numbers that stand for lines: where they differ, they differ as the lines do, and so most lines need not be
/// looked at to be put in order.
module internal LineKey =

    /// The first seven bytes and, below them, how many bytes there are, 8 for more than seven.
    let ofText (text: ReadOnlySpan<byte>) : uint64 =
        if text.Length >= 8 then
            BinaryPrimitives.ReadUInt64BigEndian text &&& ~~~0xFFUL ||| 8UL
        else
            let mutable key = 0UL

            for value in text do
                key <- key <<< 8 ||| uint64 value

            key <<< 8 * (8 - text.Length) ||| uint64 text.Length

    /// How many first bytes of the texts the key says.
    let textLength = 7

    /// The digits that a key has room for: 10^15 is below 2^50.
    let private digitsMax = 15

    /// One for all numbers with more digits before their point than 12 bits can say.
    let private huge = 4_095UL <<< 51 ||| 1UL

    /// From the top: the sign; 12 bits for the number of digits before the point; 50 bits for the first fifteen
    /// digits; and one that says that there are more. Below zero, what that gives is taken from 2^63.
    let ofNumber (line: ReadOnlySpan<byte>) : uint64 =
        let number = LeadingNumber.find line

        let size =
            if number.wholeLength >= 4_095 then
                huge
            else
                let mutable digits = 0UL

                for index in 0 .. digitsMax - 1 do
                    let digit =
                        if index < number.wholeLength then
                            line[number.whole + index] - '0'B
                        elif index < number.Length then
                            line[number.fraction + index - number.wholeLength] - '0'B
                        else
                            0uy

                    digits <- 10UL * digits + uint64 digit

                let more = if number.Length > digitsMax then 1UL else 0UL
                uint64 number.wholeLength <<< 51 ||| digits <<< 1 ||| more

        let zero = 1UL <<< 63
        if number.isNegative then zero - size else zero + size

    /// Whether the key of a number says all of it: lines with this key have equal numbers.
    let isWholeNumber (key: uint64) = key &&& 1UL = 0UL

/// An order of lines. In each, only lines that are equal in whole have the same place.
[<RequireQualifiedAccess>]
type internal LineOrder =
    /// By code points, which is by bytes.
    | Text
    | TextDescending
    /// By the leading number, then by code points.
    | Number
    | NumberDescending
    /// The greatest leading number first, then by code points: not a reversal of `Number`.
    | Greatest

module internal LineOrder =

    /// That of `sort`.
    let ofSort (options: SortOptions) : LineOrder =
        match options.isNumeric, options.isDescending with
        | false, false -> LineOrder.Text
        | false, true -> LineOrder.TextDescending
        | true, false -> LineOrder.Number
        | true, true -> LineOrder.NumberDescending

    /// The order of lines with equal leading numbers; none: the order goes by text alone.
    let afterNumber (order: LineOrder) : LineOrder voption =
        match order with
        | LineOrder.Text
        | LineOrder.TextDescending -> ValueNone
        | LineOrder.Number
        | LineOrder.Greatest -> ValueSome LineOrder.Text
        | LineOrder.NumberDescending -> ValueSome LineOrder.TextDescending

    /// Whether a key of an order by number says all of the number.
    let isWholeNumber (order: LineOrder) (key: uint64) =
        LineKey.isWholeNumber (if order = LineOrder.Number then key else ~~~key)

    /// A key that is smaller for a line that comes first, and the same for some that do not.
    let keyOf (order: LineOrder) (line: ReadOnlySpan<byte>) : uint64 =
        match order with
        | LineOrder.Text -> LineKey.ofText line
        | LineOrder.TextDescending -> ~~~(LineKey.ofText line)
        | LineOrder.Number -> LineKey.ofNumber line
        | LineOrder.NumberDescending
        | LineOrder.Greatest -> ~~~(LineKey.ofNumber line)

    /// Below 0 if the left line comes first, 0 if they are equal.
    let compare (order: LineOrder) (left: ReadOnlySpan<byte>) (right: ReadOnlySpan<byte>) =
        match order with
        | LineOrder.Text -> left.SequenceCompareTo right
        | LineOrder.TextDescending -> right.SequenceCompareTo left
        | LineOrder.Number ->
            match LeadingNumber.compare left right with
            | 0 -> left.SequenceCompareTo right
            | different -> different
        | LineOrder.NumberDescending ->
            match LeadingNumber.compare right left with
            | 0 -> right.SequenceCompareTo left
            | different -> different
        | LineOrder.Greatest ->
            match LeadingNumber.compare right left with
            | 0 -> left.SequenceCompareTo right
            | different -> different
