/// Case mapping of 16 bytes at a time, up to a byte that is of no character in U+0000 to U+00FF, or
/// of a character whose other case is not one character in that range.
module internal FsScheduler.Stages.CaseBlocks

open System
open System.Runtime.InteropServices
open System.Runtime.Intrinsics

let private block = Vector128<byte>.Count

/// FF for each byte from `first` to `first + span`, else 0.
let inline private within (bytes: Vector128<byte>) (first: byte) (span: byte) =
    Vector128.LessThanOrEqual(bytes - Vector128.Create first, Vector128.Create span)

let inline private equal (bytes: Vector128<byte>) (value: byte) =
    Vector128.Equals(bytes, Vector128.Create value)

/// For each byte the byte before it; 0 for the first of `source`, which begins a character.
let inline private before (source: ReadOnlySpan<byte>) index (bytes: Vector128<byte>) =
    if index = 0 then
        Vector128.Shuffle(
            bytes,
            Vector128.Create(
                255uy,
                0uy,
                1uy,
                2uy,
                3uy,
                4uy,
                5uy,
                6uy,
                7uy,
                8uy,
                9uy,
                10uy,
                11uy,
                12uy,
                13uy,
                14uy
            )
        )
    else
        Vector128.LoadUnsafe(&MemoryMarshal.GetReference source, unativeint (index - 1))

/// `index`, or one less if the last block ended between the two bytes of a character, of which the
/// second is not mapped.
let inline private wholeCharacters (source: ReadOnlySpan<byte>) index =
    if index > 0 && index < source.Length && source[index] &&& 0xC0uy = 0x80uy then
        index - 1
    else
        index

/// Returns how many bytes were mapped, always whole characters. In UTF-8, the capitals U+00C0 to
/// U+00DE are C3 80 to C3 9E; C3 97 among them is ×.
let lower (source: ReadOnlySpan<byte>) (target: Span<byte>) : int =
    let mutable index = 0
    let mutable go = true

    while go && index + block <= source.Length do
        let bytes =
            Vector128.LoadUnsafe(&MemoryMarshal.GetReference source, unativeint index)

        if Vector128.GreaterThanOrEqualAny(bytes, Vector128.Create 0xC4uy) then
            go <- false
        else
            let latin =
                Vector128.AndNot(
                    equal (before source index bytes) 0xC3uy &&& within bytes 0x80uy 0x1Euy,
                    equal bytes 0x97uy
                )

            let mapped =
                bytes + ((within bytes 'A'B 25uy ||| latin) &&& Vector128.Create 0x20uy)

            mapped.StoreUnsafe(&MemoryMarshal.GetReference target, unativeint index)
            index <- index + block

    wholeCharacters source index

/// Returns how many bytes were mapped, always whole characters. Stops at ß, ÿ and µ, whose upper
/// case is not one character in U+0000 to U+00FF.
let upper (source: ReadOnlySpan<byte>) (target: Span<byte>) : int =
    let mutable index = 0
    let mutable go = true

    while go && index + block <= source.Length do
        let bytes =
            Vector128.LoadUnsafe(&MemoryMarshal.GetReference source, unativeint index)

        let lead = before source index bytes
        let afterC3 = equal lead 0xC3uy

        let leaving =
            (afterC3 &&& (equal bytes 0x9Fuy ||| equal bytes 0xBFuy))
            ||| (equal lead 0xC2uy &&& equal bytes 0xB5uy)
            ||| Vector128.GreaterThanOrEqual(bytes, Vector128.Create 0xC4uy)

        if leaving <> Vector128<byte>.Zero then
            go <- false
        else
            let latin =
                Vector128.AndNot(afterC3 &&& within bytes 0xA0uy 0x1Euy, equal bytes 0xB7uy)

            let mapped =
                bytes - ((within bytes 'a'B 25uy ||| latin) &&& Vector128.Create 0x20uy)

            mapped.StoreUnsafe(&MemoryMarshal.GetReference target, unativeint index)
            index <- index + block

    wholeCharacters source index
