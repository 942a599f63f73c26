"""Fuzzing: what a sender, or a file, may say reaches every stage mutated, millions of times.

    python -m tests.fuzz                      ten million executions over all targets, some ten minutes
    python -m tests.fuzz parsers --executions 50000 --seed 7

Seeds are the captures of the project, and those of the peer's test suite where they are. A step is made from the seed
number and its own number alone, so that a failure comes again: the command that repeats it is printed.

    seeds.py     frames, files and conversations of captures
    mutate.py    what is done to them
    targets.py   the stages, each with what must hold after every step
"""
