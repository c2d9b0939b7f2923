namespace FsScheduler.Stages

open System
open System.Collections.Generic

/// A text inside a buffer, and a key of it: see `LineKey`.
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

/// Entries that have equal keys, and at least `depth` bytes in common.
[<Struct>]
type private Ties = { start: int; count: int; depth: int }

/// Puts texts in order by keys of seven bytes, then those with equal keys by the next seven, and so on: multikey
/// quicksort with cached keys, after Bentley and Sedgewick (1997) and Ng and Kakehi (2007).
[<Sealed>]
type internal LineSort() =

    /// Fewer texts with equal keys than these are compared whole.
    static let fewMax = 12

    /// Not on the stack: texts can have millions of bytes in common.
    let ties = Stack<Ties>()

    let textOf (buffer: byte[]) (entry: inref<Entry>) depth =
        ReadOnlySpan(buffer, entry.offset + depth, entry.length - depth)

    let sortFew (buffer: byte[]) (entries: Span<Entry>) depth =
        for index in 1 .. entries.Length - 1 do
            let entry = entries[index]
            let text = textOf buffer &entry depth
            let mutable place = index

            while place > 0 && text.SequenceCompareTo(textOf buffer &entries[place - 1] depth) < 0 do
                entries[place] <- entries[place - 1]
                place <- place - 1

            entries[place] <- entry

    /// How many bytes all of them have in common, at least `depth`.
    let commonLength (buffer: byte[]) (entries: Span<Entry>) depth =
        let first = textOf buffer &entries[0] depth
        let mutable length = first.Length

        for index in 1 .. entries.Length - 1 do
            length <- first.Slice(0, length).CommonPrefixLength(textOf buffer &entries[index] depth)

        depth + length

    /// Gives the entries the keys of their texts from `depth` on.
    /// Whether the keys differ.
    let load (buffer: byte[]) (entries: Span<Entry>) depth =
        let mutable differ = false

        for index in 0 .. entries.Length - 1 do
            let entry = &entries[index]
            entry.key <- LineKey.ofText (textOf buffer &entry depth)
            differ <- differ || entry.key <> entries[0].key

        differ

    /// Where the run of equal keys ends that begins at `first`.
    let tieEnd (entries: Span<Entry>) first =
        let mutable index = first + 1

        while index < entries.Length && entries[index].key = entries[first].key do
            index <- index + 1

        index

    /// Puts some of the entries in the order of their keys, which are those of the texts from `depth` on. What is
    /// tied then is settled at once, or left in `ties`.
    let sortKeys (buffer: byte[]) (entries: Span<Entry>) start count depth =
        entries.Slice(start, count).Sort()
        let last = start + count
        let mutable first = start

        while first < last do
            let next = min last (tieEnd entries first)

            if next - first > 1 && not (LineKey.isWholeText entries[first].key) then
                if next - first <= fewMax then
                    sortFew buffer (entries.Slice(first, next - first)) (depth + LineKey.textLength)
                else
                    ties.Push { start = first; count = next - first; depth = depth }

            first <- next

    let settle (buffer: byte[]) (entries: Span<Entry>) =
        let mutable tie = Unchecked.defaultof<Ties>

        while ties.TryPop &tie do
            let tied = entries.Slice(tie.start, tie.count)
            let mutable depth = tie.depth + LineKey.textLength
            let mutable differ = load buffer tied depth

            if not differ then
                depth <- commonLength buffer tied depth
                differ <- load buffer tied depth

            // If not, the texts are equal.
            if differ then
                sortKeys buffer entries tie.start tie.count depth

    /// <summary>By code points.</summary>
    /// <param name="buffer">Where the texts are.</param>
    /// <param name="entries">Their keys are those of the texts from the beginning, and are others afterwards.</param>
    member _.ByText(buffer: byte[], entries: Span<Entry>) =
        sortKeys buffer entries 0 entries.Length 0
        settle buffer entries

    /// <summary>By leading number, then by code points.</summary>
    /// <param name="buffer">Where the texts are.</param>
    /// <param name="order">`Number` or `Greatest`.</param>
    /// <param name="entries">Their keys are those of the order, and are others afterwards.</param>
    member _.ByNumber(buffer: byte[], order: LineOrder, entries: Span<Entry>) =
        let compare =
            Comparison(fun left right ->
                LineOrder.compare
                    order
                    (ReadOnlySpan(buffer, left.offset, left.length))
                    (ReadOnlySpan(buffer, right.offset, right.length)))

        entries.Sort()
        let mutable first = 0

        while first < entries.Length do
            let next = tieEnd entries first
            let tied = entries.Slice(first, next - first)
            let key = tied[0].key

            if tied.Length > 1 then
                if
                    not (LineKey.isWholeNumber (if order = LineOrder.Greatest then ~~~key else key))
                then
                    tied.Sort compare
                elif tied.Length <= fewMax then
                    sortFew buffer tied 0
                else
                    load buffer tied 0 |> ignore
                    sortKeys buffer entries first tied.Length 0

            first <- next

        settle buffer entries
