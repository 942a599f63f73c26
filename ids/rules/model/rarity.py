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

_IN_EACH_MESSAGE = frozenset({b"smb", b"\xffsmb", b"\xfesmb"})
"""What each message of a protocol has, in lower case. It tells the protocol from others, but not one message from
another: whatever else a rule on this protocol names, but for a common byte or two, is rarer there."""
_OF_EACH_MESSAGE = 2.0


def score(value: bytes, nocase: bool) -> float:
    """Estimate how rarely a literal occurs in traffic; larger is rarer, a run of one byte counts little."""
    if len(value) > 2 and value.lower() in _COMMONPLACE:
        return 0.0
    if value.lower() in _IN_EACH_MESSAGE:
        return _OF_EACH_MESSAGE
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


WEAK_IN_HEAD = 3.0
"""Three letters, or one sign that heads seldom have."""

_SELDOM_IN_HEADS = frozenset(b"$&|<>`^{}~\"'\\[]!#@")

_IN_MANY_HEADS = _COMMONPLACE + (
    b" (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/126.0.0.0 safari/537.36 "
    b"firefox/128.0 (x11; linux x86_64; rv:128.0) (macintosh; intel mac os x 10_15_7) "
    b"(iphone; cpu iphone os 17_5 like mac os x) mobile (linux; android 14) curl/8.5.0 python-requests/2.31.0 "
    b"accept-ranges: bytes etag last-modified: cache-control: no-cache max-age=0 upgrade-insecure-requests "
    b"sec-fetch-dest: document navigate sec-ch-ua-platform connection: close location: set-cookie: path=/; httponly; "
    b"secure; samesite server: nginx apache date: gmt vary: origin pragma: expires: x-requested-with: xmlhttprequest "
    b"authorization: bearer transfer-encoding: chunked index search"
)


def score_in_head(value: bytes) -> float:
    """Estimate how rarely a literal occurs in the head of an HTTP message, whose words and signs are much alike."""
    if value.lower() in _IN_MANY_HEADS:
        return 0.0
    return sum(WEAK_IN_HEAD if byte in _SELDOM_IN_HEADS else 1.0 for byte in value[:MAX_LITERAL])
