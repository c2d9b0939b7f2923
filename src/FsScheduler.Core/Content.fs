namespace FsScheduler.Core

open System

/// Bytes as they come with a message, are worked on, and go out.
type Content =
    /// In memory.
    | Bytes of byte[]
    /// In a temporary file, which is deleted with the content.
    | Spooled of path: string * size: Size

module Content =

    let empty = Bytes [||]

    let size (content: Content) : Size =
        match content with
        | Bytes bytes -> int64 bytes.Length * 1L<B>
        | Spooled(_, size) -> size

    /// The path of the temporary file.
    let file (content: Content) : string voption =
        match content with
        | Bytes _ -> ValueNone
        | Spooled(path, _) -> ValueSome path

    /// The bytes, where they are in memory.
    let tryBytes (content: Content) : ReadOnlyMemory<byte> voption =
        match content with
        | Bytes bytes -> ValueSome(ReadOnlyMemory bytes)
        | Spooled _ -> ValueNone

    /// How many bytes of memory the content takes.
    let memorySize (content: Content) : int64 =
        match content with
        | Bytes bytes -> int64 bytes.Length
        | Spooled _ -> 0L
