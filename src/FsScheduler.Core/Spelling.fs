namespace FsScheduler.Core

/// Suggests the known name that a misspelt one probably means.
module Spelling =

    /// Insertions, deletions, substitutions and transpositions of neighbours that make one text of the other (Damerau,
    /// 1964; no letter is edited twice).
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

    /// The largest distance of a suggestion, which also never replaces more than half of the name.
    let private distanceMax = 2

    /// <summary>The known name that is nearest to an unknown one, ignoring case.</summary>
    /// <returns>None: no known name is near.</returns>
    let nearest (known: string seq) (name: string) : string option =
        let near = [
            for candidate in known do
                // Skips names whose length alone makes them too far: hostile names cost little.
                if abs (candidate.Length - name.Length) <= distanceMax then
                    let distance =
                        editDistance (name.ToLowerInvariant()) (candidate.ToLowerInvariant())

                    if distance <= distanceMax && 2 * distance <= name.Length then
                        distance, candidate
        ]

        match near with
        | [] -> None
        | _ -> Some(snd (List.min near))
