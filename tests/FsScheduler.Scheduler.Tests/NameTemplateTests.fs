/// The names that `submit --name-as` gives to results.
module FsScheduler.Scheduler.Tests.NameTemplateTests

open Expecto
open FsScheduler.Scheduler

let private templates = [
    "{}.res", "many/a.txt", Ok "many/a.txt.res"
    "{}.res", "./a.txt", Ok "a.txt.res"
    "{.}.res", "many.d/a.txt", Ok "many.d/a.res"
    "{.}", "many.d/a", Ok "many.d/a"
    "{/}", "many/a.txt", Ok "a.txt"
    "{/.}-{n}", "many/a.txt", Ok "a-7"
    "{#}", "many/a.txt", Ok "7"
    "{//}/x", "many/sub/a.txt", Ok "many/sub/x"
    "{//}/x", "a.txt", Ok "x"
    "{/.}", ".profile", Ok ".profile"
    "{}", "/etc/passwd", Error "it is absolute; use a path relative to the folder"
    "{}", "../a", Error "the part '..' could lead out of its folder"
    "x/../{/}", "a", Error "the part '..' could lead out of its folder"
]

[<Tests>]
let tests =
    testList "name templates" [
        for template, path, name in templates do
            test $"--name-as {template} of {path}" {
                Expect.equal (NameTemplate.parse template) (Ok template) "valid"
                Expect.equal (NameTemplate.apply template path 7) name "name"
            }

        test "--name-as with what stands for nothing is refused" {
            Expect.equal
                (NameTemplate.parse "{x}.out")
                (Error "'{x}' is not a replacement string; there are {} {.} {/} {/.} {//} {n}")
                "refused"
        }
    ]
