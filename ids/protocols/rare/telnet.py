"""Telnet (RFC 854): what a client types and what comes back, and what both sides negotiate.

A line of the client is a transaction, with what the server says up to the next one: that is a command with its output,
as one who writes rules thinks of a session. Lines between which the server says nothing are one together. What comes
before the first line is one too: the negotiation, and the server's greeting up to its prompt.
`ids.protocols.rare.telnet_stream` takes the commands out of the text, `ids.protocols.rare.telnet_line` what was erased.

Where a prompt ends in words such as ``login:`` and ``Password:``, what is typed behind it is a name, or a password.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Said, Shared, speaking
from ids.protocols.framing import Message
from ids.protocols.protocol import Buffer, Handover, Protocol
from ids.protocols.rare.telnet_stream import DO, DONT, WILL, WONT, TelnetStream
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction

MAX_OPTIONS = 64
"""Negotiated options of one transaction that are logged."""
MAX_VARIABLES = 64
"""Variables of one message of a client that are read: it has some tens."""
LOGGED_LINES = 16
"""Lines of a side that are logged of one transaction; rules see all."""
LINES_TOGETHER = 64
"""Lines of a client that are one transaction, while the server says nothing: an event for each would be a flood."""
LOGGED_BYTES = 256
"""Of each line, and of what was negotiated, that are logged."""
ECHO_BYTES = 64
"""Of what was typed that may stand behind a prompt, sent back."""

_VERBS = {WILL: "will", WONT: "wont", DO: "do", DONT: "dont"}
_OPTIONS = {
    0: "binary", 1: "echo", 3: "suppress-go-ahead", 5: "status", 6: "timing-mark", 18: "logout", 23: "send-location",
    24: "terminal-type", 25: "end-of-record", 31: "window-size", 32: "terminal-speed", 33: "remote-flow-control",
    34: "linemode", 35: "x-display-location", 36: "environment", 37: "authentication", 38: "encrypt",
    39: "new-environment", 40: "tn3270e", 42: "charset", 44: "com-port", 46: "start-tls", 85: "compress",
    86: "compress2",
}  # fmt: skip
"""IANA's registry of Telnet options."""
_TERMINAL, _OLD_ENVIRONMENT, _ENCRYPT, _ENVIRONMENT, _COMPRESS = 24, 36, 38, 39, 86
_OPAQUE = {_ENCRYPT: "encrypted", _COMPRESS: "compressed"}
"""Options behind whose beginning text is not to be read."""
_IS, _INFO, _START = 0, 2, 3
_VARIABLE, _VALUE, _ESCAPE, _USER_VARIABLE = range(4)
"""What stands in an environment (RFC 1572)."""
_LOGIN = late_pattern(rb"(?i)(?:login|user ?name|user|account)[ \t]*[:>][ \t]*\Z")
_PASSWORD = late_pattern(rb"(?i)(?:passwor[dt]|passwd|passphrase|passcode)[ \t]*[:>][ \t]*\Z")
_HIDDEN = "***"


class TelnetSettings(DialogueSettings):
    """Bounds of the Telnet parser, and what it logs."""

    message_bytes: int = Field(
        default=4096,
        ge=256,
        le=1024 * 1024,
        description="Bytes of a line, erased ones apart; what is longer comes as several, each with the end of the one"
        " before it. Of a negotiation the first so many are read.",
    )
    passwords: bool = Field(
        default=False,
        description="Write to events what is typed where a password is asked for; rules see it in any case.",
    )


class Exchange:
    """A line of the client, or some, and what came back."""

    __slots__ = ("answered", "fields", "lines", "options", "tx_id", "typed")

    def __init__(self, tx_id: int) -> None:
        self.tx_id = tx_id
        self.fields: dict[str, Any] = {}
        self.options: list[str] = []
        self.lines = self.typed = 0
        """Of the server, and of the client."""
        self.answered = False
        """The server said something, an end of a line at least."""

    def logged(self) -> EveFields:
        """Return what EVE logs of it."""
        fields = {name: list(of) if isinstance(of, list) else of for name, of in self.fields.items()}
        if self.options:
            fields["options"] = list(self.options)
        if self.lines > LOGGED_LINES:
            fields["server_lines"] = self.lines
        if self.typed > LOGGED_LINES:
            fields["client_lines"] = self.typed
        return fields


class TelnetFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "telnet"

    __slots__ = ("_agreed", "_also", "_deaf", "_exchange", "_streams")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        limit = shared.settings.message_bytes
        self._streams = TelnetStream(shared.pool, limit, typed=True), TelnetStream(shared.pool, limit)
        self._cut.extend(self._streams)
        self._exchange: Exchange | None = None
        self._also: list[bytes] = []
        """Other forms of the line that comes next."""
        self._agreed: set[tuple[Direction, int, int]] = set()
        """Who said WILL or DO of options of `_OPAQUE`."""
        self._deaf = [False, False]
        """By direction: what follows is encrypted or compressed."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction."""
        if stretch.gap:
            self.count("gap")
        if self._deaf[stretch.direction]:
            stretch = stretch._replace(data=b"", gap=0)
        return super().feed(stretch, out)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a line, or a command."""
        kind, content = message.data[:1], message.data[1:]
        if self._deaf[direction] or kind == b"C":
            return
        if kind == b"T":
            if direction is _SERVER:
                self._hear(content)
            else:
                self._type(content, typed=message.whole)
        elif kind == b"A":
            self._also.append(content)
        elif kind == b"X":
            exchange = self._current
            self.say(direction, {}, exchange.logged, exchange.tx_id, complete=False, odd=(content.decode(),))
        elif kind == b"O":
            self._negotiate(direction, content[0], content[1])
        else:
            self._take_details(direction, content)

    def end(self) -> None:
        """Say what was said last."""
        self._finish(_SERVER)

    @property
    def _current(self) -> Exchange:
        if self._exchange is None:
            self._exchange = Exchange(self.new())
        return self._exchange

    def _part(self, direction: Direction, said: Said) -> None:
        """Say a part of what is going on."""
        exchange = self._current
        self.say(direction, said, exchange.logged, exchange.tx_id, complete=False)

    def _finish(self, direction: Direction) -> None:
        """End the transaction."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self.say(direction, {}, exchange.logged, exchange.tx_id)

    # Text.

    def _hear(self, line: bytes) -> None:
        """Take a line of the server."""
        if not line:
            if self._exchange is not None:
                self._exchange.answered = True
            return
        exchange = self._current
        exchange.answered = True
        exchange.lines += 1
        if exchange.lines <= LOGGED_LINES:
            exchange.fields.setdefault("server", []).append(text(line[:LOGGED_BYTES]))
        self._part(_SERVER, {"telnet.server": line})

    def _type(self, line: bytes, *, typed: bool) -> None:
        """Take a line of the client: what the server said before it is of the last one."""
        also, self._also = self._also, []
        forms = tuple([form for form in (line, *also) if form])
        if not forms:
            return
        prompt = self._streams[_SERVER].begun()
        if prompt:
            self._hear(prompt)
        exchange = self._of_line()
        said: dict[str, bytes | tuple[bytes, ...] | None] = {"telnet.client": forms}
        shown = text(forms[0][:LOGGED_BYTES])
        asked = min([_before_echo(prompt, form) for form in forms], key=len)
        if typed and _LOGIN.search(asked):
            said["telnet.user"] = line
            exchange.fields["user"] = shown
        elif _PASSWORD.search(asked):
            if typed:
                said["telnet.password"] = line
            settings = cast(TelnetSettings, self.shared.settings)
            shown = shown if settings.passwords else _HIDDEN
        if exchange.typed <= LOGGED_LINES:
            exchange.fields.setdefault("client", []).append(shown)
        self._part(_CLIENT, said)

    def _of_line(self) -> Exchange:
        """Return the exchange of a line that is typed now: that of the last one, where nothing came back of it."""
        known = self._exchange
        if known is None or not known.typed or known.answered or known.typed == LINES_TOGETHER:
            self._finish(_CLIENT)
        exchange = self._current
        exchange.answered = False
        exchange.typed += 1
        return exchange

    # Negotiation.

    def _negotiate(self, direction: Direction, verb: int, option: int) -> None:
        """Take what one side wants of an option."""
        said = f"{_VERBS[verb]} {_OPTIONS.get(option, option)}"
        options = self._current.options
        if len(options) < MAX_OPTIONS:
            options.append(f"{'server' if direction is _SERVER else 'client'} {said}")
        if option in _OPAQUE and verb in (WILL, DO):
            self._agreed.add((direction, verb, option))
        self._part(direction, {"telnet.option": said.encode()})

    def _take_details(self, direction: Direction, content: bytes) -> None:
        """Take what one side says of an option."""
        option, rest = content[:1], content[1:]
        number = option[0] if option else -1
        self._streams[1 - direction].understands = True
        if number in _OPAQUE:
            both = {(direction, WILL, number), (Direction(1 - direction), DO, number)}
            if both <= self._agreed and (number == _COMPRESS or rest[:1] == bytes((_START,))):
                self.count(_OPAQUE[number])
                self._deaf[direction] = True
                self._current.fields[_OPAQUE[number]] = True
        elif number == _TERMINAL and rest[:1] == bytes((_IS,)):
            self._current.fields["terminal_type"] = text(rest[1 : 1 + LOGGED_BYTES])
            self._part(direction, {"telnet.terminal_type": rest[1:]})
        elif number in (_ENVIRONMENT, _OLD_ENVIRONMENT) and rest[:1] in (bytes((_IS,)), bytes((_INFO,))):
            variables = environment(rest[1:])
            known = self._current.fields.setdefault("environment", {})
            for name, value in variables[: MAX_VARIABLES - len(known)]:
                known[text(name[:LOGGED_BYTES])] = text(value[:LOGGED_BYTES])
            self._part(direction, {"telnet.environment": tuple([name + b"=" + value for name, value in variables])})


