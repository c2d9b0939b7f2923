namespace FsScheduler.Core

/// How many tasks were done lately: one count for each of the last sixty seconds.
type internal Throughput() =
    let counts = Array.zeroCreate<int64> 60
    let mutable second = 0L // that of the newest count

    let advance (now: Instant) =
        let current = int64 now.sinceStart / 1_000L

        if current - second >= 60L then
            System.Array.Clear counts
            second <- current

        while second < current do
            second <- second + 1L
            counts[int (second % 60L)] <- 0L

    /// One more is done.
    member _.Add(now: Instant) =
        advance now
        let at = int (second % 60L)
        counts[at] <- counts[at] + 1L

    /// Done in the last seconds, of which the present one is the last; at most sixty.
    member _.Last(seconds: int, now: Instant) : int64 =
        advance now
        let mutable sum = 0L

        for back in 0 .. seconds - 1 do
            if second >= int64 back then
                sum <- sum + counts[int ((second - int64 back) % 60L)]

        sum
