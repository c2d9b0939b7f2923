namespace FsScheduler.Runtime

module Files =
    let placeholder = 0
