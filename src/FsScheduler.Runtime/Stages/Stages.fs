namespace FsScheduler.Runtime

module Stages =
    let placeholder = 0
