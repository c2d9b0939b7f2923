namespace FsScheduler.Core

/// What somebody probably meant who wrote a name that is not known.
module Spelling =

    /// Insertions, deletions, substitutions and exchanges of two neighbours that make one text of the other (Damerau, 1964;
    /// no letter is touched twice).
    let private editDistance (left: string) (right: string) =
        let rows =
            Array2D.init (left.Length + 1) (right.Length + 1) (fun i j -> if i = 0 then j else i)

        for i in 1 .. left.Length do
            for j in 1 .. right.Length do
                let substituted = rows[i - 1, j - 1] + (if left[i - 1] = right[j - 1] then 0 else 1)

                let least = min substituted (1 + min rows[i - 1, j] rows[i, j - 1])

                rows[i, j] <-
                    if
                        i > 1 && j > 1 && left[i - 1] = right[j - 2] && left[i - 2] = right[j - 1]
                    then
                        min least (rows[i - 2, j - 2] + 1)
                    else
                        least

        rows[left.Length, right.Length]

    /// A hint is worth giving up to this distance, and never when it would replace more than half of the name.
    let private distanceMax = 2

    /// <summary>The known name that is nearest to one that is not known, upper and lower case being the same.</summary>
    /// <returns>None: no known name is near.</returns>
    let nearest (known: string seq) (name: string) : string option =
        let near = [
            for candidate in known do
                // Much longer or shorter names are far; this keeps the work small on hostile ones.
                if abs (candidate.Length - name.Length) <= distanceMax then
                    let distance =
                        editDistance (name.ToLowerInvariant()) (candidate.ToLowerInvariant())

                    if distance <= distanceMax && 2 * distance <= name.Length then
                        distance, candidate
        ]

        match near with
        | [] -> None
        | _ -> Some(snd (List.min near))
