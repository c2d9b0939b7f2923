namespace FsScheduler.Stages

open System

/// A line in a buffer, by its offset and length in bytes, with a key: see `LineKey`.
[<Struct; CustomComparison; CustomEquality>]
type internal Entry = {
    mutable key: uint64
    offset: int
    length: int
} with

    interface IComparable<Entry> with
        /// Compares the keys alone. `Span.Sort` without a comparison compiles this method in; a
        /// comparison would be a delegate, called for each pair of lines.
        member left.CompareTo right = left.key.CompareTo right.key

    override left.Equals(right: obj) =
        match right with
        | :? Entry as right -> left.key = right.key
        | _ -> false

    override entry.GetHashCode() = entry.key.GetHashCode()

module internal LineSort =

    /// Bytes of lines that are sorted by keys, seven at a time. Lines that share more are compared
    /// whole.
    let private keyedMax = 16 * LineKey.textLength

    /// Sets the keys of the entries from the bytes of their lines behind the first `depth`.
    let private load (buffer: byte[]) order depth (entries: Span<Entry>) =
        for index in 0 .. entries.Length - 1 do
            let entry = &entries[index]
            let rest = ReadOnlySpan(buffer, entry.offset + depth, entry.length - depth)
            entry.key <- LineOrder.keyOf order rest

    let private areKeysDifferent (entries: Span<Entry>) =
        let mutable index = 1

        while index < entries.Length && entries[index].key = entries[0].key do
            index <- index + 1

        index < entries.Length

    /// Whether at least two lines differ. Copies of one long line, slow to compare, are not sorted.
    let private areLinesDifferent (buffer: byte[]) (entries: Span<Entry>) =
        let first = ReadOnlySpan(buffer, entries[0].offset, entries[0].length)
        let mutable index = 1

        while index < entries.Length
              && first.SequenceEqual(
                  ReadOnlySpan(buffer, entries[index].offset, entries[index].length)
              ) do
            index <- index + 1

        index < entries.Length

    /// <summary>Sorts by the keys, then lines with equal keys by the bytes that follow.</summary>
    /// <param name="buffer">The bytes of the lines.</param>
    /// <param name="order">The order of the keys in the entries.</param>
    /// <param name="depth">Bytes of each line up to the end of those in its key; lines with equal
    /// keys share these.</param>
    /// <param name="compare">Compares the whole lines of two entries.</param>
    /// <param name="entries">The lines, sorted in place.</param>
    let rec private sortFrom
        (buffer: byte[])
        order
        depth
        (compare: Comparison<Entry>)
        (entries: Span<Entry>)
        =
        if areKeysDifferent entries then
            entries.Sort()

        let mutable first = 0

        while first < entries.Length do
            let mutable next = first + 1

            while next < entries.Length && entries[next].key = entries[first].key do
                next <- next + 1

            let tied = entries.Slice(first, next - first)

            if tied.Length > 1 then
                match LineOrder.afterNumber order with
                | ValueSome textOrder when LineOrder.isWholeNumber order tied[0].key ->
                    load buffer textOrder 0 tied
                    sortFrom buffer textOrder LineKey.textLength compare tied
                | ValueNone when depth < keyedMax ->
                    if tied[0].length > depth then
                        load buffer order depth tied
                        sortFrom buffer order (depth + LineKey.textLength) compare tied
                | ValueSome _
                | ValueNone ->
                    if areLinesDifferent buffer tied then
                        tied.Sort compare

            first <- next

    /// <summary>Sorts lines.</summary>
    /// <param name="buffer">The bytes of the lines.</param>
    /// <param name="order">The order, of which the entries have the keys.</param>
    /// <param name="entries">The lines, sorted in place. Their keys change: do not use them
    /// afterwards.</param>
    let sort (buffer: byte[]) order (entries: Span<Entry>) =
        let compare =
            Comparison(fun (left: Entry) (right: Entry) ->
                LineOrder.compare
                    order
                    (ReadOnlySpan(buffer, left.offset, left.length))
                    (ReadOnlySpan(buffer, right.offset, right.length)))

        sortFrom buffer order LineKey.textLength compare entries
