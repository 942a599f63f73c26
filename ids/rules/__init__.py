"""Rules: what is looked for in streams, datagrams and transactions, and the machine that finds it.

Rule files come in, and then, batch by batch, what the stages before hand on. Out go `Match` values, which ask;
`ids.respond` decides.

    language    files become rules of one model, or errors with path:line:column
    model       what rules are, and the needles by which they are noticed
    match       a needle that was seen makes its rule a candidate; the whole condition decides

``language`` and ``match`` know ``model``, and not each other. `settings` bound all of it.
"""
