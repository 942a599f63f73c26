"""HTTP/1.1 messages, and visits made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from captures.wire import ATTACKER, BENIGN, SERVER, Capture, TcpConversation

HOST = "shop.example.org"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CURL = "curl/8.5.0"

REASONS = {200: "OK", 204: "No Content", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
           404: "Not Found", 500: "Internal Server Error"}  # fmt: skip
PAGE = (
    b"<!doctype html>\n<html><head><title>Shop</title></head><body><h1>Welcome</h1><p>Tea and cups.</p></body></html>\n"
)


class Exchange(NamedTuple):
    """A request with its response, both as they go over the wire."""

    request: bytes
    response: bytes


def request(
    uri: str | bytes = "/",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    agent: str = FIREFOX,
    host: str = HOST,
) -> bytes:
    """Return a request; ``Host``, ``User-Agent`` and ``Accept`` are there unless ``headers`` replaces them."""
    fields = {"Host": host, "User-Agent": agent, "Accept": "*/*", **(headers or {})}
    if body:
        fields.setdefault("Content-Type", "application/x-www-form-urlencoded")
        fields["Content-Length"] = str(len(body))
    target = uri.encode("latin-1") if isinstance(uri, str) else uri
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + _fields(fields) + b"\r\n" + body


def response(body: bytes = PAGE, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a response with ``Content-Length``."""
    fields = {"Server": "nginx", "Content-Type": "text/html", **(headers or {}), "Content-Length": str(len(body))}
    return f"HTTP/1.1 {status} {REASONS[status]}\r\n".encode() + _fields(fields) + b"\r\n" + body


def _fields(fields: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")


NOT_FOUND = response(b"<h1>Not found</h1>\n", 404)
FORBIDDEN = response(b"<h1>Forbidden</h1>\n", 403)


def get(uri: str | bytes = "/", answer: bytes = NOT_FOUND, **more: object) -> Exchange:
    """Return a GET with its answer."""
    return Exchange(request(uri, **more), answer)  # type: ignore[arg-type]


def post(uri: str, body: bytes, answer: bytes = NOT_FOUND, **more: object) -> Exchange:
    """Return a POST with its answer."""
    return Exchange(request(uri, "POST", body=body, **more), answer)  # type: ignore[arg-type]


def multipart(
    name: str, filename: str, content: bytes, kind: str = "application/octet-stream"
) -> tuple[dict[str, str], bytes]:
    """Return the header and body of a form upload of one file (RFC 7578)."""
    boundary = "----IdsFormBoundary7MA4YWxk"
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    head = f"--{boundary}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n"
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def visit(
    capture: Capture,
    exchanges: Sequence[Exchange],
    client: str = ATTACKER,
    sport: int = 40000,
    dport: int = 80,
    server: str = SERVER,
    vlan: Sequence[int] = (),
) -> None:
    """Add one connection with these exchanges, one after the other (keep-alive)."""
    conversation = TcpConversation(capture, client, server, sport, dport, vlan).open()
    for exchange in exchanges:
        conversation.client(exchange.request)
        conversation.server(exchange.response)
    conversation.close()
    capture.wait(0.05)


def attack(
    capture: Capture, exchanges: Sequence[Exchange], sport: int = 41000, client: str = ATTACKER, dport: int = 80
) -> None:
    """Add each exchange as a connection of its own, from one source, port after port."""
    for number, exchange in enumerate(exchanges):
        visit(capture, [exchange], client, sport + number, dport)


def browse(capture: Capture, exchanges: Sequence[Exchange] = (), sport: int = 50000, dport: int = 80) -> None:
    """Add a benign client that fetches the front page and then ``exchanges`` over one connection."""
    pages = [
        get("/", response()),
        get("/style.css", response(b"body { margin: 2em }\n", headers={"Content-Type": "text/css"})),
    ]
    visit(capture, [*pages, *exchanges], BENIGN, sport, dport)
