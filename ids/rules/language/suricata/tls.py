"""Options on a TLS connection that are no sticky buffers: ``ssl_version`` and ``ssl_state``."""

from __future__ import annotations

from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, required, unquoted
from ids.rules.model.rule import Anchor, Any_, Literal, NotAny, Size
from ids.types import Direction

VERSIONS = {
    "sslv2": b"sslv2", "sslv3": b"sslv3", "tls1.0": b"1.0", "tls1.1": b"1.1", "tls1.2": b"1.2", "tls1.3": b"1.3",
}  # fmt: skip
"""As rules name them, and as the buffer ``tls.version`` does."""

HELLOS = {"client_hello": Direction.TO_SERVER, "server_hello": Direction.TO_CLIENT}
STATES = (*HELLOS, "client_keyx", "server_keyx", "unknown")


def ssl_version(draft: Draft, value: str | None) -> None:
    """``ssl_version:tls1.2,tls1.3``: the version that a side offers or takes."""
    words = commas(unquoted(required(value)).lower())
    excepted = [word.startswith("!") for word in words]
    if any(excepted) and not all(excepted):
        raise Malformed("some versions are excepted, and some are not", "write all with !, or none")
    versions = [VERSIONS.get(word.lstrip("! ")) for word in words]
    tests = tuple(Literal("tls.version", name, anchor=Anchor.WHOLE) for name in versions if name is not None)
    if len(tests) < len(versions):
        raise Malformed(f"unknown version in {value!r}", f"known are {', '.join(VERSIONS)}")
    if any(excepted):
        draft.conditions.append(Size("tls.version", 1))
    draft.conditions.append(NotAny(tests) if any(excepted) else Any_(tests))


def ssl_state(draft: Draft, value: str | None) -> None:
    """``ssl_state:server_hello``: a side has said hello."""
    word = unquoted(required(value)).lower()
    if any(part.strip().lstrip("!") not in STATES for part in word.split("|")):
        raise Malformed(f"unknown state {word[:40]!r}", f"known are {', '.join(STATES)}")
    side = HELLOS.get(word)
    if side is None or draft.direction not in (None, side):
        raise Unsupported("keyword ssl_state", f"of {word[:40]} nothing is known here", "name one hello and its side")
    draft.direction = side
    draft.conditions.append(Size("tls.random", 1))
