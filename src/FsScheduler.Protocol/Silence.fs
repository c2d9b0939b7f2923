namespace FsScheduler.Protocol

open FsScheduler.Core

/// What a client does about a silent scheduler.
[<RequireQualifiedAccess>]
type Silence =
    /// The scheduler may have nothing to say.
    | Wait
    /// Ask for STATUS, which every scheduler answers at once.
    | Ask
    /// No answer came to STATUS: the scheduler's machine, or the network, has failed.
    | Lost

/// How long a scheduler may be silent while a client waits for an answer.
module Silence =

    /// The longest silence before STATUS is asked for.
    let askAfter: Duration = 15_000L<ms>

    /// The longest wait for the answer to STATUS.
    let answerWithin: Duration = 30_000L<ms>

    // STATUS arrives after the bytes that the system buffers: at most this many, at this speed or more.
    let private onTheWayMax = 8L * 1024L * 1024L * 1L<B>
    let private slowest = 32L<B / ms>

    /// <summary>Decides on a silence.</summary>
    /// <param name="silent">The time without a byte from the scheduler, and without one that could be sent.</param>
    /// <param name="isAsked">Whether STATUS was asked for since the last byte came.</param>
    /// <param name="sent">The payload bytes sent since the last message came.</param>
    let decide (silent: Duration) (isAsked: bool) (sent: Size) : Silence =
        let slow: Duration = min sent onTheWayMax / slowest

        if not isAsked then
            if silent >= askAfter then Silence.Ask else Silence.Wait
        elif silent >= askAfter + answerWithin + slow then
            Silence.Lost
        else
            Silence.Wait
