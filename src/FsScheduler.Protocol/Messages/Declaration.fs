namespace FsScheduler.Protocol

open System.Text.Json

/// A type of message in one direction: its word on the wire, its fields, and its case of the union.
type internal Declaration<'union> = {
    /// The `type` of the message: `EXPLAIN`.
    word: string
    /// Writes the fields of the message; none: the message is of another type.
    tryWrite: 'union -> (Utf8JsonWriter -> unit) voption
    read: MessageFields -> 'union
}

module internal Declaration =

    /// <summary>Declares a type of message.</summary>
    /// <param name="word">The `type` of the message.</param>
    /// <param name="shape">The fields.</param>
    /// <param name="wrap">Makes the case of the union.</param>
    /// <param name="tryUnwrap">The value of the case; none: the union has another case.</param>
    let make
        (word: string)
        (shape: Shape<'message, 'message>)
        (wrap: 'message -> 'union)
        (tryUnwrap: 'union -> 'message voption)
        : Declaration<'union> = {
        word = word
        tryWrite =
            fun union ->
                tryUnwrap union
                |> ValueOption.map (fun message -> fun writer -> shape.write writer message)
        read = fun fields -> wrap (shape.read fields)
    }

    /// Declares a type of message that has no fields.
    let bare (word: string) (message: 'union) : Declaration<'union> =
        make word empty (fun () -> message) (fun other ->
            if obj.Equals(other, message) then
                ValueSome()
            else
                ValueNone)
