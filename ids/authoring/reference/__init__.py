"""What can be said in rules, with an example of each: buffers in all three languages, and Suricata's keywords.

*.yaml   the entries: keywords.yaml has what is about any traffic, the others what is about one protocol
entries  the files, checked
rules    entries become rules with tests
pages    entries become docs/keywords.md, docs/buffers.md and what `ids rules keyword` prints
"""
