"""The head of an HTTP/1 message: first line and headers, read as leniently as servers do, as named buffers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from ids.counters import Counters
from ids.later import late_pattern
from ids.protocols.http.ranges import range_fields
from ids.protocols.http.starts import WITHIN
from ids.protocols.http.uri import further_forms, host_name, normalise, split_target

BUFFER_OF_HEADER = {
    b"user-agent": "http.user_agent",
    b"referer": "http.referer",
    b"content-type": "http.content_type",
    b"accept": "http.accept",
    b"accept-language": "http.accept_lang",
    b"accept-encoding": "http.accept_enc",
    b"connection": "http.connection",
    b"content-length": "http.content_len",
    b"server": "http.server",
    b"location": "http.location",
}
EVE_FIELDS = {b"user-agent": "http_user_agent", b"referer": "http_refer", b"location": "redirect"}
_MAX_STATUS_DIGITS = 5
"""Of a status as events say it; that of more than three means nothing."""
ANY_LINE_END = late_pattern(rb"\r?\n|\r")
_FOLD = b" \t\0"
_FRAMING = late_pattern(
    rb"(?im)^(content-length|transfer-encoding|content-encoding|content-type)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*"
)
_MAX_FRAMING = 16
"""Lines kept of each name,"""
_MAX_FRAMING_BYTES = 1024
"""and bytes of each."""
_BARE_CR = late_pattern(rb"\r(?=[^\r\n])")
_LATER_LINE = late_pattern(rb"\n(?=" + WITHIN + rb")")
_REQUEST_LINE = late_pattern(rb"[^\s:]+[ \t][^\r\n]*?(?:/|HTTP/\d)")
"""What any server takes for a request, even if only to refuse it."""
_UNICODE_SPACE = late_pattern(rb"[\x1c-\x1f\x85\xa0]")
"""What is white space to a server that reads a head as Latin-1 text."""
_PLAIN = late_pattern(rb"[ \t]*\+?\d+[ \t]*")
_DIGITS = late_pattern(rb"[\s\x1c-\x1f\x85\xa0]*\+?0*(\d{1,18})")


MAX_COOKIES = 64
"""Cookie headers that are looked at each by itself; browsers send one. All are in the joined value."""


class Framing:
    """The lines of a long head that say where the body ends, and how it is coded: a few of each name, for servers take
    one; but none of the others makes them lose ``chunked``, however many there are."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[bytes, list[bytes]] = {}

    def take(self, part: bytes) -> None:
        """Keep what matters of the next part of the head."""
        for found in _FRAMING.finditer(part):
            name, line = found[1].lower(), found[0]
            kept = self._of.setdefault(name, [])
            if name == b"transfer-encoding" and b"chunked" in line.lower():
                kept[_MAX_FRAMING:] = [b"Transfer-Encoding: chunked\n"]
            elif len(kept) < _MAX_FRAMING:
                kept.append(line[:_MAX_FRAMING_BYTES].rstrip() + b"\n")

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def lines(self) -> bytes:
        """Return what was kept, as lines of a head."""
        return b"".join(line for kept in self._of.values() for line in kept)


@dataclass(slots=True)
class Head:
    """What a head says."""

    buffers: dict[str, bytes]
    fields: dict[str, Any]
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """By lower-case name; several of one name joined by a comma, as RFC 9110 section 5.3 has it."""
    more: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """Of buffers with several instances, the further ones."""
    method: bytes = b""
    status: int = 0
    size: int = 0
    """Bytes of it, of a response."""
    chunked: bool = False
    length: int | None = None
    """Content-Length, where there is a usable one; ``chunked`` goes before it (RFC 9112 section 6.3)."""
    loose: bool = False
    """Of a response: its length is no plain number, or several; some clients then read on until the end."""
    further_length: int = 0
    """Of a request: what other servers take for its length, where that is more; 0: nothing."""

    def reconcile(self, other: Head) -> None:
        """Note where else the body ends as another reading of the head has it: the shorter one leads on."""
        lengths = {self.length or 0, other.length or 0, self.further_length, other.further_length}
        if len(lengths) == 1 or self.chunked:
            self.further_length = max(lengths)
            return
        if (self.length or 0) != (other.length or 0):
            self.length = min(self.length or 0, other.length or 0)
        self.further_length = max(lengths) if max(lengths) > (self.length or 0) else 0

    def take_framing(self, lines: bytes, counters: Counters) -> None:
        """Let header lines say where the body ends, and how it is coded: of a head that was too long to be kept."""
        other = parse_request(b"POST /\n" + lines, 1 << 30, counters)
        self.chunked, self.length, self.further_length = other.chunked, other.length, other.further_length
        self.headers.update(other.headers)


