namespace FsScheduler.Cli

open System

/// What `--halt` does to unfinished tasks.
[<RequireQualifiedAccess>]
type HaltWhen =
    /// Sends no more tasks, and waits for those that were sent.
    | Soon
    /// Cancels the tasks that were sent.
    | Now

/// What `--halt` counts.
[<RequireQualifiedAccess>]
type HaltWhy =
    | Fail
    | Success
    | Done

/// The number of counted tasks that stops a `submit`.
[<RequireQualifiedAccess>]
type HaltAmount =
    | Count of int
    /// Percent of all files; never before `HaltRule.percentFrom` tasks have ended.
    | Percent of float

/// When a `submit` stops early, as in GNU parallel: `never`, or `now` or `soon`, a comma, and `fail`, `success` or
/// `done` with a number or a percentage.
type HaltRule = { whenever: HaltWhen; why: HaltWhy; amount: HaltAmount }

module HaltRule =

    /// A percentage of fewer tasks says nothing.
    let percentFrom = 3

    let private wrong (text: string) =
        Error
            $"'{text}' is none of never, soon,fail=N, now,fail=N, or with N%%, or with success or done in place of fail"

    let private amount (text: string) =
        if text.EndsWith '%' then
            match
                Double.TryParse(
                    text.TrimEnd '%',
                    Globalization.NumberStyles.AllowDecimalPoint,
                    Globalization.CultureInfo.InvariantCulture
                )
            with
            | true, percent when percent > 0.0 && percent <= 100.0 ->
                Some(HaltAmount.Percent percent)
            | _ -> None
        else
            match Int32.TryParse text with
            | true, count when count >= 1 -> Some(HaltAmount.Count count)
            | _ -> None

    /// Parses a rule; None is `never`. 0, 1 and 2 are the older forms of never, soon,fail=1 and now,fail=1.
    let parse (text: string) : Result<HaltRule option, string> =
        let rule whenever why amount =
            Ok(Some { whenever = whenever; why = why; amount = amount })

        match text with
        | "never"
        | "0" -> Ok None
        | "1" -> rule HaltWhen.Soon HaltWhy.Fail (HaltAmount.Count 1)
        | "2" -> rule HaltWhen.Now HaltWhy.Fail (HaltAmount.Count 1)
        | _ ->
            match text.Split ',' with
            | [| whenever; condition |] ->
                match whenever, condition.Split '=' with
                | ("now" | "soon"), [| why; number |] ->
                    let whenever = if whenever = "now" then HaltWhen.Now else HaltWhen.Soon

                    match why, amount number with
                    | "fail", Some amount -> rule whenever HaltWhy.Fail amount
                    | "success", Some amount -> rule whenever HaltWhy.Success amount
                    | "done", Some amount -> rule whenever HaltWhy.Done amount
                    | _ -> wrong text
                | _ -> wrong text
            | _ -> wrong text

    /// <summary>Whether it is time to stop.</summary>
    /// <param name="total">The number of files.</param>
    /// <param name="succeeded">The number of successful tasks.</param>
    /// <param name="failed">The number of failed tasks.</param>
    /// <param name="rule">The rule.</param>
    let isMet (total: int) (succeeded: int) (failed: int) (rule: HaltRule) : bool =
        let counted =
            match rule.why with
            | HaltWhy.Fail -> failed
            | HaltWhy.Success -> succeeded
            | HaltWhy.Done -> succeeded + failed

        match rule.amount with
        | HaltAmount.Count count -> counted >= count
        | HaltAmount.Percent percent ->
            succeeded + failed >= percentFrom
            && float counted * 100.0 >= percent * float total
