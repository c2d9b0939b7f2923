namespace FsScheduler.Core

module FileTracker =
    let placeholder = 0
