namespace FsScheduler.Machine

open FsScheduler.Core

/// Finished tasks of the last sixty seconds, counted by the second.
type internal Throughput() =
    let counts = Array.zeroCreate<int64> 60
    let mutable second = 0L // of the newest count

    let advance (now: Instant) =
        let current = int64 now.sinceStart / 1_000L

        if current - second >= 60L then
            System.Array.Clear counts
            second <- current

        while second < current do
            second <- second + 1L
            counts[int (second % 60L)] <- 0L

    member _.Add(now: Instant) =
        advance now
        let at = int (second % 60L)
        counts[at] <- counts[at] + 1L

    /// Tasks finished in the last `seconds`, at most 60, the present second included.
    member _.Last(seconds: int, now: Instant) : int64 =
        advance now
        let mutable sum = 0L

        for back in 0 .. seconds - 1 do
            if second >= int64 back then
                sum <- sum + counts[int ((second - int64 back) % 60L)]

        sum
