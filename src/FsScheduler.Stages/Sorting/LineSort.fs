namespace FsScheduler.Stages

open System

/// A line inside a buffer, and a key of it: see `LineKey`.
[<Struct; CustomComparison; CustomEquality>]
type internal Entry = {
    mutable key: uint64
    offset: int
    length: int
} with

    interface IComparable<Entry> with
        /// By the keys alone. In place of a comparison that is called, this is one that is compiled in.
        member left.CompareTo right = left.key.CompareTo right.key

    override left.Equals(right: obj) =
        match right with
        | :? Entry as right -> left.key = right.key
        | _ -> false

    override entry.GetHashCode() = entry.key.GetHashCode()

module internal LineSort =

    /// Bytes that lines are sorted by in keys; lines that have more in common are compared.
    let private keyedMax = 16 * LineKey.textLength

    /// <summary>Sorts by the keys, then lines with equal keys by the bytes that follow.</summary>
    /// <param name="buffer">The bytes of the lines.</param>
    /// <param name="order">The order of which the entries have the keys.</param>
    /// <param name="depth">How many bytes of the lines the keys and those before them say.</param>
    /// <param name="compare">`LineOrder.compare order` of the lines of two entries.</param>
    /// <param name="entries">Are sorted in place.</param>
    let rec private sortFrom
        (buffer: byte[])
        order
        depth
        (compare: Comparison<Entry>)
        (entries: Span<Entry>)
        =
        entries.Sort()
        let mutable first = 0

        while first < entries.Length do
            let mutable next = first + 1

            while next < entries.Length && entries[next].key = entries[first].key do
                next <- next + 1

            let tied = entries.Slice(first, next - first)

            if tied.Length > 1 then
                if LineOrder.isNumeric order || depth >= keyedMax then
                    tied.Sort compare
                elif tied[0].length > depth then
                    for index in 0 .. tied.Length - 1 do
                        let entry = &tied[index]
                        let rest = ReadOnlySpan(buffer, entry.offset + depth, entry.length - depth)
                        entry.key <- LineOrder.keyOf order rest

                    sortFrom buffer order (depth + LineKey.textLength) compare tied

            first <- next

    /// <summary>Puts lines in order.</summary>
    /// <param name="buffer">The bytes of the lines.</param>
    /// <param name="order">The order of which the entries have the keys.</param>
    /// <param name="entries">Are sorted in place; their keys are others afterwards.</param>
    let sort (buffer: byte[]) order (entries: Span<Entry>) =
        let compare =
            Comparison(fun (left: Entry) (right: Entry) ->
                LineOrder.compare
                    order
                    (ReadOnlySpan(buffer, left.offset, left.length))
                    (ReadOnlySpan(buffer, right.offset, right.length)))

        sortFrom buffer order LineKey.textLength compare entries
