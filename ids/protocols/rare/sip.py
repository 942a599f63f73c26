"""SIP (RFC 3261) over UDP and TCP: each request and each response is a transaction."""

from __future__ import annotations

from string import ascii_letters

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, Shared, speaking
from ids.protocols.frame import Spans
from ids.protocols.framing import Lines, Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.spelling import text
from ids.types import Direction

_CLIENT, _SERVER = Direction

MAX_HEADERS = 256
"""Header fields of one message that are read: there are about 50."""
_TOKEN = rb"[A-Za-z0-9.!%*_+`'~-]{1,32}"
_REQUEST = rb"(?:" + _TOKEN + rb")[ \t]+(?!/)[^\r\n \t]+[ \t]+SIP/\d\.\d[ \t]*[\r\n]"
_RESPONSE = rb"SIP/\d\.\d[ \t]+\d{3}(?:[ \t]|[\r\n])"
_BEGINS = late_pattern(rb"[\r\n]*(?:" + _REQUEST + rb"|" + _RESPONSE + rb")")
_START = late_pattern(
    rb"(?P<method>" + _TOKEN + rb")[ \t]+(?P<uri>\S+)[ \t]+(?P<version>SIP/\S+)[ \t]*"
    rb"|(?P<protocol>SIP/\S+)[ \t]+(?P<code>\d{1,4})(?:[ \t]+(?P<reason>.*))?"
)
_BLANK = late_pattern(rb"\n\r?\n")
"""What ends a head."""
_NAMES = {
    b"from": "sip.from", b"f": "sip.from", b"to": "sip.to", b"t": "sip.to", b"via": "sip.via", b"v": "sip.via",
    b"user-agent": "sip.user_agent", b"content-type": "sip.content_type", b"c": "sip.content_type",
    b"content-length": "sip.content_length", b"l": "sip.content_length",
}  # fmt: skip
"""Header fields that rules test, by their long and their short names (RFC 3261 section 20)."""


def is_sip(data: bytes) -> bool:
    """Return whether a datagram begins with the first line of a message."""
    return _BEGINS.match(data) is not None


def _spans(message: bytes, direction: Direction) -> Spans:
    """Return the frames of a datagram: lines and headers with their line ends."""
    begin = len(message) - len(message.lstrip(b"\r\n"))
    side = "response" if message.startswith(b"SIP/", begin) else "request"
    line = message.find(b"\n", begin) + 1 or len(message)
    blank = _BLANK.search(message, line - 1)
    body = blank.end() if blank is not None else len(message)
    spans = [("pdu", 0, len(message)), (f"{side}.line", begin, line), (f"{side}.headers", line, body)]
    return spans if body == len(message) else [*spans, (f"{side}.body", body, len(message))]


class SipFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "sip"
    frames = staticmethod(_spans)

    __slots__ = ("_heads",)

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._heads: tuple[list[bytes], list[bytes]] = ([], [])
        """By direction: the lines of a head in a stream."""

    def cut(self, direction: Direction) -> Lines:
        """Cut lines; what a head announces behind it is no line."""
        return Lines(self.shared.pool, self.shared.settings.message_bytes)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a datagram, or a line of a stream."""
        if not self._cut:
            head, _, _ = message.data.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
            self._read(direction, head.split(b"\n", MAX_HEADERS + 1)[: MAX_HEADERS + 1])
            return
        lines, line = self._heads[direction], message.data
        cutter = self._cut[direction]
        if message.lost:
            lines.clear()
        if line and message.whole:
            if lines or _START.fullmatch(line):
                self._keep(lines, line)
        elif lines:
            size = self._read(direction, lines)
            lines.clear()
            if size and isinstance(cutter, Lines) and message.whole:
                cutter.raw(size)

    def _keep(self, lines: list[bytes], line: bytes) -> None:
        if len(lines) <= MAX_HEADERS and sum(map(len, lines)) < self.shared.settings.message_bytes:
            lines.append(line)
        else:
            self.count("headers_skipped")

    def _read(self, direction: Direction, lines: list[bytes]) -> int:
        """Hand on what a head says; return how many bytes follow it."""
        found = _START.fullmatch(lines[0].rstrip(b"\r"))
        if found is None:
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), complete=False, odd=("invalid_data",))
            return 0
        line = found[0]
        headers = _headers(lines[1:])
        said: dict[str, bytes | tuple[bytes, ...] | None] = {name: tuple(of) for name, of in headers.items()}
        if found["method"] is not None:
            said |= {
                "sip.method": found["method"], "sip.uri": found["uri"], "sip.protocol": found["version"],
                "sip.request_line": line,
            }  # fmt: skip
            fields = {"method": found["method"], "uri": found["uri"], "version": found["version"], "request_line": line}
        else:
            reason = found["reason"] or b""
            said |= {
                "sip.protocol": found["protocol"], "sip.stat_code": found["code"], "sip.stat_msg": reason,
                "sip.response_line": line,
            }  # fmt: skip
            fields = {"version": found["protocol"], "code": found["code"], "reason": reason, "response_line": line}
        self.say(direction, said, {name: text(of) for name, of in fields.items()}, self.new())
        length = headers.get("sip.content_length", [b""])[0]
        return int(length) if length.isdigit() and len(length) < 10 else 0


def _headers(lines: list[bytes]) -> dict[str, list[bytes]]:
    """Return the values of the header fields that rules test; a line that begins with a blank goes on with another."""
    found: dict[str, list[bytes]] = {}
    last: list[bytes] | None = None
    for line in lines:
        line = line.rstrip(b"\r")
        if line[:1] in (b" ", b"\t"):
            if last:
                last[-1] += b" " + line.strip()
            continue
        name, _, value = line.partition(b":")
        known = _NAMES.get(name.strip().lower())
        last = found.setdefault(known, []) if known is not None else None
        if last is not None:
            last.append(value.strip())
    return found


PROTOCOL = Protocol(
    name="sip",
    usual_ports=frozenset({5060}),
    usual_starts={5060: frozenset(b"\r\n" + ascii_letters.encode())},
    from_client=rb"[\r\n]*" + _REQUEST,
    from_server=rb"[\r\n]*" + _RESPONSE,
    datagram=is_sip,
    settings=DialogueSettings,
    streams=speaking(SipFlow),
    datagrams=speaking(SipFlow),
    oddities=("invalid_data",),
    event="sip",
    of_sender=True,
    buffers=(
        Buffer("sip.method", "sip", None, "method of a request"),
        Buffer("sip.uri", "sip", None, "URI of a request"),
        Buffer("sip.request_line", "sip", None, "first line of a request"),
        Buffer("sip.frame.pdu", "sip", None, "a datagram as it was sent"),
        *(
            Buffer(f"sip.frame.{side}.{part}", "sip", None, f"{what} of a {side} in a datagram, as sent")
            for side in ("request", "response")
            for part, what in (("line", "first line"), ("headers", "headers"), ("body", "body"))
        ),
        Buffer("sip.protocol", "sip", None, "version of a request or response"),
        Buffer("sip.stat_code", "sip", None, "code of a response"),
        Buffer("sip.stat_msg", "sip", None, "text of a response"),
        Buffer("sip.response_line", "sip", None, "first line of a response"),
        Buffer("sip.from", "sip", None, "who sends", several=True),
        Buffer("sip.to", "sip", None, "who is meant", several=True),
        Buffer("sip.via", "sip", None, "over whom it came", several=True),
        Buffer("sip.user_agent", "sip", None, "software of the sender", several=True),
        Buffer("sip.content_type", "sip", None, "type of the body", several=True),
        Buffer("sip.content_length", "sip", None, "length of the body, as sent", several=True),
    ),
)
