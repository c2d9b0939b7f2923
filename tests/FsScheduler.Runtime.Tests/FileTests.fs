module FsScheduler.Runtime.Tests.FileTests

open Expecto

let tests =
    testList "FileTests" [
        InputFileTests.tests
        WatcherTests.tests
        InboxTests.tests
        InboxDoubtTests.tests
        FolderPlacesTests.tests
        PublisherTests.tests
    ]
