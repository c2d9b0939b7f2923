/// Normalization of any text. .NET refuses texts with U+FFFE, which is valid and composes with nothing.
module internal FsScheduler.Stages.Unnormalizable

open System
open System.Text

let normalize (form: NormalizationForm) (text: string) : string =
    if text.Contains '\uFFFE' then
        String.Join('\uFFFE', text.Split '\uFFFE' |> Array.map _.Normalize(form))
    else
        text.Normalize form
