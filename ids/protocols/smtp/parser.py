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
from functools import partial
from typing import Any

from ids.protocols.framing import Lines, Message, Pool
from ids.protocols.mime import Mail, MimeLimits
from ids.protocols.protocol import ODDITY, Handover, Setup
from ids.protocols.smtp.body import Body
from ids.protocols.smtp.settings import SmtpSettings
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_VERB = re.compile(rb"[\s\0]*([A-Za-z0-9]+)[ \t]*(.*)", re.DOTALL)
_FROM = re.compile(rb"FROM[ \t]*:?[ \t]*(<[^>]*>|\S*)", re.IGNORECASE)
_TO = re.compile(rb"TO[ \t]*:?[ \t]*(<[^>]*>|\S*)", re.IGNORECASE)
_SIZE = re.compile(rb"(\d{1,15})")
_MOST_SIZE = 1 << 40
_HELLOS = frozenset({b"HELO", b"EHLO", b"LHLO"})
_TLS_RECORD = b"\x16"
_MANY = 8
"""Instances of the envelope's other buffers that are kept."""
_AT_ONCE = 8192
"""Bytes of the client that are read at once: what stands behind a command or a mail among them is copied."""
_CODE = re.compile(rb"[1-5]\d\d(?=[ \r-]|\Z)")


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


class Shared:
    """What the parsers of all flows share; makes them."""

    def __init__(self, setup: Setup) -> None:
        settings: SmtpSettings = setup.settings
        self.flows = setup.flows
        self.files = setup.files
        self.counters = setup.counters
        self.settings = settings
        self.pool = Pool("smtp", settings.memcap_bytes, setup.counters)
        self.limits = MimeLimits(
            settings.header_bytes, settings.header_count, settings.parts, settings.text_bytes, settings.urls
        )

    def __call__(self, slot: int, tx_id: int) -> SmtpSession:
        """Return the parser of a flow."""
        return SmtpSession(self, slot, tx_id)


class Exchange:
    """A transaction: an envelope, and what was sent in it."""

    __slots__ = ("done", "mail", "mail_from", "odd", "rcpt_to", "reported", "reset", "sent", "tx_id")

    def __init__(self, tx_id: int) -> None:
        self.tx_id = tx_id
        self.mail_from: list[bytes] = []
        self.rcpt_to: list[bytes] = []
        self.mail: Mail | None = None
        self.sent = self.reset = False
        """Its mail has ended; the client took it back."""
        self.odd: set[bytes] = set()
        """What was reported as odd."""
        self.reported = False
        """Its envelope was, as it is."""
        self.done = False


