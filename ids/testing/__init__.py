"""The test kit for plugins: an engine with nothing but the plugins under test, and ready-made values for single hooks.

`Session` takes what client and server say, and has the alerts and blocks that came of it::

    session = Session(libssh=libssh)
    session.tcp(b"SSH-2.0-libssh_0.10.4\\r\\n", dport=22)
    assert session.sids == [9000001]

Traffic takes the way of a replay: frames are decoded, flows followed, protocols parsed, hooks called, matches decided.
No interface, no file and no clock is involved. `make_flow`, `make_streams`, `make_datagrams` and `make_match` make the
values that a hook is called with; what a test does not care about is filled in.

`evade` says the same as a session in all the ways in which an attacker would, so that no inspection sees it.
"""

from ids.testing.session import CLIENT, MSS, SERVER, STEP_NS, Said, Session, to_client, to_server
from ids.testing.values import NO_DATAGRAMS, T0, make_datagrams, make_flow, make_match, make_signature, make_streams

__all__ = [
    "CLIENT",
    "MSS",
    "NO_DATAGRAMS",
    "SERVER",
    "STEP_NS",
    "T0",
    "Said",
    "Session",
    "make_datagrams",
    "make_flow",
    "make_match",
    "make_signature",
    "make_streams",
    "to_client",
    "to_server",
]
