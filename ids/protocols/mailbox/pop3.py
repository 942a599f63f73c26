"""One POP3 session (RFC 1939): each command with its reply is a transaction, and so is the greeting."""

from __future__ import annotations

import re
from typing import Any

from ids.later import late_pattern
from ids.protocols.framing import Message
from ids.protocols.mailbox.session import Session
from ids.protocols.mailbox.settings import MailboxSettings
from ids.protocols.protocol import Handover
from ids.protocols.shared import Shared
from ids.protocols.smtp.body import Body
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.protocols.waiting import Waiting
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_COMMAND = late_pattern(rb"[\s\0]*([^\s\0]+)[ \t]*(.*)", re.DOTALL)
_MAILS = frozenset({b"RETR", b"TOP"})
_LEAST = 128
"""Bytes of a command, and of its arguments, that wait in any case."""
_LONG = frozenset({b"CAPA", b"LIST", b"UIDL", b"AUTH"})
"""Commands whose reply has several lines where they have no argument."""


class Exchange:
    """A command and its reply."""

    __slots__ = ("args", "command", "reply", "tx_id")

    def __init__(self, tx_id: int, command: bytes, args: bytes) -> None:
        self.tx_id = tx_id
        self.command = command
        """In capitals; empty for the greeting."""
        self.args = args
        self.reply: bytes | None = None

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs of it, as Suricata 8 does."""
        logged: dict[str, Any] = {}
        if self.command:
            logged["request"] = {"command": text(self.command), "args": [text(one) for one in self.args.split()]}
        if self.reply is not None:
            status, _, header = self.reply.partition(b" ")
            logged["response"] = {
                "success": status == b"+OK", "status": text(status[1:]), "header": text(header), "data": [],
            }  # fmt: skip
        return logged


class Pop3Session(Session):
    """Both directions of a flow; a `StreamParser`."""

    def __init__(self, shared: Shared[MailboxSettings], slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self.waiting: Waiting[int, Exchange] = Waiting(shared, shared.settings.open_commands, "commands_evicted")
        """Commands without their reply, by their ids."""
        self._body: Body | None = None
        """Of a reply of several lines."""
        self._upgrade = False
        self._over = False
        """The server says nothing more."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        self.out, self.at = out, (ts_ns, number)
        if gap:
            self.shared.counters.add("pop3.gap")
        if direction is _CLIENT:
            for line in self.lines[_CLIENT].feed(data, gap, closed):
                self._command(line)
            if self._over:  # the client's last commands may come behind that, and nothing answers them
                self._end_all()
            return None
        rest = self._replies(data, gap)
        if closed:
            for line in self.lines[_SERVER].feed(b"", closed=True):
                self._reply(line)
            self.end_mail(whole=False)
            self._over = True
            self._end_all()
        return Handover(self.next_id, (b"", rest), expected="tls") if self._upgrade else None

    def _end_all(self) -> None:
        for exchange in self.waiting.rest():
            self._end(exchange)

    def _command(self, line: Message) -> None:
        found = _COMMAND.match(line.data)
        if found is None:
            return
        exchange = Exchange(self.new_id(), found[1].upper(), found[2].rstrip())
        for one in self.waiting.put(exchange.tx_id, exchange, len(line.data)):
            if one is not exchange:
                self._end(one)
        if exchange.tx_id not in self.waiting:  # answers have no names: the next is to find what it answers
            short = Exchange(exchange.tx_id, exchange.command[:_LEAST], exchange.args[:_LEAST])
            self.waiting.put(short.tx_id, short, 2 * _LEAST)
        buffers = {"pop3.command": exchange.command}
        if exchange.args:
            buffers["pop3.command_data"] = exchange.args
        self.emit(exchange.tx_id, _CLIENT, buffers, exchange.fields, behind=line.behind)

    def _replies(self, data: bytes, gap: int) -> bytes:
        """Read replies; return what stands behind the one that begins TLS."""
        while data or gap:
            if self._body is not None:
                data, gap = self._take_body(data, gap), 0
                continue
            rest = b""
            for line in self.lines[_SERVER].feed(data, gap):
                if self._reply(line):
                    rest = data[len(data) - line.behind :]
                    break
            if self._upgrade:
                return rest
            data, gap = rest, 0
        return b""

    def _take_body(self, data: bytes, gap: int) -> bytes:
        """Read lines of a reply up to their end; return what stands behind it."""
        body = self._body
        assert body is not None
        if gap and self.mail is not None:
            self.mail.gap(gap)
        content, behind = body.feed(data)
        self.feed_mail(content)
        if not body.ended:
            return b""
        self._body = None
        self.end_mail(behind=behind)
        exchange = self.waiting.take_oldest()
        if exchange is not None:
            self._end(exchange, behind)
        return data[len(data) - behind :]

    def _reply(self, line: Message) -> bool:
        """Take the first line of a reply; return whether what follows is no such line."""
        if not line.data.startswith((b"+", b"-")) or line.data[:2] in (b"+ ", b"+"):
            return False  # the latter asks for more of a login
        exchange = self.waiting.oldest()
        if exchange is None:
            exchange = Exchange(self.new_id(), b"", b"")
            self.waiting.put(exchange.tx_id, exchange, 0)
        exchange.reply = line.data
        granted = line.data.startswith(b"+OK")
        if granted and (exchange.command in _MAILS or (exchange.command in _LONG and not exchange.args)):
            self._body = Body()
            if exchange.command in _MAILS:
                self.begin_mail(exchange.tx_id, _SERVER, exchange.fields)
            return True
        self._upgrade = granted and exchange.command == b"STLS"
        self.waiting.take(exchange.tx_id)
        self._end(exchange, line.behind)
        return self._upgrade

    def _end(self, exchange: Exchange, behind: int = 0) -> None:
        buffers = {"pop3.reply": exchange.reply} if exchange.reply is not None else {}
        self.emit(exchange.tx_id, _SERVER, buffers, exchange.fields, complete=True, behind=behind)
