"""Options on a TLS connection that are no sticky buffers: ``ssl_version``, ``ssl_state``, and those on the time for
which a certificate is valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

from ids.rules.language.suricata.draft import Draft, Part
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, refuse_value, required, unquoted
from ids.rules.model.chain import Compare, Number
from ids.rules.model.rule import Anchor, Any_, Literal, NotAny, Size
from ids.types import Direction

VERSIONS = {
    "sslv2": b"sslv2", "sslv3": b"sslv3", "tls1.0": b"1.0", "tls1.1": b"1.1", "tls1.2": b"1.2", "tls1.3": b"1.3",
}  # fmt: skip
"""As rules name them, and as the buffer ``tls.version`` does."""

HELLOS = {"client_hello": Direction.TO_SERVER, "server_hello": Direction.TO_CLIENT}
DATES = ("%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")
"""How the times of certificates are spelt; with a blank for the T, too."""

MAX_DIGITS = 12
"""Of a number of seconds: beyond it lies no year of four digits."""

_BETWEEN = re.compile(r"\s*[|,]\s*")
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
    """``ssl_state:server_hello``: a side has said hello; ``client_hello|server_hello``: one of both."""
    word = unquoted(required(value)).lower()
    if any(part.lstrip("!") not in STATES for part in _BETWEEN.split(word)):
        raise Malformed(f"unknown state {word[:40]!r}", f"known are {', '.join(STATES)}")
    side = HELLOS.get(word)
    if set(_BETWEEN.split(word)) == HELLOS.keys():
        draft.conditions.append(Size("tls.random", 1))
        return
    if side is None or draft.direction not in (None, side):
        raise Unsupported("keyword ssl_state", f"of {word[:40]} nothing is known here", "name one hello and its side")
    draft.direction = side
    draft.conditions.append(Size("tls.random", 1))


def cert_time(buffer: str) -> Callable[[Draft, str | None], None]:
    """Return what ``tls_cert_notbefore:>2020-01-01`` and the like do: a date, or seconds, and both ends count."""

    def option(draft: Draft, value: str | None) -> None:
        text = unquoted(required(value))
        first, between, last = (word.strip() for word in text.partition("<>"))
        part, digits = Part(buffer), Number(0, base=10)
        if between:
            low, high = _seconds(first), _seconds(last)
            if low >= high:
                raise Malformed(f"{last[:40]!r} does not come behind {first[:40]!r}")
            part.steps += [Compare(digits, ">=", low), Compare(digits, "<=", high)]
        else:
            sign = first[0] if first[0] in "<>" else ""
            part.steps.append(Compare(digits, f"{sign}=", _seconds(first.removeprefix(sign).strip())))
        draft.parts.append(part)

    return option


def _seconds(text: str) -> int:
    """Read a date, or a number of seconds since 1970."""
    if text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS:
        return int(text)
    for form in DATES:
        for spelling in (form, form.replace("T", " ")):
            with suppress(ValueError):
                return max(0, int(datetime.strptime(text, spelling).replace(tzinfo=timezone.utc).timestamp()))
    raise Malformed(f"{text[:40]!r} is no date", "write 2026-01-31, 2026-01-31T12:00:00, or seconds since 1970")


def cert_validity(word: bytes) -> Callable[[Draft, str | None], None]:
    """Return what ``tls_cert_expired`` and ``tls_cert_valid`` do."""

    def option(draft: Draft, value: str | None) -> None:
        refuse_value(value)
        draft.stand_in("tls.cert_validity", word, False, whole=True, ending=False)

    return option
