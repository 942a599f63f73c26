"""Rules meet traffic: a `RuleSet` and then, batch by batch, `Packets`, `Streams`, `Datagrams` and `Transactions` go in;
`Match` values come out.

    matcher                  the rules of one load, for all that the stages before hand on
    index, prefilter         what notices a rule: one Hyperscan database a buffer finds the needles of all in one pass
    selectors                traffic and flow options, asked of many rows at once
    streams                  TCP: `rows` lays a batch out to be searched, `follower` goes where a rule waits
    datagrams, transactions, headers, flagged    the other places that rules look at
    conditions, evaluation   the whole condition of a candidate; the rule that fails
    facts                    what scripts of rules may ask for
    yara                     the one caller of libyara
    counted                  matches that a count of distinct things does not need
    memory, trail, window    what is kept of flows between batches, with its bound
"""
