/// Normalization of any text. .NET refuses text with U+FFFE, which is valid and composes with
/// nothing: the text before and after each U+FFFE is normalized by itself.
module internal FsScheduler.Stages.Unnormalizable

open System
open System.Text

let normalize (form: NormalizationForm) (text: string) : string =
    if text.Contains '\uFFFE' then
        String.Join('\uFFFE', text.Split '\uFFFE' |> Array.map _.Normalize(form))
    else
        text.Normalize form
