/// Case mapping of 16 bytes at a time, while they are of U+0000 to U+00FF and keep their length.
module internal FsScheduler.Stages.CaseBlocks

open System
open System.Runtime.InteropServices
open System.Runtime.Intrinsics

let private block = Vector128<byte>.Count

/// Which bytes are from `first` to `first + span`.
let inline private within (bytes: Vector128<byte>) (first: byte) (span: byte) =
    Vector128.LessThanOrEqual(bytes - Vector128.Create first, Vector128.Create span)

let inline private equal (bytes: Vector128<byte>) (value: byte) =
    Vector128.Equals(bytes, Vector128.Create value)

/// For each byte the one before it. No character that is mapped here begins before `source`.
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

/// A block may have ended on the first byte of a character, which then is not mapped yet.
let inline private wholeCharacters (source: ReadOnlySpan<byte>) index =
    if index > 0 && index < source.Length && source[index] &&& 0xC0uy = 0x80uy then
        index - 1
    else
        index

/// How many bytes were mapped, of whole characters. U+00C0 to U+00DE are C3 80 to C3 9E, but for ×.
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

/// How many bytes were mapped, of whole characters. Stops at ß, ÿ and µ, which leave the range.
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
