"""What rules are, whatever language they were written in. Nothing here reads a file or looks at traffic.

rule, yara, ruleset      a rule = signature + traffic + flow options + a tree of tests on named buffers, or YARA's own
buffers                  the buffers and protocols that a rule can name
sets                     sets of addresses and ports
patterns, cheaper        regular expressions with a bounded cost; a cheaper spelling of one that has none
scanning, expressions    Hyperscan, and the script that compiles with it in a child
script, lua              scripts of rules, and who asks them; `lua_child` runs them in the world of `lua_sandbox.lua`
literals                 the needles by which a rule is noticed; `regex_literals` and `rarity` help to choose them
"""
