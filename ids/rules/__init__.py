"""Rules: what is looked for in streams, datagrams and transactions, and the machine that finds it.

In come rule files (`ids.rules.loader`) and then, batch by batch, `StreamChunk`, `Transaction` and `Packets`; out go
`Match` values, which ask; `ids.respond` decides.

    *_loader             a file becomes rules of one model, or errors with path:line:column
    model, conditions    Rule = signature + traffic + flow options + a tree of tests on named buffers
    variables            $HOME_NET and other groups of addresses and ports, as interval tables
    literals, prefilter  the rarest literal of each rule; one Hyperscan database per buffer finds all in one pass
    matcher              a literal hit makes its rule a candidate; the whole condition decides
    yara_matcher         YARA rules over the same streams and buffers
"""
