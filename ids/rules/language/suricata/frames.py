"""``frame``: pieces of messages as they were sent, by name."""

from __future__ import annotations

from ids.protocols.frame import INFIX
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import required, unquoted
from ids.rules.model.buffers import APP_PROTOCOLS, CATALOGUE, nearest

KNOWN = sorted(name for name in CATALOGUE if INFIX in name)
OTHER_NAMES = {"http1": "http"}
"""Of protocols, as frames are named by."""


def frame(draft: Draft, value: str | None) -> None:
    """``frame:pdu`` or ``frame:mqtt.pdu``: further tests are on a piece of a message."""
    word = unquoted(required(value)).strip().lower()
    first, _, rest = word.partition(".")
    spoken = OTHER_NAMES.get(first, first)
    if rest and spoken in APP_PROTOCOLS and f"{spoken}{INFIX}{rest}" in CATALOGUE:
        draft.stick(f"{spoken}{INFIX}{rest}")
        return
    name = f"{draft.protocol}{INFIX}{word}"
    if name in CATALOGUE:
        draft.stick(name)
    elif rest == "stream" or word == "stream":
        raise Unsupported("frame stream", "a whole stream is no frame here", "leave it out: a content is on the stream")
    elif spoken in APP_PROTOCOLS or draft.protocol in APP_PROTOCOLS:
        spelt = [each.replace(INFIX, ".") for each in KNOWN]
        raise Unsupported(f"frame {word[:40]}", "no parser here gives it", nearest(word, spelt))
    else:
        raise Malformed(f"{word[:40]!r} names no protocol", "write the protocol before it, such as mqtt.pdu")
