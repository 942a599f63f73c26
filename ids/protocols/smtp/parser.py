"""One SMTP session: commands and replies, and the mails between them.

THEORY.

(1) A command waits for its reply. What stands behind DATA or STARTTLS is a mail, a handshake, or further commands,
    and only the server's answer says which: it waits for that, up to ``hold_bytes``. Where nothing was heard of the
    server at all, it is taken for what the client means it to be.
(2) Ids of transactions count as Suricata's do: a mail that was sent, and a RSET that was granted, end one; the next
    command, whichever it is, begins another.
(3) Where servers differ about the end of a mail (`body`), both readings are inspected: as if it ended, and as if it
    went on up to the end that all see. While one goes on, no other begins, or many small mails would cost their square.

COST. O(bytes); Python runs once a command and once a run of a mail's lines. MEMORY as the settings say.
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum, auto

from ids.later import late_pattern
from ids.protocols.framing import Lines, Message
from ids.protocols.mime import Mail
from ids.protocols.protocol import Handover
from ids.protocols.shared import Shared
from ids.protocols.smtp.beyond import Beyond
from ids.protocols.smtp.body import Body
from ids.protocols.smtp.exchanges import Exchange, Exchanges
from ids.protocols.smtp.settings import SmtpSettings
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_VERB = late_pattern(rb"[\s\0]*([A-Za-z0-9]+)[ \t]*(.*)", re.DOTALL)
_FROM = late_pattern(rb"FROM[ \t]*:?[ \t]*(<[^>]*>|\S*)", re.IGNORECASE)
_TO = late_pattern(rb"TO[ \t]*:?[ \t]*(<[^>]*>|\S*)", re.IGNORECASE)
_SIZE = late_pattern(rb"(\d{1,15})")
_MOST_SIZE = 1 << 40
_TLS_RECORD = b"\x16"
_MANY = 8
"""Instances of the envelope's other buffers that are kept."""
_AT_ONCE = 8192
"""Bytes of the client that are read at once: what stands behind a command or a mail among them is copied."""
_CODE = late_pattern(rb"[1-5]\d\d(?=[ \r-]|\Z)")


class Mode(Enum):
    """What the client's next bytes are."""

    COMMAND = auto()
    AWAIT = auto()
    """What the server says they are, who was asked by DATA or STARTTLS."""
    DATA = auto()
    CHUNK = auto()


class Asked(Enum):
    """Commands whose reply matters."""

    OTHER = auto()
    STARTTLS = auto()
    DATA = auto()
    RSET = auto()
    AUTH = auto()


