"""One IMAP session (RFC 9051): each command with the reply that ends it is a transaction."""

from __future__ import annotations

import re
from typing import Any

from ids.later import late_pattern
from ids.protocols.framing import Message
from ids.protocols.mailbox.session import Session
from ids.protocols.mailbox.settings import MailboxSettings
from ids.protocols.protocol import Handover
from ids.protocols.shared import Shared
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.protocols.waiting import Waiting
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_COMMAND = late_pattern(rb"([^\s\0]+)[ \t]+((?i:UID[ \t]+)?[^\s\0]+)[ \t]*(.*)", re.DOTALL)
_LITERAL = late_pattern(rb"~?\{(\d{1,12})\+?\}\Z")
"""What says that so many bytes follow."""
_MAIL = late_pattern(rb"(?i:BODY\[[^\]]*\](?:<\d+>)?|RFC822(?:\.HEADER|\.TEXT)?|BINARY\[[^\]]*\])[ \t]+~?\{\d+\+?\}\Z")
"""What stands before a mail, or a part of one, in an answer to FETCH."""
_TALKS = frozenset({b"AUTHENTICATE", b"IDLE"})
"""Commands in which what the client says is none, once the server asks it to go on."""


class Exchange:
    """A command and the reply that ends it."""

    __slots__ = ("args", "command", "reply", "tag", "tx_id")

    def __init__(self, tx_id: int, tag: bytes, command: bytes, args: bytes) -> None:
        self.tx_id = tx_id
        self.tag = tag
        self.command = command
        self.args = args
        self.reply: bytes | None = None

    def fields(self) -> dict[str, Any]:
        """Return what is logged of it."""
        logged = {"tag": text(self.tag), "command": text(self.command)}
        if self.args:
            logged["command_data"] = text(self.args)
        if self.reply is not None:
            logged["reply"] = text(self.reply)
        return logged


class ImapSession(Session):
    """Both directions of a flow; a `StreamParser`."""

    def __init__(self, shared: Shared[MailboxSettings], slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self.waiting: Waiting[bytes, Exchange] = Waiting(shared, shared.settings.open_commands, "commands_evicted")
        """Commands without the reply that ends them, by tag, the oldest first."""
        self._goes_on = [False, False]
        """By direction: the next line goes on behind a literal."""
        self._literal = [False, False]
        """By direction: a mail is on its way as a literal."""
        self._may_talk: bytes | None = None
        """Tag of a command in which the server may ask the client to go on,"""
        self._talks: bytes | None = None
        """and of that in which it did: the client's lines are no commands."""
        self._upgrade = self._opaque = False
        self._over = False
        """The server says nothing more."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, closed = stretch.direction, stretch.data, stretch.closed
        self.out, self.at = out, (stretch.ts_ns, stretch.number)
        if stretch.gap:
            self.shared.counters.add("imap.gap")
        if not self._opaque:
            for piece in self.lines[direction].feed(data, stretch.gap, closed):
                if self._take(direction, piece):
                    break
            else:
                piece = Message(b"", 0)
            if self._upgrade:
                return Handover(self.next_id, (b"", data[len(data) - piece.behind :]), expected="tls")
        if closed and direction is self.mail_from:
            self.end_mail(whole=False)
        self._over |= closed and direction is _SERVER
        if self._over:  # the client's last commands may come behind that, and nothing answers them
            for exchange in self.waiting.rest():
                self._end(exchange)
        return None

    def _take(self, direction: Direction, piece: Message) -> bool:
        """Take a line, or a piece of a literal; return whether what follows is not IMAP."""
        if self._literal[direction]:
            if self.mail is not None and self.mail_from is direction:
                if piece.lost:
                    self.mail.gap(piece.lost)
                self.feed_mail(piece.data)
            if piece.whole:
                self._literal[direction] = False
                if self.mail_from is direction:
                    self.end_mail(behind=piece.behind)
            return False
        goes_on, self._goes_on[direction] = self._goes_on[direction], False
        exchange: Exchange | None = None
        if direction is _CLIENT:
            if not goes_on and self._talks is None:
                exchange = self._command(piece)
            elif goes_on:
                exchange = self.waiting.newest()
        elif not goes_on:
            self._reply(piece)
        literal = _LITERAL.search(piece.data) if piece.whole else None
        if literal is None or self._upgrade or self._opaque:
            return self._upgrade or self._opaque
        self._goes_on[direction] = True
        size = int(literal[1])
        if not size:
            return False
        self._literal[direction] = True
        self.lines[direction].raw(size)
        if direction is _SERVER and _MAIL.search(piece.data):
            asked = self.waiting.oldest()
            self.begin_mail(
                asked.tx_id if asked is not None else self.next_id, _SERVER, asked.fields if asked else dict
            )
        elif exchange is not None and exchange.command == b"APPEND":
            self.begin_mail(exchange.tx_id, _CLIENT, exchange.fields)
        return False

    def _command(self, line: Message) -> Exchange | None:
        found = _COMMAND.match(line.data)
        if found is None:
            return None
        tag, command = found[1], b" ".join(found[2].upper().split())
        exchange = Exchange(self.new_id(), tag, command, found[3])
        given_up = self.waiting.put(tag, exchange, len(line.data))
        for one in given_up:
            if one is not exchange:
                self._end(one)
        if command in _TALKS:
            self._may_talk = tag
        buffers = {"imap.command": command}
        if exchange.args:
            buffers["imap.command_data"] = exchange.args
        self.emit(exchange.tx_id, _CLIENT, buffers, exchange.fields, behind=line.behind)
        if exchange in given_up:
            self._end(exchange, line.behind)
        return exchange

    def _reply(self, line: Message) -> None:
        tag, _, rest = line.data.partition(b" ")
        if tag == b"+":
            self._talks = self._may_talk
            return
        exchange = self.waiting.take(tag)
        if exchange is None:
            return
        exchange.reply = rest
        if tag == self._may_talk:
            self._may_talk = self._talks = None
        granted = rest[:2].upper() == b"OK"
        self._upgrade = granted and exchange.command == b"STARTTLS"
        if granted and exchange.command == b"COMPRESS":
            self.shared.counters.add("imap.compressed")
            self._opaque = True
        self._end(exchange, line.behind)

    def _end(self, exchange: Exchange, behind: int = 0) -> None:
        buffers = {"imap.reply": exchange.reply} if exchange.reply is not None else {}
        self.emit(exchange.tx_id, _SERVER, buffers, exchange.fields, complete=True, behind=behind)
