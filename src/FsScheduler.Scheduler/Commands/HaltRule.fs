namespace FsScheduler.Scheduler

open System

/// What `--halt` does to unfinished tasks.
[<RequireQualifiedAccess>]
type HaltMode =
    /// Sends no more tasks, and waits for those that were sent.
    | Soon
    /// Cancels the tasks that were sent.
    | Now

/// The tasks that `--halt` counts.
[<RequireQualifiedAccess>]
type HaltOutcome =
    | Fail
    | Success
    | Done

/// The number of counted tasks that stops a `submit`.
[<RequireQualifiedAccess>]
type HaltThreshold =
    | Count of int
    /// Percent of all files, over 0 to 100; not before three files have ended.
    | Percent of float

/// When a `submit` stops early, as in GNU parallel: `never`, or `now` or `soon`, a comma, and `fail`, `success` or
/// `done` with a number or a percentage.
type HaltRule = { mode: HaltMode; outcome: HaltOutcome; threshold: HaltThreshold }

module HaltRule =

    /// A percentage of fewer tasks says nothing.
    let private percentFrom = 3

    let private modes = Map [ "soon", HaltMode.Soon; "now", HaltMode.Now ]

    let private outcomes =
        Map [
            "fail", HaltOutcome.Fail
            "success", HaltOutcome.Success
            "done", HaltOutcome.Done
        ]

    let private tryThreshold (text: string) =
        if text.EndsWith '%' then
            match
                Double.TryParse(
                    text.TrimEnd '%',
                    Globalization.NumberStyles.AllowDecimalPoint,
                    Globalization.CultureInfo.InvariantCulture
                )
            with
            | true, percent when percent > 0.0 && percent <= 100.0 ->
                Some(HaltThreshold.Percent percent)
            | _ -> None
        else
            match Int32.TryParse text with
            | true, count when count >= 1 -> Some(HaltThreshold.Count count)
            | _ -> None

    let private tryRule (text: string) =
        match text.Split ',' with
        | [| mode; condition |] ->
            match modes.TryFind mode, condition.Split '=' with
            | Some mode, [| outcome; threshold |] ->
                match outcomes.TryFind outcome, tryThreshold threshold with
                | Some outcome, Some threshold ->
                    Some { mode = mode; outcome = outcome; threshold = threshold }
                | _ -> None
            | _ -> None
        | _ -> None

    /// Parses a rule; None is `never`. 0, 1 and 2 are the older forms of never, soon,fail=1 and now,fail=1.
    let rec parse (text: string) : Result<HaltRule option, string> =
        match text with
        | "never"
        | "0" -> Ok None
        | "1" -> parse "soon,fail=1"
        | "2" -> parse "now,fail=1"
        | _ ->
            match tryRule text with
            | Some rule -> Ok(Some rule)
            | None ->
                Error
                    $"'{text}' is not a rule; write never, or such as soon,fail=3 or now,fail=10%%, or success or done in place of fail"

    /// <summary>Whether it is time to stop.</summary>
    /// <param name="total">The number of files.</param>
    /// <param name="succeeded">The number of successful tasks.</param>
    /// <param name="failed">The number of failed tasks.</param>
    /// <param name="rule">The rule.</param>
    let isMet (total: int) (succeeded: int) (failed: int) (rule: HaltRule) : bool =
        let counted =
            match rule.outcome with
            | HaltOutcome.Fail -> failed
            | HaltOutcome.Success -> succeeded
            | HaltOutcome.Done -> succeeded + failed

        match rule.threshold with
        | HaltThreshold.Count count -> counted >= count
        | HaltThreshold.Percent percent ->
            succeeded + failed >= percentFrom
            && float counted * 100.0 >= percent * float total
