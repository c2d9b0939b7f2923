namespace FsScheduler.Journal

open System

/// A batch as a row of the table `batch`.
module internal BatchRow =

    let schema = [
        // The numbers come before the blobs, on the first page of a row.
        """CREATE TABLE batch(
                first INTEGER PRIMARY KEY, count INTEGER NOT NULL, at INTEGER NOT NULL, owner BLOB NOT NULL,
                sum INTEGER NOT NULL, events TEXT NOT NULL, payloads BLOB NOT NULL)"""
        """CREATE VIEW event AS
                SELECT batch.first + json_each.key AS number,
                    strftime('%Y-%m-%dT%H:%M:%fZ', batch.at / 1000.0, 'unixepoch') AS time,
                    json_each.value ->> 'event' AS event, json_each.value ->> 'task' AS task,
                    CASE WHEN json_each.value ->> 'event' IN ('assigned', 'claimed', 'advanced', 'split', 'accepted', 'completed')
                        THEN coalesce(json_each.value ->> 'attempt', 1) ELSE json_each.value ->> 'attempt' END AS attempt,
                    json_each.value ->> 'worker' AS worker,
                    json_each.value ->> 'name' AS name, json_each.value ->> 'error' AS error,
                    json_each.value AS json, lower(hex(batch.owner)) AS owner
                FROM batch, json_each(batch.events)"""
    ]

    let insertion = "INSERT INTO batch VALUES(?,?,?,?,?,?,?)"

    let selection = "SELECT first, count, at, owner, sum, events, payloads FROM batch"

    let write (insert: Statement) (batch: Batch) (sum: int64) =
        let owner = Span<byte>(Array.zeroCreate 16)
        batch.owner.TryWriteBytes(owner, true) |> ignore
        insert.Int(1, batch.first)
        insert.Int(2, int64 batch.count)
        insert.Int(3, batch.at)
        insert.Blob(4, Span.op_Implicit owner)
        insert.Int(5, sum)
        insert.Utf8(6, batch.events.Span)
        insert.Blob(7, batch.payloads.Span)
        insert.Run()

    let private make (row: Statement) events payloads : struct (Batch * int64) =
        let owner = row.GetBlob 3

        let batch = {
            first = row.GetInt 0
            count = int (row.GetInt 1)
            at = row.GetInt 2
            owner = if owner.Length = 16 then Guid(owner, true) else Guid.Empty
            events = events
            payloads = payloads
        }

        struct (batch, row.GetInt 4)

    /// The batch of the present row of a `selection`, and its sum as written.
    let read (row: Statement) : struct (Batch * int64) =
        let copy column =
            ReadOnlyMemory((row.GetBlob column).ToArray())

        make row (copy 5) (copy 6)

    /// `read` into a reusable buffer.
    let readInto (bytes: ByteBuffer) (row: Statement) : struct (Batch * int64) =
        let copy column =
            let start = bytes.Length
            bytes.Add(row.GetBlob column)
            struct (start, bytes.Length - start)

        let struct (eventsAt, eventsLength) = copy 5
        let struct (payloadsAt, payloadsLength) = copy 6
        let written = bytes.Written

        make row (written.Slice(eventsAt, eventsLength)) (written.Slice(payloadsAt, payloadsLength))

    /// Whether a batch is undamaged: its sum is the one that was written.
    let isWhole (struct (batch: Batch, sum: int64)) : bool =
        batch.count > 0 && Batch.sum batch = sum

    let timeText (at: int64) =
        let least = DateTimeOffset.MinValue.ToUnixTimeMilliseconds()
        let most = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()

        DateTimeOffset
            .FromUnixTimeMilliseconds(Math.Clamp(at, least, most))
            .UtcDateTime.ToString(
                "yyyy-MM-dd HH:mm:ss'Z'",
                Globalization.CultureInfo.InvariantCulture
            )