class SmtpSession:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = (
        "_after", "_alone", "_asked", "_at", "_authenticates", "_beyond", "_beyond_body", "_body", "_chunk", "_deaf",
        "_exchange", "_greeted", "_heard", "_helo", "_last_chunk", "_lines", "_mode", "_next_id", "_out", "_pipelining",
        "_shared", "_slot", "_upgrade", "_waiting",
    )  # fmt: skip

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        limit = shared.settings.line_bytes
        self._lines = Lines(shared.pool, limit), Lines(shared.pool, limit)
        self._mode = Mode.COMMAND
        self._asked: deque[Asked] = deque()
        """Commands without a reply."""
        self._waiting = bytearray()
        """Bytes of the client that wait for the server to say what they are."""
        self._helo: list[bytes] = []
        self._exchange: Exchange | None = None
        self._body = Body()
        self._beyond: Mail | None = None
        """A mail that goes on to servers that saw no end in what ended it,"""
        self._beyond_body = Body(strict=True)
        """and where it ends to them."""
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
        self._out: list[Transaction] = []
        self._at = 0, 0
        self._after = 0
        """Bytes of the client that were fed and are not read yet, behind those that are being read."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        self._out, self._at = out, (stretch.ts_ns, stretch.number)
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
        self._drop_beyond()
        if self._exchange is not None and self._exchange.mail is not None:
            self._exchange.mail.release()

    # The client.

    def _client(self, data: bytes) -> None:
        """Read what the client says, in whatever mode it is."""
        after = self._after
        for at in range(0, len(data), _AT_ONCE):
            piece = data[at : at + _AT_ONCE]
            self._after = after + len(data) - at - len(piece)
            self._read(piece)
        self._after = after

    def _read(self, data: bytes) -> None:
        at, size = 0, len(data)
        while at < size:
            start, beyond = at, self._beyond
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
            if beyond is not None and beyond is self._beyond:
                self._go_beyond(data[start:at])

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
            self._complain(b"max_command_line_len_exceeded")
            self._complain(b"truncated_line")
        if self._authenticates:
            self._authenticates = False
            return
        exchange = self._exchange
        if exchange is None or exchange.done:
            exchange = self._begin()
        if not self._heard and not self._alone:
            self._alone = True
            self._complain(b"no_server_welcome_message")
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
                self._envelope(exchange)
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
                self._envelope(exchange)
            case b"STARTTLS":
                asked = Asked.STARTTLS
                if self._heard and not self._deaf:
                    self._mode = Mode.AWAIT
            case b"AUTH":
                asked = Asked.AUTH
            case b"QUIT":
                self._envelope(exchange)
        self._ask(asked)

    def _ask(self, asked: Asked) -> None:
        if len(self._asked) >= self._shared.settings.open_commands:
            self._shared.counters.add("smtp.commands_evicted")
            self._asked.popleft()
        self._asked.append(asked)

    def _begin(self) -> Exchange:
        """Begin a transaction."""
        self._exchange = exchange = Exchange(self._next_id)
        self._next_id += 1
        return exchange

    def _hello(self, rest: bytes) -> None:
        if self._helo:
            self._complain(b"duplicate_fields")
        if len(self._helo) < _MANY:
            self._helo.append(rest.split(b" ")[0].rstrip())
            self._emit(_CLIENT, {"smtp.helo": self._helo[-1]})

    def _sender(self, rest: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.sent or exchange.reset:  # a mail in chunks was before it, or the answer is to come
            self._finish(exchange)
            exchange = self._begin()
        found = _FROM.match(rest)
        if found is None:
            return
        if exchange.mail_from:
            self._complain(b"duplicate_fields")
        if len(exchange.mail_from) < _MANY:
            exchange.mail_from.append(found[1])
            exchange.reported = False

    def _recipient(self, exchange: Exchange, rest: bytes) -> None:
        found = _TO.match(rest)
        if found is None:
            return
        if len(exchange.rcpt_to) >= self._shared.settings.recipients:
            self._shared.counters.add("smtp.recipients_dropped")
            return
        exchange.rcpt_to.append(found[1])
        exchange.reported = False

    def _wait(self, data: bytes) -> None:
        """Let bytes wait for the server's answer."""
        asked = self._asked[-1] if self._asked else Asked.OTHER
        if not (asked is Asked.DATA and self._pipelining):
            self._complain(b"invalid_pipelined_sequence")
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
        exchange = self._exchange
        if exchange is None or exchange.done:
            exchange = self._begin()
        if exchange.mail is not None and not exchange.mail.ended:
            self._complain(b"unparsable_content")
            self._finish(exchange)
            exchange = self._begin()
        if exchange.mail is not None:  # one in chunks has ended, and nothing has ended its transaction
            exchange.mail.release()
        self._envelope(exchange)
        shared = self._shared
        flow = self._slot, "smtp", exchange.tx_id, _CLIENT
        exchange.mail = Mail(
            shared.files, flow, shared.limits, shared.pool, shared.counters, self._buffers(exchange)[0],
            lambda: self._fields(exchange),
        )  # fmt: skip
        exchange.sent = False
        self._body = Body()

    def _take_data(self, data: bytes) -> int:
        """Read a mail; return how many bytes stand behind its end."""
        exchange = self._exchange
        assert exchange is not None
        assert exchange.mail is not None
        body, mail = self._body, exchange.mail
        content, behind = body.feed(data)
        mail.feed(content, *self._at, self._out)
        if body.carriage and not body.ended:
            self._complain(b"ambiguous_end_of_data")
        if body.ended:
            self._mode = Mode.COMMAND
            self._ask(Asked.OTHER)
            if body.ambiguous or body.carriage:
                self._complain(b"ambiguous_end_of_data")
            self._end_mail(exchange, mail, behind, goes_on=body.ambiguous)
            self._finish(exchange, behind)
        return behind

    def _end_mail(self, exchange: Exchange, mail: Mail, behind: int, goes_on: bool = False) -> None:
        """Report a mail that has ended; one that ``goes_on`` to some servers is read on for those."""
        exchange.sent = True
        if goes_on and self._beyond is None:
            self._beyond, self._beyond_body = self._copy_of(mail), Body(strict=True)
        mail.close(*self._at, self._out)
        self._report_mail(exchange, mail, behind)

    def _copy_of(self, mail: Mail) -> Mail | None:
        """Return a mail in the same state that reads on."""
        copied = mail.fork()
        if copied is None:
            self._shared.counters.add("smtp.readings_dropped")
        return copied

    def _go_beyond(self, data: bytes) -> None:
        """Read on in a mail that has ended to some servers, and not to others."""
        mail, body = self._beyond, self._beyond_body
        assert mail is not None
        content, _ = body.feed(data)
        mail.feed(content, *self._at, self._out)
        if body.ended:
            self._report_beyond()

    def _report_beyond(self) -> None:
        mail, self._beyond = self._beyond, None
        if mail is None:
            return
        mail.close(*self._at, self._out)
        buffers, more = mail.buffers
        if self._exchange is not None and buffers:
            self._emit(_CLIENT, buffers, more)
        mail.release()

    def _drop_beyond(self) -> None:
        if self._beyond is not None:
            self._beyond.release()
            self._beyond = None

    def _report_mail(self, exchange: Exchange, mail: Mail, behind: int) -> None:
        buffers, more = self._buffers(exchange)
        of_mail, further = mail.buffers
        self._emit(_CLIENT, {**buffers, **of_mail}, {**more, **further}, behind=behind)
        for name in sorted(mail.odd):
            self._complain(name)

    def _begin_chunk(self, rest: bytes) -> None:
        """Begin a chunk of a mail (RFC 3030)."""
        exchange = self._exchange
        assert exchange is not None
        found = _SIZE.match(rest)
        size = int(found[1]) if found is not None else -1
        if not 0 <= size <= _MOST_SIZE:
            self._complain(b"bdat_chunk_len_exceeded")
            return
        if exchange.mail is None or exchange.sent:
            self._begin_mail()
        self._chunk = size
        self._last_chunk = rest.upper().split()[1:2] == [b"LAST"]
        if size:
            self._mode = Mode.CHUNK
        else:
            self._end_chunk()

    def _take_chunk(self, data: bytes) -> int:
        exchange = self._exchange
        assert exchange is not None
        self._chunk -= len(data)
        if exchange.mail is not None and not exchange.mail.ended:
            exchange.mail.feed(data, *self._at, self._out)
        if not self._chunk:
            self._mode = Mode.COMMAND
            self._end_chunk()
        return len(data)

    def _end_chunk(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        if self._last_chunk and exchange.mail is not None and not exchange.mail.ended:
            self._end_mail(exchange, exchange.mail, 0)

    # Losses and ends.

    def _lose(self, gap: int) -> None:
        """Go on behind bytes of the client that were lost."""
        self._shared.counters.add("smtp.gap")
        mail = self._exchange.mail if self._exchange is not None else None
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
        exchange = self._exchange
        if exchange is not None and exchange.mail is not None and not exchange.mail.ended:
            if self._mode is Mode.DATA:
                exchange.mail.feed(self._body.close(), *self._at, self._out)
            exchange.mail.close(*self._at, self._out, whole=False)
            self._report_mail(exchange, exchange.mail, 0)
        self._drop_beyond()
        if exchange is not None and not exchange.done:
            self._envelope(exchange)
            self._finish(exchange)

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
            self._complain(b"max_reply_line_len_exceeded", _SERVER)
        if found is None:
            self._complain(b"invalid_reply", _SERVER)
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
                    self._complain(b"invalid_reply", _SERVER)
                return
        if code == b"334" and self._asked and self._asked[0] is Asked.AUTH:
            self._authenticates = True
            return
        if self._asked:
            self._answered(self._asked.popleft(), code)

    def _answered(self, asked: Asked, code: bytes) -> None:
        """Act on the answer to a command."""
        exchange = self._exchange
        if asked is Asked.DATA:
            accepted = code.startswith(b"3")
            if not accepted:
                self._complain(b"data_command_rejected", _SERVER)
            if self._mode is Mode.AWAIT:
                self._go_on(accepted)
            elif not accepted and self._mode is Mode.DATA and exchange is not None and exchange.mail is not None:
                self._mode = Mode.COMMAND
        elif asked is Asked.RSET and code.startswith(b"2") and exchange is not None:
            if exchange.reset and not exchange.done:
                self._finish(exchange)
        elif asked is Asked.STARTTLS:
            if code == b"220":
                self._upgrade = True
            else:
                self._complain(b"tls_rejected", _SERVER)
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
        if self._exchange is not None and not self._exchange.done:
            self._envelope(self._exchange)
            self._finish(self._exchange)
        return Handover(self._next_id, (waiting, rest))

    # What comes of it.

    def _buffers(self, exchange: Exchange) -> tuple[dict[str, bytes], dict[str, tuple[bytes, ...]]]:
        """Return the buffers of an envelope, and their further instances."""
        found = {"smtp.helo": self._helo, "smtp.mail_from": exchange.mail_from, "smtp.rcpt_to": exchange.rcpt_to}
        return {name: of[0] for name, of in found.items() if of}, {
            name: tuple(of[1:]) for name, of in found.items() if len(of) > 1
        }

    def _envelope(self, exchange: Exchange) -> None:
        """Report an envelope, once as it is."""
        if not exchange.reported and (exchange.mail_from or exchange.rcpt_to):
            exchange.reported = True
            self._emit(_CLIENT, *self._buffers(exchange))

    def _finish(self, exchange: Exchange, behind: int = 0) -> None:
        """End a transaction: it is logged."""
        exchange.done = True
        self._emit(_CLIENT, {}, exchange=exchange, complete=True, behind=behind)
        if exchange.mail is not None:
            exchange.mail.release()

    def _complain(self, what: bytes, direction: Direction = _CLIENT) -> None:
        """Report something odd, once a transaction."""
        exchange = self._exchange or self._begin()
        if what not in exchange.odd:
            exchange.odd.add(what)
            self._emit(direction, {ODDITY: b"smtp." + what})

    def _emit(
        self,
        direction: Direction,
        buffers: dict[str, bytes],
        more: dict[str, tuple[bytes, ...]] | None = None,
        *,
        exchange: Exchange | None = None,
        complete: bool = False,
        behind: int = 0,
    ) -> None:
        exchange = exchange or self._exchange or self._begin()
        fields = self._fields(exchange) if complete else partial(self._fields, exchange)
        self._out.append(
            Transaction(
                self._shared.flows, self._slot, "smtp", exchange.tx_id, direction, buffers, fields,
                *self._at, complete, more=more or {}, behind=behind + self._after,
            )
        )  # fmt: skip

    def _fields(self, exchange: Exchange) -> dict[str, Any]:
        """Return what EVE logs of a transaction, as far as it is known."""
        logged: dict[str, Any] = {}
        if self._helo:
            logged["helo"] = text(self._helo[0])
        if exchange.mail_from:
            logged["mail_from"] = text(exchange.mail_from[0])
        if exchange.rcpt_to:
            logged["rcpt_to"] = [text(one) for one in exchange.rcpt_to]
        if exchange.mail is not None:
            logged["email"] = exchange.mail.email(self._shared.settings.extended_in_events)
        return logged