def environment(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return names and values of the variables that a client says, the first ones; one without a value has an empty
    one.
    """
    found: list[tuple[bytearray, bytearray]] = []
    into = bytearray()
    escaped = False
    for byte in content:
        if escaped or byte > _USER_VARIABLE:
            into.append(byte)
            escaped = False
        elif byte == _ESCAPE:
            escaped = True
        elif byte == _VALUE:
            into = found[-1][1] if found else into
        elif len(found) == MAX_VARIABLES:
            break
        else:
            into = bytearray()
            found.append((into, bytearray()))
    return [(bytes(name), bytes(value)) for name, value in found]


def _before_echo(prompt: bytes, line: bytes) -> bytes:
    """Return what a server asked, without what it had sent back of the answer."""
    for size in range(min(len(line), ECHO_BYTES), 0, -1):
        if prompt.endswith(line[:size]):
            return prompt[:-size]
    return prompt


_OPTION = rb"(?s:\xff[\xfb-\xfe][\x00-\x31\x8a-\x8c\xff])"
_BEGINS = _OPTION + rb"(?:" + _OPTION + rb"|(?s:\xff\xfa))"
"""Two negotiations of an option in a row: one alone could be chance."""

PROTOCOL = Protocol(
    name="telnet",
    from_client=_BEGINS,
    from_server=_BEGINS,
    settings=TelnetSettings,
    streams=speaking(TelnetFlow),
    event="telnet",
    ours=True,
    oddities=("long_subnegotiation", "unended_subnegotiation"),
    buffers=(
        Buffer(
            "telnet.client",
            "telnet",
            _CLIENT,
            "line that was typed; where it was edited, also as sent",
            several=True,
        ),
        Buffer("telnet.server", "telnet", _SERVER, "line of the server, or its prompt"),
        Buffer("telnet.user", "telnet", _CLIENT, "what was typed where a name was asked for"),
        Buffer("telnet.password", "telnet", _CLIENT, "what was typed where a password was asked for"),
        Buffer("telnet.option", "telnet", None, "option that one side negotiates: `do terminal-type`"),
        Buffer("telnet.terminal_type", "telnet", None, "type of the terminal: `XTERM`"),
        Buffer("telnet.environment", "telnet", None, "variable of the client's environment: `USER=root`", several=True),
    ),
)
