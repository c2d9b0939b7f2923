namespace FsScheduler.Stages

open System
open System.Buffers.Binary
open FsScheduler.Core

/// The decimal number at the beginning of a line, as offsets and lengths in the line.
[<Struct>]
type internal LeadingNumber = {
    isNegative: bool
    /// Offset of the digits before the point, without leading zeros.
    whole: int
    wholeLength: int
    /// Offset of the digits after the point, without trailing zeros.
    fraction: int
    fractionLength: int
} with

    member number.Length = number.wholeLength + number.fractionLength

module internal LeadingNumber =

    let private isDigit (value: byte) = value - '0'B <= 9uy

    /// Finds White_Space, a sign, digits, and a point with digits; each may be missing. A line
    /// without digits has the number 0.
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

    /// Compares the leading numbers of two lines, exactly for any number of digits. Below 0 if the
    /// left number is smaller.
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

/// Keys of lines: different keys are in the order of their lines, and so sorting compares the bytes
/// of lines only where keys are equal.
module internal LineKey =

    /// The first seven bytes and, in the lowest byte, the length of the text, at most 8.
    let ofText (text: ReadOnlySpan<byte>) : uint64 =
        if text.Length >= 8 then
            BinaryPrimitives.ReadUInt64BigEndian text &&& ~~~0xFFUL ||| 8UL
        else
            let mutable key = 0UL

            for value in text do
                key <- key <<< 8 ||| uint64 value

            key <<< 8 * (8 - text.Length) ||| uint64 text.Length

    /// Bytes of a text that its key holds.
    let textLength = 7

    /// Digits that fit into the 50 bits of a key: 10^15 is below 2^50.
    let private digitsMax = 15

    /// The size of all numbers with 4,095 digits or more before the point: the largest that 12 bits
    /// hold.
    let private huge = 4_095UL <<< 51 ||| 1UL

    /// 2^63 plus the size of the number, or minus the size for a negative number. The size, from
    /// the top, is 12 bits for the number of digits before the point, 50 bits for the first fifteen
    /// digits, and one bit that is set if there are more digits.
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

    /// Whether the key holds all digits of the number, so that all lines with this key have equal
    /// numbers.
    let isWholeNumber (key: uint64) = key &&& 1UL = 0UL

/// An order of lines. Only identical lines are equal in an order.
[<RequireQualifiedAccess>]
type internal LineOrder =
    /// By code points, which in UTF-8 is by bytes.
    | Text
    | TextDescending
    /// By the leading number, then by code points.
    | Number
    | NumberDescending
    /// The greatest leading number first. Lines with equal numbers are in ascending order of code
    /// points, unlike in `NumberDescending`.
    | Greatest

module internal LineOrder =

    /// The order of `sort` with these options.
    let ofSort (options: SortOptions) : LineOrder =
        match options.isNumeric, options.isDescending with
        | false, false -> LineOrder.Text
        | false, true -> LineOrder.TextDescending
        | true, false -> LineOrder.Number
        | true, true -> LineOrder.NumberDescending

    /// The order of lines with equal leading numbers; none for orders by text.
    let afterNumber (order: LineOrder) : LineOrder voption =
        match order with
        | LineOrder.Text
        | LineOrder.TextDescending -> ValueNone
        | LineOrder.Number
        | LineOrder.Greatest -> ValueSome LineOrder.Text
        | LineOrder.NumberDescending -> ValueSome LineOrder.TextDescending

    /// `LineKey.isWholeNumber` for the keys of an order by number.
    let isWholeNumber (order: LineOrder) (key: uint64) =
        LineKey.isWholeNumber (if order = LineOrder.Number then key else ~~~key)

    /// Of two lines with different keys, the line with the smaller key comes first.
    let keyOf (order: LineOrder) (line: ReadOnlySpan<byte>) : uint64 =
        match order with
        | LineOrder.Text -> LineKey.ofText line
        | LineOrder.TextDescending -> ~~~(LineKey.ofText line)
        | LineOrder.Number -> LineKey.ofNumber line
        | LineOrder.NumberDescending
        | LineOrder.Greatest -> ~~~(LineKey.ofNumber line)

    /// Below 0 if the left line comes first, 0 if the lines are identical.
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
