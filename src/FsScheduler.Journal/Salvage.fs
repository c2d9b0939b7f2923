namespace FsScheduler.Journal

/// A place in a journal that may be damaged.
type internal Salvaged =
    | Whole of Batch
    /// A damaged batch, and its number and time as it gives them.
    | Damaged of first: int64 * at: int64
    /// SQLite cannot read on from here.
    | Unreachable of reason: string

/// Reads the readable batches of a damaged journal.
module internal Salvage =

    /// The longest gap, in event numbers, behind which readable batches are searched.
    let private skipMax = 1L <<< 45

    /// The next row; none: there are no more.
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

    /// All places, the whole batches in the order of their numbers.
    let read (db: Database) : seq<Salvaged> =
        seq {
            let mutable last = 0L
            /// The numbers to skip, doubled each time that no batch is found behind them.
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
