namespace FsScheduler.Protocol

open System.Text.Json
open FsScheduler.Core

/// How the value of a field is read and written.
type internal FieldType<'value> = {
    read: MessageFields -> string -> 'value
    write: Utf8JsonWriter -> string -> 'value -> unit
}

/// One or more fields of a message, declared once for reading and writing. <c>'value</c> is what the fields are read as.
type internal Shape<'message, 'value> = {
    read: MessageFields -> 'value
    write: Utf8JsonWriter -> 'message -> unit
}

/// `message { let! a = required … and! b = optional … return … }` declares the fields of a message, in the order in
/// which they are written.
[<Sealed>]
type internal ShapeBuilder() =
    /// Pairs that are no structs: of structs, each message would have types of its own, to be compiled at every start.
    member _.MergeSources
        (first: Shape<'message, 'a>, second: Shape<'message, 'b>)
        : Shape<'message, 'a * 'b> = {
        read =
            fun fields ->
                let a = first.read fields
                a, second.read fields
        write =
            fun writer message ->
                first.write writer message
                second.write writer message
    }

    member _.BindReturn(shape: Shape<'message, 'a>, make: 'a -> 'value) : Shape<'message, 'value> = {
        read = shape.read >> make
        write = shape.write
    }

/// The types of fields. A limit of reading is also one of writing.
module internal FieldType =

    let integer (least: int64) (most: int64) : FieldType<int64> = {
        read = fun fields name -> fields.Integer(name, least, most)
        write = fun writer name value -> writer.WriteNumber(name, value)
    }

    /// The same values as another type.
    let map (there: 'a -> 'b) (back: 'b -> 'a) (field: FieldType<'a>) : FieldType<'b> = {
        read = fun fields name -> there (field.read fields name)
        write = fun writer name value -> field.write writer name (back value)
    }

    let int (least: int) (most: int) : FieldType<int> =
        integer (int64 least) (int64 most) |> map int int64

    /// From 0 to the largest integer that every JSON reader holds, 2^53 - 1.
    let count: FieldType<int64> = integer 0L ProtocolLimits.integerMax

    /// From 0 to 2^31 - 1.
    let smallCount: FieldType<int> = int 0 System.Int32.MaxValue

    let size: FieldType<Size> = count |> map (fun n -> n * 1L<B>) int64
    let duration: FieldType<Duration> = count |> map (fun n -> n * 1L<ms>) int64

    let task: FieldType<TaskId> =
        integer 1L ProtocolLimits.integerMax |> map (fun n -> n * 1L<taskId>) int64

    /// The last task of a page, or 0 before the first page.
    let taskBefore: FieldType<TaskId> = count |> map (fun n -> n * 1L<taskId>) int64

    let text (bytesMax: int) : FieldType<string> = {
        read = fun fields name -> fields.Text(name, bytesMax)
        write = fun writer name value -> writer.WriteString(name, value)
    }

    /// A string, cut to the longest text of this protocol.
    let cutText: FieldType<string> = {
        read = fun fields name -> fields.CutText name
        write =
            fun writer name value ->
                writer.WriteString(name, ProtocolLimits.cut ProtocolLimits.textCharsMax value)
    }

    let bool: FieldType<bool> = {
        read = fun fields name -> fields.Bool name
        write = fun writer name value -> writer.WriteBoolean(name, value)
    }

    let texts: FieldType<string[]> = {
        read = fun fields name -> fields.Texts name
        write =
            fun writer name values ->
                writer.WriteStartArray name

                for value in values do
                    writer.WriteStringValue value

                writer.WriteEndArray()
    }

    /// At most `ProtocolLimits.holdingMax` attempts.
    let attempts: FieldType<Attempt[]> = {
        read = fun fields name -> fields.Attempts name
        write =
            fun writer name values ->
                writer.WriteStartArray name

                for value in Seq.truncate ProtocolLimits.holdingMax values do
                    writer.WriteStartArray()
                    writer.WriteNumberValue(int64 value.task)
                    writer.WriteNumberValue value.number
                    writer.WriteEndArray()

                writer.WriteEndArray()
    }

    /// One of a set of words.
    let choice (words: JsonName<'meaning>[]) : FieldType<'meaning> = {
        read = fun fields name -> fields.Choice(name, words)
        write = fun writer name value -> writer.WriteString(name, JsonNames.encoded words value)
    }

    /// <summary>An array of objects.</summary>
    /// <param name="most">The most objects.</param>
    /// <param name="what">The name of the objects in a refusal: `reports of workers`.</param>
    /// <param name="shape">The fields of each object.</param>
    let objects (most: int) (what: string) (shape: Shape<'value, 'value>) : FieldType<'value[]> = {
        read = fun fields name -> fields.Objects(name, most, shape.read, what)
        write =
            fun writer name values ->
                writer.WriteStartArray name

                for value in Seq.truncate most values do
                    writer.WriteStartObject()
                    shape.write writer value
                    writer.WriteEndObject()

                writer.WriteEndArray()
    }

[<AutoOpen>]
module internal Shapes =

    let message = ShapeBuilder()

    /// A field that every message has.
    let required
        (name: string)
        (field: FieldType<'value>)
        (get: 'message -> 'value)
        : Shape<'message, 'value> = {
        read = fun fields -> field.read fields name
        write = fun writer message -> field.write writer name (get message)
    }

    /// A field that is always written, and read as a default if it is missing.
    let defaulted name (field: FieldType<'value>) (value: 'value) (get: 'message -> 'value) = {
        required name field get with
            read = fun fields -> if fields.Has name then field.read fields name else value
    }

    /// A field that is not written if it has its default.
    let unless name (field: FieldType<'value>) (value: 'value) (get: 'message -> 'value) = {
        defaulted name field value get with
            write =
                fun writer message ->
                    if get message <> value then
                        field.write writer name (get message)
    }

    /// A field that may be missing.
    let optional name (field: FieldType<'value>) (get: 'message -> 'value option) = {
        read =
            fun fields ->
                if fields.Has name then
                    Some(field.read fields name)
                else
                    None
        write = fun writer message -> get message |> Option.iter (field.write writer name)
    }

    /// A message without fields.
    let empty: Shape<unit, unit> = { read = ignore; write = fun _ () -> () }
