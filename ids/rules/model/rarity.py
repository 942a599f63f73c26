"""How rare a literal is in traffic: the measure by which the prefilter's needles are chosen."""

from __future__ import annotations

MAX_LITERAL = 64
"""Bytes of a literal given to the prefilter; more make it no rarer, only larger."""

WEAK_SCORE = 3.0
"""Below about two uncommon or three common bytes a literal stands in much innocent traffic."""

_COMMON = frozenset(b' etaoinshrdlucm/.-=:0123456789<>"\r\n')

_COMMONPLACE = (
    b"get post head http/1.1 http/1.0 200 ok mozilla/5.0 keep-alive text/html text/plain gzip, deflate, br */* www. "
    b".com .org .net .html image/png image/jpeg application/json application/x-www-form-urlencoded charset=utf-8 "
    b"host: user-agent: accept: accept-encoding: accept-language: cookie: referer: content-type: content-length: en-us"
)
"""What stands in nearly every request or answer, in lower case; a literal of it singles nothing out."""


def score(value: bytes, nocase: bool) -> float:
    """Estimate how rarely a literal occurs in traffic; larger is rarer, a run of one byte counts little."""
    if len(value) > 2 and value.lower() in _COMMONPLACE:
        return 0.0
    total = 0.0
    previous = -1
    for byte in value[:MAX_LITERAL]:
        if byte in (previous, 0):
            total += 0.3
        elif byte in _COMMON:
            total += 1.0
        else:
            total += 1.4 if nocase else 1.6
        previous = byte
    return total
