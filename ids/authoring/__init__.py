"""Tools for those who write rules: what the verbs of `ids rules` do.

proving     runs the tests that rules carry; `stimuli` makes their packets, `parties` who talks to whom,
            `companion` reads the tests of rules that cannot carry any, `junit` writes what came of them
"""
