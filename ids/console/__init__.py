"""The console: what an instance does, for a browser and for Prometheus. A process of its own, `ids console`.

It asks the engine's control socket, the kernel's pinned maps and the store; a console that is hammered, or dies, costs
the engine nothing. Requests come in at the top::

    messages   requests and answers, as values
    server     HTTP with bounds: how many at once, how long, how large; a port of this host or a unix socket
    token      the secret that whoever asks has to know
    access     whether a request may be answered: the host it names, its token or session, where a write comes from
    app        which page answers which path
    pages      what each page shows, from templates/; all text is escaped there
    now        the numbers of this moment
    lists      who is blocked, the foremost of a million
    why        why an address is blocked, and how to undo it
    evidence   bytes and events, as people read them
    changes    what `--write` allows: to lift a block, to allow an address
"""