def other_readings(block: bytes) -> tuple[bytes, ...]:
    """Return what else a head of a request is to some server: without each CR that ends no line, with a line end in the
    place of such a CR, with spaces for what is white space in Latin-1, and without the lines before the request line,
    where the first is none. None of an ordinary one.
    """
    found: list[bytes] = []
    if _BARE_CR.search(block) is not None:
        found += block.replace(b"\r", b""), ANY_LINE_END.sub(b"\n", block)
    line, end, rest = block.partition(b"\n")
    if _UNICODE_SPACE.search(line) is not None:
        found.append(_UNICODE_SPACE.sub(b" ", line) + end + rest)
    if _REQUEST_LINE.match(line) is None and (later := _LATER_LINE.search(block)) is not None:
        found.append(block[later.end() :])
    return tuple(dict.fromkeys(found))


def text(data: bytes) -> str:
    """Spell bytes for an event."""
    return data.decode("utf-8", "backslashreplace")


def parse_request(block: bytes, max_headers: int, counters: Counters) -> Head:
    """Read the head of a request, without the blank line that ends it."""
    line, _, rest = block.partition(b"\n")
    line = line.rstrip(b"\r")
    method, target, protocol = _split_request_line(line)
    head = Head({"http.request_line": line, "http.method": method, "http.uri.raw": target}, {}, method=method)
    if protocol:
        head.buffers["http.protocol"] = protocol
    _read_headers(head, rest, rest.split(b"\n"), max_headers, counters, b"cookie")
    if len(lengths := _readings(head.headers.get(b"content-length", b""))) > 1:
        head.length, head.further_length = min(lengths), max(lengths)
    head.chunked = b"chunked" in re.split(rb"[\s,\x00-\x1f]+", head.headers.get(b"transfer-encoding", b"").lower())
    if head.chunked and head.length:
        head.further_length = max(head.length, head.further_length)
    authority, path = split_target(target)
    if method == b"CONNECT":
        authority = target
    head.buffers["http.uri"] = normalise(path)
    raw_host = authority or head.headers.get(b"host", b"")
    host, port = host_name(raw_host)
    if raw_host:
        head.buffers["http.host"], head.buffers["http.host.raw"] = host, raw_host
        head.fields["hostname"] = text(host)
        if port.isdigit() and len(port) < 6:
            head.fields["http_port"] = int(port)
    head.fields |= {"url": text(target), "http_method": text(method)}
    if protocol:
        head.fields["protocol"] = text(protocol)
    head.fields.pop("http_content_type", None)
    return head


def parse_bare_requests(lines: Iterable[bytes]) -> tuple[dict[str, bytes], dict[str, tuple[bytes, ...]]]:
    """Return the buffers of requests that are nothing but a line: those of the first, and all further instances."""
    stripped = [line.rstrip(b"\r") for line in lines]
    words = [_split_request_line(line) for line in stripped]
    targets = [target for _, target, _ in words]
    found = {
        "http.request_line": stripped,
        "http.method": [method for method, _, _ in words],
        "http.uri.raw": targets,
        "http.uri": [form for target in targets for form in _forms(target)],
        "http.protocol": [protocol for _, _, protocol in words],
    }
    unique = {name: tuple(dict.fromkeys(values)) for name, values in found.items()}
    return {name: values[0] for name, values in unique.items()}, {name: values[1:] for name, values in unique.items()}


def _forms(target: bytes) -> tuple[bytes, ...]:
    first = normalise(split_target(target)[1])
    return (first, *further_forms(target))


def parse_part(block: bytes, of_client: bool, counters: Counters) -> dict[str, bytes]:
    """Return the buffers of header lines behind the first part of a head; the first line of them may be cut."""
    head = Head({}, {})
    cookie = b"cookie" if of_client else b"set-cookie"
    _read_headers(head, block, block.split(b"\n"), 1 << 30, counters, cookie)
    return head.buffers


def parse_response(block: bytes, max_headers: int, counters: Counters) -> Head:
    """Read the head of a response, without the blank line that ends it.

    Clients take more for the end of a line, and for a chunked body, than servers do; so does this.
    """
    line, *lines = ANY_LINE_END.split(block)
    rest = block[len(line) :].lstrip(b"\r\n")
    protocol, code, message = [*line.split(None, 2), b"", b"", b""][:3]
    head = Head(
        {"http.response_line": line, "http.protocol": protocol, "http.stat_code": code, "http.stat_msg": message}, {}
    )
    head.size = len(block)
    _read_headers(head, rest, lines, max_headers, counters, b"set-cookie")
    head.chunked = b"chunked" in head.headers.get(b"transfer-encoding", b"").replace(b"\0", b"").lower()
    if b"content-range" in head.headers:
        head.fields["content_range"] = range_fields(head.headers[b"content-range"])
    if code.isdigit() and len(code) <= 3:
        head.status = int(code)
        head.fields["status"] = head.status
    elif code.isdigit() and len(code) <= _MAX_STATUS_DIGITS:
        head.fields["status"] = int(code)
    return head


