"""Rules in Suricata's language become rules of the model.

source     a file is cut into rules, headers and options, with their places
draft      a rule in the making
keywords   the table of all options, from the modules below; each option is one small function on the draft
content    ``content``, ``pcre`` and their modifiers
buffers    the names of buffers, old and new; transforms
numbers    ``byte_test`` and its kin; `words` reads what they and the others are made of
sets       ``dataset`` and ``datarep``
lua        ``lua``: what a script needs, and where it is asked
packet     tests on headers, and on what was noted of a packet
flow       direction, state and size of the flow
state      flowbits and the like, thresholds, tags
meta       identity, class, references
header     action, protocol, addresses and ports
builder    a draft becomes a rule
files      classification.config, reference.config
thresholds threshold.config
kept       what a load came to, for the next start
loader     files become rules; what is left out is listed with its place, and counted by its cause
"""
