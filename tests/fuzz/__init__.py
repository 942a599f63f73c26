"""Fuzzing: what a sender, or a file, may say reaches every parser mutated, a million times.

    python -m tests.fuzz                                    all targets, 50,000 executions each: some ten minutes
    python -m tests.fuzz dns.udp --executions 1000000       one parser's million
    python -m tests.fuzz parsers --executions 1000000       all parsers of flows, one after the other
    python -m tests.fuzz dns.udp --input FILE               an input that failed, once more

An execution is one conversation, changed, fed to a parser of its own by the seam through which the stage feeds it. It
may not raise, take more CPU time than its size explains, leave bytes in what all flows share, or keep more than the
limits allow. The input that does is written to ``build/fuzz/failed``, and the command that repeats it is printed.
Inputs are drawn from a seed number, so that a run comes again; what reaches new lines of a parser becomes a seed.

    corpus.py     seeds of each parser: what the stage feeds it of captures, and of conversations made by hand
    cases.py      what is done to them
    subjects.py   parsers; functions.py readers within them; languages.py the languages of rules
    catalogue.py  all of these by name
    loop.py       the run of one, and its bounds; reached.py the lines that it reaches; outcome.py what is said of it
    targets.py    stages, fed a batch at a time: frames, fragments, segments, files; stages.py the run of one
    seeds.py, mutate.py  their seeds, and what is done to them
"""