def _split_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Split at the first and the last run of white space: a target may have some in between, as servers allow."""
    method, *rest = line.split(None, 1)[:2] or [b""]
    if not rest:
        return method, b"", b""
    target, *last = rest[0].rstrip().rsplit(None, 1)
    if last and last[0][:5].upper() == b"HTTP/":
        return method, target, last[0]
    return method, rest[0].rstrip(), b""


def _read_headers(
    head: Head, block: bytes, lines: list[bytes], max_headers: int, counters: Counters, cookie: bytes
) -> None:
    """Read header lines into ``head``: folded, without a colon, with spaces around it, or many of one name."""
    pairs = _pairs(lines, max_headers, counters)
    values: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        values.setdefault(name.lower(), []).append(value)
    headers = head.headers = {name: b", ".join(several) for name, several in values.items()}
    buffers = head.buffers
    buffers["http.header.raw"] = with_end(block)
    if pairs:
        buffers["http.header"] = b"".join([b"%s: %s\r\n" % pair for pair in pairs if pair[0].lower() != cookie])
        buffers["http.header_names"] = b"\r\n" + b"".join([name + b"\r\n" for name, _ in pairs]) + b"\r\n"
    if (line := buffers.get("http.request_line" if cookie == b"cookie" else "http.response_line")) is not None:
        buffers["http.start"] = start_of(line, pairs)
    if cookie in headers:
        buffers["http.cookie"], several = cookies_of(values[cookie])
        if several:
            head.more["http.cookie"] = several
    for key, buffer in BUFFER_OF_HEADER.items():
        if key in headers:
            buffers[buffer] = headers[key]
    for key, eve_name in EVE_FIELDS.items():
        if key in headers:
            head.fields[eve_name] = text(headers[key])
    if b"content-type" in headers:
        head.fields["http_content_type"] = text(headers[b"content-type"].partition(b";")[0].strip())
    _read_length(head, counters)


def with_end(lines: bytes) -> bytes:
    """Return header lines with the empty line behind them, which ends as they do."""
    return lines + (b"\n" if lines[-2:] not in (b"", b"\r\n") else b"\r\n")


def without_end(raw: bytes) -> bytes:
    """Return header lines without the empty line behind them."""
    return raw[: raw.rfind(b"\n", 0, -1) + 1]


def start_of(line: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return first line and headers in one spelling, those of one name joined where the first of them stands."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        known = values.setdefault(name.lower(), [name])
        known.append(value)
    lines = [b"%s: %s" % (name, b", ".join(several)) for name, *several in values.values()]
    return b"\r\n".join([line, *lines, b"\r\n" if lines else b""])


def listed(head: Head, names: Collection[bytes] | None, of_client: bool) -> list[dict[str, str]]:
    """Return the headers as events list them, those of one name joined; only some, by their names in lower case."""
    raw = without_end(head.buffers.get("http.header.raw", b""))
    spelled: dict[bytes, str] = {}
    lines = raw.split(b"\n") if of_client else ANY_LINE_END.split(raw)
    for name, _ in _pairs(lines, len(raw) + 1, Counters()):
        spelled.setdefault(name.lower(), text(name))
    return [
        {"name": spelling, "value": text(head.headers.get(name, b""))}
        for name, spelling in spelled.items()
        if names is None or name in names
    ]


def cookies_of(values: list[bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the values of all cookie headers together, the empty ones left out, and each of several by itself."""
    present = [value for value in values if value]
    several = dict.fromkeys(present)
    return b", ".join(present), tuple(several)[:MAX_COOKIES] if len(several) > 1 else ()


def _pairs(lines: list[bytes], max_headers: int, counters: Counters) -> list[tuple[bytes, bytes]]:
    """Return names and values; a line without a colon has no name."""
    unfolded: list[list[bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t", b"\0") and unfolded:
            unfolded[-1].append(line.strip(_FOLD))
        elif line.strip(b"\r"):
            unfolded.append([line])
    if len(unfolded) > max_headers:
        counters.add("http.too_many_headers")
    pairs = []
    for parts in unfolded:
        line = b" ".join([part.rstrip(b"\r") for part in parts])
        name, colon, value = line.partition(b":")
        pairs.append((name.replace(b"\0", b"").strip(), value.strip()) if colon else (b"", line))
    return pairs


def _read_length(head: Head, counters: Counters) -> None:
    value = head.headers.get(b"content-length")
    if value is None:
        return
    if b"transfer-encoding" in head.headers:
        counters.add("http.length_and_chunked")
    found = _DIGITS.match(value)
    if found:
        head.length = int(found.group(1))
    plain = all(map(_PLAIN.fullmatch, value.split(b",")))
    if several := len(_readings(value)) > 1:
        counters.add("http.length_conflict")
    elif not plain:
        counters.add("http.length_invalid")
    head.loose = several or not plain


def _readings(value: bytes) -> set[int]:
    """Return the lengths that servers may take a Content-Length for: the first of several or the last, the digits that
    it begins with, or those around underscores as well (as ``int`` of Python has them).
    """
    parts = [part for part in value.split(b",") if _DIGITS.match(part)]
    numbers = [found[1] for part in parts for form in (part, part.replace(b"_", b"")) if (found := _DIGITS.match(form))]
    return set(map(int, numbers))
