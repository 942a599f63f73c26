"""HTTP requests in other words, and behind others on the same connection.

What a server makes of each is tried: `nginx` says that nginx 1.22 takes the request for the one that was meant. Those
that it refuses stay here for the servers that do not, under `lenient`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ids.testing.evade.conversation import Conversation, plainly
from ids.testing.evade.policies import ALL
from ids.testing.evade.request import Request, parse
from ids.testing.evade.steps import Await, Evasion, Event, Segment, Step
from ids.testing.evade.tricks import REFUSED, TAKEN

FAMILY = "requests"
SERVERS = ("nginx", "lenient")
MEGABYTE = 1 << 20


def requests(talk: Conversation) -> Iterator[Evasion]:
    """Give the other ways to write the request; none where it is no HTTP request."""
    request = parse(talk.attack)
    if request is None:
        return
    for tricks, servers in ((TAKEN, SERVERS), (REFUSED, ("lenient",))):
        for name, trick in tricks.items():
            made = trick(request)
            if made is not None and made != talk.attack:
                yield _evasion(talk, name, made, servers)
    yield from _behind(talk, request)
    if request.body:
        yield _continued(talk, request)


def _evasion(talk: Conversation, name: str, made: bytes, servers: tuple[str, ...]) -> Evasion:
    return talk.evasion(FAMILY, name, plainly(made), ALL | {*servers}, size=len(made), http=True)


def _behind(talk: Conversation, request: Request) -> Iterator[Evasion]:
    """Send the request behind others on the same connection."""
    host = b"Host: " + (request.header(b"host") or b"www.example.org")
    small = b"GET / HTTP/1.1\r\n" + host + b"\r\n\r\n"
    large = b"POST /upload HTTP/1.1\r\n" + host + b"\r\nContent-Length: %d\r\n\r\n" % MEGABYTE
    chunk = b"2000\r\n" + b"benign text, " * 630 + b"xx" + b"\r\n"
    chunked = (
        b"POST /upload HTTP/1.1\r\n" + host + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 40 + b"0\r\n\r\n"
    )
    padded = b"GET / HTTP/1.1\r\n" + host + b"\r\nCookie: a=" + b"b" * 6000 + b"\r\n\r\n"
    for name, before in (
        ("behind one request", small),
        ("behind a HEAD", b"HEAD" + small[3:]),
        (
            "behind a request that is not found",
            b"GET /nothing-here?%s HTTP/1.1\r\n" % (b"n" * 100) + host + b"\r\n\r\n",
        ),
        ("behind fifty requests", small * 50),
        ("behind 1 MB of benign body", large + b"benign! " * (MEGABYTE // 8)),
        ("behind 320 kB of benign chunks", chunked),
        ("behind 180 requests of 6 kB", padded * 180),
    ):
        data = before + talk.attack
        yield talk.evasion(FAMILY, name, plainly(data), ALL | {*SERVERS}, size=len(data), http=True)


def _continued(talk: Conversation, request: Request) -> Evasion:
    """Wait for the server's 100 Continue before the body (RFC 9110 section 10.1.1)."""
    head = replace(request.with_headers(b"Expect: 100-continue"), body=b"").text()
    steps: list[Step] = [Segment(0, head), Await(Event.TAKEN, len(head)), *plainly(request.body, len(head))]
    size = len(head) + len(request.body)
    return talk.evasion(FAMILY, "Expect: 100-continue", steps, ALL | {*SERVERS}, size=size, http=True)