class SmtpSession:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = (
        "_alone", "_asked", "_authenticates", "_beyond", "_body", "_chunk", "_deaf", "_exchanges", "_greeted", "_heard",
        "_last_chunk", "_lines", "_mode", "_pipelining", "_shared", "_slot", "_upgrade", "_waiting",
    )  # fmt: skip

    def __init__(self, shared: Shared[SmtpSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._exchanges = Exchanges(shared, slot, tx_id)
        limit = shared.settings.line_bytes
        self._lines = Lines(shared.pool, limit), Lines(shared.pool, limit)
        self._mode = Mode.COMMAND
        self._asked: deque[Asked] = deque()
        """Commands without a reply."""
        self._waiting = bytearray()
        """Bytes of the client that wait for the server to say what they are."""
        self._body = Body()
        self._beyond = Beyond(self._exchanges, shared.counters)
        """A mail that goes on to servers that saw no end in what ended it."""
        self._chunk = 0
        """Bytes of a chunk (BDAT) that are still to come; the last one of its mail or not."""
        self._last_chunk = False
        self._authenticates = False
        """The next line of the client is no command."""
        self._heard = self._greeted = self._pipelining = False
        """Something was heard of the server; its greeting; that it takes several commands at once."""
        self._alone = False
        """The client spoke first."""
        self._deaf = False
        """It did not answer where it should have, and has said nothing since."""
        self._upgrade = False
        """What follows is TLS."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        self._exchanges.out, self._exchanges.at = out, (stretch.ts_ns, stretch.number)
        rest = b""
        if stretch.direction is _SERVER:
            rest = self._server(stretch.data, stretch.gap, stretch.closed)
        else:
            if stretch.gap:
                self._lose(stretch.gap)
            self._client(stretch.data)
            if stretch.closed:
                self._end()
        if self._upgrade:
            return self._hand_over(rest)
        return None

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for lines in self._lines:
            lines.release()
        self._give_waiting()
        self._beyond.drop()
        self._exchanges.release()
        if self._exchanges.current is not None and self._exchanges.current.mail is not None:
            self._exchanges.current.mail.release()

    # The client.

    def _client(self, data: bytes) -> None:
        """Read what the client says, in whatever mode it is."""
        after = self._exchanges.after
        for at in range(0, len(data), _AT_ONCE):
            piece = data[at : at + _AT_ONCE]
            self._exchanges.after = after + len(data) - at - len(piece)
            self._read(piece)
        self._exchanges.after = after

    def _read(self, data: bytes) -> None:
        at, size = 0, len(data)
        while at < size:
            start, beyond = at, self._beyond.mail
            match self._mode:
                case Mode.AWAIT:
                    self._wait(data[at:])
                    return
                case Mode.DATA:
                    at = size - self._take_data(data[at:] if at else data)
                case Mode.CHUNK:
                    at += self._take_chunk(data[at : at + self._chunk])
                case Mode.COMMAND:
                    at = self._take_commands(data, at)
            if beyond is not None and beyond is self._beyond.mail:
                self._beyond.feed(data[start:at])

    def _take_commands(self, data: bytes, at: int) -> int:
        """Read commands from a place on; return where they end, or another mode begins."""
        size = len(data)
        for line in self._lines[_CLIENT].feed(data[at:] if at else data):
            self._command(line)
            if self._mode is not Mode.COMMAND:
                return size - line.behind
        return size

    def _command(self, line: Message) -> None:
        if not line.whole:
            self._exchanges.complain(b"max_command_line_len_exceeded")
            self._exchanges.complain(b"truncated_line")
        if self._authenticates:
            self._authenticates = False
            return
        exchange = self._exchanges.current
        if exchange is None or exchange.done:
            exchange = self._exchanges.begin()
        if not self._heard and not self._alone:
            self._alone = True
            self._exchanges.complain(b"no_server_welcome_message")
        found = _VERB.match(line.data)
        verb, rest = (found[1].upper(), found[2]) if found is not None else (b"", b"")
        asked = Asked.OTHER
        match verb:
            case b"HELO" | b"EHLO" | b"LHLO":
                self._hello(rest)
            case b"MAIL":
                self._sender(rest)
            case b"RCPT":
                self._recipient(exchange, rest)
            case b"DATA":
                asked = Asked.DATA
                self._exchanges.envelope(exchange)
                if self._heard and not self._deaf:
                    self._mode = Mode.AWAIT
                else:
                    self._mode = Mode.DATA
                    self._begin_mail()
            case b"BDAT":
                self._begin_chunk(rest)
            case b"RSET":
                asked = Asked.RSET
                exchange.reset = True
                self._exchanges.envelope(exchange)
            case b"STARTTLS":
                asked = Asked.STARTTLS
                if self._heard and not self._deaf:
                    self._mode = Mode.AWAIT
            case b"AUTH":
                asked = Asked.AUTH
            case b"QUIT":
                self._exchanges.envelope(exchange)
        self._ask(asked)

    def _ask(self, asked: Asked) -> None:
        if len(self._asked) >= self._shared.settings.open_commands:
            self._shared.counters.add("smtp.commands_evicted")
            self._asked.popleft()
        self._asked.append(asked)

    def _hello(self, rest: bytes) -> None:
        if self._exchanges.helo:
            self._exchanges.complain(b"duplicate_fields")
        name = rest.split(b" ")[0].rstrip()
        if len(self._exchanges.helo) < _MANY and self._exchanges.keep(self._exchanges.helo, name):
            self._exchanges.emit(_CLIENT, {"smtp.helo": self._exchanges.helo[-1]})

    def _sender(self, rest: bytes) -> None:
        exchange = self._exchanges.current
        assert exchange is not None
        if exchange.sent or exchange.reset:  # a mail in chunks was before it, or the answer is to come
            self._exchanges.finish(exchange)
            exchange = self._exchanges.begin()
        found = _FROM.match(rest)
        if found is None:
            return
        if exchange.mail_from:
            self._exchanges.complain(b"duplicate_fields")
        if len(exchange.mail_from) < _MANY and self._exchanges.keep(exchange.mail_from, found[1]):
            exchange.reported = False

    def _recipient(self, exchange: Exchange, rest: bytes) -> None:
        found = _TO.match(rest)
        if found is None:
            return
        room = len(exchange.rcpt_to) < self._shared.settings.recipients
        if not (room and self._exchanges.keep(exchange.rcpt_to, found[1])):
            self._shared.counters.add("smtp.recipients_dropped")
            return
        exchange.reported = False

    def _wait(self, data: bytes) -> None:
        """Let bytes wait for the server's answer."""
        asked = self._asked[-1] if self._asked else Asked.OTHER
        if not (asked is Asked.DATA and self._pipelining):
            self._exchanges.complain(b"invalid_pipelined_sequence")
        if len(self._waiting) + len(data) > self._shared.settings.hold_bytes or not self._shared.pool.take(len(data)):
            self._shared.counters.add("smtp.unanswered")
            self._deaf = True
            self._go_on(accepted=asked is Asked.DATA)
            self._client(data)
            return
        self._waiting += data

    def _go_on(self, accepted: bool) -> None:
        """Read what has waited: a mail where the server ``accepted`` one, else commands."""
        self._mode = Mode.DATA if accepted else Mode.COMMAND
        if accepted:
            self._begin_mail()
        waiting = self._give_waiting()
        if waiting:
            self._client(waiting)

    def _give_waiting(self) -> bytes:
        waiting, self._waiting = bytes(self._waiting), bytearray()
        self._shared.pool.give(len(waiting))
        return waiting

    # Mails.

    def _begin_mail(self) -> None:
        exchange = self._exchanges.current
        if exchange is None or exchange.done:
            exchange = self._exchanges.begin()
        unended = exchange.mail is not None and not exchange.mail.ended
        if unended:
            self._exchanges.complain(b"unparsable_content")
        if unended or exchange.reset:  # whose answer, still to come, ends what was before it
            self._exchanges.finish(exchange)
            exchange = self._exchanges.begin()
        if exchange.mail is not None:  # one in chunks has ended, and nothing has ended its transaction
            exchange.mail.release()
        self._exchanges.envelope(exchange)
        shared = self._shared
        flow = self._slot, "smtp", exchange.tx_id, _CLIENT
        exchange.mail = Mail(
            shared.files, flow, shared.settings, shared.pool, shared.counters, self._exchanges.buffers(exchange)[0],
            lambda: self._exchanges.fields(exchange),
        )  # fmt: skip
        exchange.sent = False
        self._body = Body()

    def _take_data(self, data: bytes) -> int:
        """Read a mail; return how many bytes stand behind its end."""
        exchange = self._exchanges.current
        assert exchange is not None
        assert exchange.mail is not None
        body, mail = self._body, exchange.mail
        content, behind = body.feed(data)
        mail.feed(content, *self._exchanges.at, self._exchanges.out)
        if body.carriage and not body.ended:
            self._exchanges.complain(b"ambiguous_end_of_data")
        if body.ended:
            self._mode = Mode.COMMAND
            self._ask(Asked.OTHER)
            if body.ambiguous or body.carriage:
                self._exchanges.complain(b"ambiguous_end_of_data")
            self._end_mail(exchange, mail, behind, goes_on=body.ambiguous)
            self._exchanges.finish(exchange, behind)
        return behind

    def _end_mail(self, exchange: Exchange, mail: Mail, behind: int, goes_on: bool = False) -> None:
        """Report a mail that has ended; one that ``goes_on`` to some servers is read on for those."""
        exchange.sent = True
        if goes_on:
            self._beyond.begin(mail)
        mail.close(*self._exchanges.at, self._exchanges.out)
        self._exchanges.report_mail(exchange, mail, behind)

    def _begin_chunk(self, rest: bytes) -> None:
        """Begin a chunk of a mail (RFC 3030)."""
        exchange = self._exchanges.current
        assert exchange is not None
        found = _SIZE.match(rest)
        size = int(found[1]) if found is not None else -1
        if not 0 <= size <= _MOST_SIZE:
            self._exchanges.complain(b"bdat_chunk_len_exceeded")
            return
        if exchange.mail is None or exchange.sent or exchange.reset:
            self._begin_mail()
            if self._exchanges.current is not None:
                self._exchanges.current.chunked = True
        self._chunk = size
        self._last_chunk = rest.upper().split()[1:2] == [b"LAST"]
        if size:
            self._mode = Mode.CHUNK
        else:
            self._end_chunk()

    def _take_chunk(self, data: bytes) -> int:
        exchange = self._exchanges.current
        assert exchange is not None
        self._chunk -= len(data)
        if exchange.mail is not None and not exchange.mail.ended:
            exchange.mail.feed(data, *self._exchanges.at, self._exchanges.out)
        if not self._chunk:
            self._mode = Mode.COMMAND
            self._end_chunk()
        return len(data)

    def _end_chunk(self) -> None:
        exchange = self._exchanges.current
        assert exchange is not None
        if self._last_chunk and exchange.mail is not None and not exchange.mail.ended:
            self._end_mail(exchange, exchange.mail, 0)

    # Losses and ends.

    def _lose(self, gap: int) -> None:
        """Go on behind bytes of the client that were lost."""
        self._shared.counters.add("smtp.gap")
        mail = self._exchanges.current.mail if self._exchanges.current is not None else None
        if self._mode is Mode.CHUNK:
            taken = min(gap, self._chunk)
            self._chunk -= taken
            if mail is not None:
                mail.gap(taken)
            if not self._chunk:
                self._mode = Mode.COMMAND
                self._end_chunk()
        elif self._mode is Mode.DATA and mail is not None:
            mail.gap(gap)
        elif self._mode is Mode.COMMAND:
            for line in self._lines[_CLIENT].feed(b"", gap):
                self._command(line)

    def _end(self) -> None:
        """Report what is unfinished."""
        self._deaf = True
        if self._mode is Mode.AWAIT:
            self._go_on(accepted=bool(self._asked) and self._asked[-1] is Asked.DATA)
        if self._mode is Mode.COMMAND:
            for line in self._lines[_CLIENT].feed(b"", closed=True):
                self._command(line)
        exchange = self._exchanges.current
        if exchange is not None and exchange.mail is not None and not exchange.mail.ended:
            if self._mode is Mode.DATA:
                exchange.mail.feed(self._body.close(), *self._exchanges.at, self._exchanges.out)
            exchange.mail.close(*self._exchanges.at, self._exchanges.out, whole=False)
            self._exchanges.report_mail(exchange, exchange.mail, 0)
        self._beyond.drop()
        if exchange is not None and not exchange.done:
            self._exchanges.envelope(exchange)
            self._exchanges.finish(exchange)
        self._exchanges.release()

    # The server.

    def _server(self, data: bytes, gap: int, closed: bool) -> bytes:
        """Read replies; return what stands behind the one that begins TLS."""
        if data:
            self._heard, self._deaf = True, False
        if gap:
            self._shared.counters.add("smtp.gap")
            self._asked.clear()
            if self._mode is Mode.AWAIT:
                self._go_on(accepted=True)
        for line in self._lines[_SERVER].feed(data, gap, closed):
            self._reply(line)
            if self._upgrade:
                return data[len(data) - line.behind :]
        return b""

    def _reply(self, line: Message) -> None:
        if not line.data and line.whole:
            return
        found = _CODE.match(line.data)
        if not line.whole:
            self._exchanges.complain(b"max_reply_line_len_exceeded", _SERVER)
        if found is None:
            self._exchanges.complain(b"invalid_reply", _SERVER)
            return
        if line.data[3:4] == b"-":
            self._pipelining = self._pipelining or line.data[4:14].upper() == b"PIPELINING"
            return
        self._pipelining = self._pipelining or line.data[4:14].upper() == b"PIPELINING"
        code = found[0]
        if not self._greeted:
            self._greeted = True
            if code == b"220" or not self._asked:
                if code != b"220":
                    self._exchanges.complain(b"invalid_reply", _SERVER)
                return
        if code == b"334" and self._asked and self._asked[0] is Asked.AUTH:
            self._authenticates = True
            return
        if self._asked:
            self._answered(self._asked.popleft(), code)

    def _answered(self, asked: Asked, code: bytes) -> None:
        """Act on the answer to a command."""
        exchange = self._exchanges.current
        if asked is Asked.DATA:
            accepted = code.startswith(b"3")
            if not accepted:
                self._exchanges.complain(b"data_command_rejected", _SERVER)
            if self._mode is Mode.AWAIT:
                self._go_on(accepted)
            elif not accepted and self._mode is Mode.DATA and exchange is not None and exchange.mail is not None:
                self._mode = Mode.COMMAND
        elif asked is Asked.RSET and code.startswith(b"2") and exchange is not None:
            if exchange.reset and not exchange.done:
                self._exchanges.finish(exchange)
        elif asked is Asked.STARTTLS:
            if code == b"220":
                self._upgrade = True
            else:
                self._exchanges.complain(b"tls_rejected", _SERVER)
                if self._mode is Mode.AWAIT:
                    self._go_on(accepted=False)

    def _hand_over(self, rest: bytes) -> Handover:
        """End the session where TLS begins. What a client has sent before in clear was meant as commands, unless it
        is a handshake: servers that keep it carry it out (CVE-2011-0411)."""
        waiting = self._give_waiting()
        if waiting and not waiting.startswith(_TLS_RECORD):
            self._mode = Mode.COMMAND
            self._client(waiting)
            waiting = self._give_waiting()
        if Asked.STARTTLS in self._asked and rest.startswith(b"220"):
            self._exchanges.complain(b"failed_protocol_change", _SERVER)  # the server says yes twice in one breath
        if self._exchanges.current is not None and not self._exchanges.current.done:
            self._exchanges.envelope(self._exchanges.current)
            self._exchanges.finish(self._exchanges.current)
        return Handover(self._exchanges.next_id, (waiting, rest), expected="tls")
