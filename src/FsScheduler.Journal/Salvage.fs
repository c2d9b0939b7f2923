namespace FsScheduler.Journal

/// What there is at a place of a journal that may be damaged.
type internal Salvaged =
    | Whole of Batch
    /// A batch that is not what was written, and what it says of itself.
    | Damaged of first: int64 * at: int64
    /// SQLite cannot go on from here, for a reason.
    | Unreachable of reason: string

/// Reads a journal over damaged places.
module internal Salvage =

    /// How far is searched for what can be read again, in numbers of events.
    let private skipMax = 1L <<< 45

    /// The next row. Nothing: that was all.
    let private next (rows: Statement) : Salvaged voption =
        try
            if rows.Next() then
                let struct (batch, _) as row = BatchRow.read rows

                if BatchRow.isWhole row then
                    ValueSome(Whole batch)
                else
                    ValueSome(Damaged(batch.first, batch.at))
            else
                ValueNone
        with SqliteError(_, message) ->
            ValueSome(Unreachable message)

    /// All that there is, whole batches in the order of their numbers.
    let read (db: Database) : seq<Salvaged> =
        seq {
            let mutable last = 0L
            /// Numbers that are passed over, more each time that nothing is found behind them.
            let mutable skip = 0L
            let mutable isAll = false

            while not isAll do
                use rows =
                    db.Prepare $"{BatchRow.selection} WHERE first > {last + skip} ORDER BY first"

                let mutable isReadable = true

                while isReadable do
                    match next rows with
                    | ValueNone ->
                        isReadable <- false
                        isAll <- true
                    | ValueSome(Whole batch) ->
                        if batch.first > last then
                            last <- batch.first
                            skip <- 0L
                            yield Whole batch
                    | ValueSome(Unreachable reason) ->
                        isReadable <- false

                        if skip = 0L then
                            yield Unreachable reason

                        skip <- max 1L (2L * skip)
                        isAll <- skip > skipMax
                    | ValueSome damaged -> yield damaged
        }
