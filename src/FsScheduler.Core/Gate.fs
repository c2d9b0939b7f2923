namespace FsScheduler.Core

module Gate =
    let placeholder = 0
