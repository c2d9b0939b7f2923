namespace FsScheduler.Protocol

open FsScheduler.Core

/// What a client makes of a scheduler that says nothing.
[<RequireQualifiedAccess>]
type Silence =
    /// It may have nothing to say.
    | Wait
    /// Ask for its status: who is there answers.
    | Ask
    /// It did not answer: its machine, or the way to it, is gone without a word.
    | Lost

/// How long a scheduler may be silent while a client waits for it.
module Silence =

    /// Before it is asked.
    let askAfter: Duration = 15_000L<ms>

    /// After it was asked, which should have reached it at once.
    let answerWithin: Duration = 30_000L<ms>

    // Bytes that the system took and has not sent yet may be before the question: not more than these, nor slower.
    let private onTheWayMax = 8L * 1024L * 1024L * 1L<B>
    let private slowest = 32L<B / ms>

    /// <summary>Judges a silence.</summary>
    /// <param name="silent">How long no byte came, and none could be sent.</param>
    /// <param name="isAsked">Whether it was asked since.</param>
    /// <param name="sent">How much was sent since a byte came last.</param>
    let decide (silent: Duration) (isAsked: bool) (sent: Size) : Silence =
        let slow: Duration = min sent onTheWayMax / slowest

        if not isAsked then
            if silent >= askAfter then Silence.Ask else Silence.Wait
        elif silent >= askAfter + answerWithin + slow then
            Silence.Lost
        else
            Silence.Wait
