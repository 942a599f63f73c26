"""One FTP control connection: each command with its replies is a transaction, and so is the greeting."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ids.later import late_pattern
from ids.protocols.expected import Announcement
from ids.protocols.framing import Lines, Message
from ids.protocols.ftp.settings import FtpSettings
from ids.protocols.protocol import ODDITY, Handover
from ids.protocols.shared import Shared
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_COMMAND = late_pattern(rb"[\s\0]*(?:\xff[\xf0-\xff])*([^\s\0]+)[ \t]*(.*?)\Z", re.DOTALL)
"""Telnet's own commands before ABOR are left out (RFC 959 section 4.1.3)."""
_CODE = late_pattern(rb"(\d\d\d)([ -]|\r?\Z)")
_SIX = late_pattern(rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_EXTENDED = late_pattern(rb"(.)([12]?)\1([0-9A-Fa-f.:]{0,45})\1(\d{1,5})\1")
"""No address has more digits; with any number of them a line of one letter would cost its square."""
TRANSFERS = frozenset({b"RETR", b"STOR", b"APPE", b"STOU"})
"""Commands that move a file."""
EXCHANGE_BYTES = 1024
"""That a command which waits counts for besides its argument,"""
REPLY_BYTES = 128
"""and a line of its replies besides what it says."""
MAX_ANNOUNCED = 8
"""Data connections of one session that may come: a client opens one at a time. Who announces more must not have those
of others forgotten."""
LISTS = frozenset({b"LIST", b"NLST", b"MLSD"})
"""Commands that ask for names."""


@dataclass(slots=True)
class Transfer:
    """What the control connection knows of a data connection."""

    command: bytes = b""
    name: bytes = b""


class Exchange:
    """A command and its replies."""

    __slots__ = ("active", "codes", "command", "cost", "cut", "data", "port", "replies", "reply_cut", "tx_id")

    def __init__(self, tx_id: int, command: bytes, data: bytes, cut: bool) -> None:
        self.tx_id = tx_id
        self.command = command
        """In capitals; empty for the greeting, and for replies that none asked for."""
        self.data = data
        self.cut = cut
        self.port = 0
        """Of the data connection that it is about."""
        self.active = False
        """The server is to open it."""
        self.codes: list[bytes] = []
        self.replies: list[bytes] = []
        self.reply_cut = False
        self.cost = 0
        """Bytes that it holds of the limit that all flows share."""


class FtpSession:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = (
        "_announced", "_at", "_current", "_lines", "_multiline", "_next_id", "_out", "_over", "_shared", "_slot",
        "_transfer",
        "_upgrade", "_waiting",
    )  # fmt: skip

    def __init__(self, shared: Shared[FtpSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        limit = shared.settings.line_bytes
        self._lines = Lines(shared.pool, limit), Lines(shared.pool, limit)
        self._waiting: deque[Exchange] = deque()
        """Commands without their last reply, the oldest first."""
        self._current: Exchange | None = None
        """What replies that no command waits for belong to."""
        self._multiline = b""
        """The code with which a reply of several lines ends."""
        self._transfer = Transfer()
        """Of the data connection that was announced last."""
        self._announced: deque[Announcement] = deque(maxlen=MAX_ANNOUNCED)
        """Data connections that may come."""
        self._upgrade = False
        self._over = False
        """The server says nothing more."""
        self._out: list[Transaction] = []
        self._at = 0, 0

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data = stretch.direction, stretch.data
        self._out, self._at = out, (stretch.ts_ns, stretch.number)
        if stretch.gap:
            self._shared.counters.add("ftp.gap")
        for line in self._lines[direction].feed(data, stretch.gap, stretch.closed):
            if direction is _CLIENT:
                self._command(line)
            else:
                self._reply(line)
                if self._upgrade:
                    self._finish()
                    return Handover(self._next_id, (b"", data[len(data) - line.behind :]), expected="tls")
        self._over |= stretch.closed and direction is _SERVER
        if self._over:  # the client's last commands may come behind that, and nothing answers them
            self._finish()
        return None

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for lines in self._lines:
            lines.release()
        for exchange in (*self._waiting, *([self._current] if self._current is not None else ())):
            self._shared.pool.give(exchange.cost)
            exchange.cost = 0

    def _finish(self) -> None:
        """Report what has no reply."""
        if self._current is not None:
            self._end(self._current)
            self._current = None
        while self._waiting:
            self._end(self._waiting.popleft())

    # Commands.

    def _command(self, line: Message) -> None:
        found = _COMMAND.match(line.data)
        if found is None:
            return
        verb, rest = found[1].upper(), found[2]
        if verb == b"AUTH":
            verb, rest = b"AUTH " + rest.upper(), b""
        if len(self._waiting) >= self._shared.settings.open_commands:
            self._shared.counters.add("ftp.commands_evicted")
            self._end(self._waiting.popleft())
        exchange = Exchange(self._new_id(), verb, rest, not line.whole)
        if not self._afford(exchange, EXCHANGE_BYTES + len(rest)):
            self._finish()  # what waits is reported without its reply
            self._afford(exchange, EXCHANGE_BYTES + len(rest))
        self._waiting.append(exchange)
        self._ports_of_client(exchange)
        if verb in TRANSFERS or verb in LISTS:
            self._transfer.command, self._transfer.name = verb, rest
        self._emit(_CLIENT, exchange, self._asked(exchange), behind=line.behind)
        if exchange.cut:
            self._emit(_CLIENT, exchange, {ODDITY: b"ftp.request_command_too_long"}, behind=line.behind)

    def _afford(self, exchange: Exchange, size: int) -> bool:
        """Return whether an exchange may hold so many bytes more."""
        if not self._shared.pool.take(size):
            return False
        exchange.cost += size
        return True

    def _ports_of_client(self, exchange: Exchange) -> None:
        """Expect the data connection that a client announces."""
        if exchange.command not in (b"PORT", b"EPRT"):
            return
        address = address_of(exchange.command, exchange.data)
        if address is not None:
            exchange.port, exchange.active = address[1], True
            self._expect(exchange.port, from_server=True)

    def _expect(self, port: int, *, from_server: bool) -> None:
        self._transfer = Transfer()
        flow = self._shared.flows.view(self._slot)
        expected = self._shared.expected
        announced = expected.announce(flow, port, "ftp-data", self._transfer, self._at[0], from_server=from_server)
        if announced is not None:
            if len(self._announced) == self._announced.maxlen:
                expected.withdraw(self._announced[0])
            self._announced.append(announced)

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    # Replies.

    def _reply(self, line: Message) -> None:
        found = _CODE.match(line.data)
        if self._multiline:
            last = found is not None and found[1] == self._multiline and found[2] != b"-"
        else:
            if found is None:
                return
            last = found[2] != b"-"
        exchange = self._waiting[0] if self._waiting else self._current
        if exchange is None:
            exchange = self._current = Exchange(self._new_id(), b"", b"", False)
        room = len(exchange.replies) < self._shared.settings.reply_lines
        if room and self._afford(exchange, REPLY_BYTES + len(line.data)):
            exchange.replies.append(line.data[4:] if found is not None else line.data)
        if found is not None and (room or not exchange.codes):
            exchange.codes.append(found[1])
        exchange.reply_cut = exchange.reply_cut or not line.whole
        if not line.whole:
            self._emit(_SERVER, exchange, {ODDITY: b"ftp.response_command_too_long"}, behind=line.behind)
        if not last:
            self._multiline = self._multiline or (found[1] if found is not None else b"")
            return
        self._multiline = b""
        code = exchange.codes[-1] if found is None else found[1]
        self._ports_of_server(exchange, code, line.data)
        if code.startswith(b"1"):
            return
        if self._waiting and self._waiting[0] is exchange:
            self._waiting.popleft()
        else:
            self._current = None
        self._upgrade = code == b"234" and exchange.command.startswith(b"AUTH ")
        self._end(exchange, line.behind)

    def _ports_of_server(self, exchange: Exchange, code: bytes, line: bytes) -> None:
        """Expect the data connection that a server announces."""
        if code == b"227":
            found = _SIX.search(line)
            port = int(found[5]) << 8 | int(found[6]) if found is not None else 0
        elif code == b"229":
            extended = _EXTENDED.search(line, 4)
            port = int(extended[4]) if extended is not None else 0
        else:
            return
        if 0 < port <= 0xFFFF:
            exchange.port = port
            self._expect(port, from_server=False)

    # What comes of it.

    def _asked(self, exchange: Exchange) -> dict[str, bytes]:
        """Return the buffers of a command."""
        buffers = {"ftp.command": exchange.command}
        if exchange.data:
            buffers["ftp.command_data"] = exchange.data
        if exchange.active:
            buffers |= {"ftp.mode": b"active", "ftp.dynamic_port": b"%d" % exchange.port}
            flow = self._shared.flows.view(self._slot)
            address = address_of(exchange.command, exchange.data)
            if address is not None and address[0] is not None and address[0] != packed(flow.src):
                buffers["ftp.bounce"] = address[0]
        return buffers

    def _end(self, exchange: Exchange, behind: int = 0) -> None:
        """Report a command with its replies."""
        self._shared.pool.give(exchange.cost)
        exchange.cost = 0
        buffers: dict[str, bytes] = {}
        more: dict[str, tuple[bytes, ...]] = {}
        if exchange.port and not exchange.active:
            buffers = {"ftp.dynamic_port": b"%d" % exchange.port, "ftp.mode": b"passive"}
        for name, values in (("ftp.reply", exchange.replies), ("ftp.completion_code", exchange.codes)):
            if values:
                buffers[name] = values[0]
                more[name] = tuple(values[1:])
        buffers["ftp.reply_received"] = b"yes" if exchange.codes else b"no"
        self._emit(_SERVER, exchange, buffers, more, complete=True, behind=behind)

    def _emit(
        self,
        direction: Direction,
        exchange: Exchange,
        buffers: dict[str, bytes],
        more: dict[str, tuple[bytes, ...]] | None = None,
        *,
        complete: bool = False,
        behind: int = 0,
    ) -> None:
        self._out.append(
            Transaction(
                self._shared.flows, self._slot, "ftp", exchange.tx_id, direction, buffers, lambda: _fields(exchange),
                *self._at, complete, more=more or {}, behind=behind,
            )
        )  # fmt: skip


def _fields(exchange: Exchange) -> dict[str, Any]:
    """Return what EVE logs of a command."""
    logged: dict[str, Any] = {}
    if exchange.command:
        logged["command"] = text(exchange.command)
        if exchange.data:
            logged["command_data"] = text(exchange.data)
            logged["command_truncated"] = exchange.cut
    if exchange.codes:
        logged["completion_code"] = [text(code) for code in exchange.codes]
    if exchange.replies:
        logged["reply"] = [text(reply.rstrip()) for reply in exchange.replies]
    if exchange.port:
        logged["dynamic_port"] = exchange.port
    if exchange.command in (b"PORT", b"EPRT"):
        logged["mode"] = "active" if exchange.active else "passive"
    logged["reply_received"] = "yes" if exchange.codes else "no"
    logged["reply_truncated"] = exchange.reply_cut
    return logged


def address_of(command: bytes, data: bytes) -> tuple[bytes | None, int] | None:
    """Return address (16 bytes; None where it names none) and port that PORT or EPRT says; None where it says none."""
    if command == b"PORT":
        found = _SIX.match(data)
        numbers = [int(one) for one in found.groups()] if found is not None else []
        if not numbers or max(numbers) > 0xFF:
            return None
        return b"\0" * 10 + b"\xff\xff" + bytes(numbers[:4]), numbers[4] << 8 | numbers[5]
    extended = _EXTENDED.match(data)
    if extended is None or not 0 < int(extended[4]) <= 0xFFFF:
        return None
    try:
        address = ip_address(extended[3].decode())
    except ValueError:
        return None, int(extended[4])
    raw = address.packed
    return (raw if len(raw) == 16 else b"\0" * 10 + b"\xff\xff" + raw), int(extended[4])


def packed(address: tuple[int, int]) -> bytes:
    """Return an address as `ids.types.Flow` has it as 16 bytes."""
    return b"".join([half.to_bytes(8, "big") for half in address])
