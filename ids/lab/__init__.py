"""A network in a box, and what happens there: an attack, seen, answered, and held off in the kernel.

    attacker ──────────── gateway ──────────── server
    192.0.2.0/24   outside │ inside   203.0.113.0/24
    clients, exploits,     │          a real web server
    floods, probes         └ `ids run`, XDP on both interfaces

`topology` builds the three namespaces, `removal` takes them away again, whatever happens, and `interruption` lets a
signal wait for that. `website`, `guard` and `actors` are who acts in them: the web server, the engine as a process, the
clients good and bad. `latency` measures how long an attacker lives on, and `story` puts it all in order. Only
documentation addresses are used (RFC 5737, RFC 3849), and nothing outside the three namespaces is touched.
"""
