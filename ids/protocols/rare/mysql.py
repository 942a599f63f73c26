"""MySQL's protocol, version 10, and MariaDB's: how a client logs in, what it asks, what came of it.

The greeting with the login is a transaction, and so is each command with its reply. Replies have no names: they come in
the order of the commands. `ids.protocols.rare.mysql_packets` reads packets, `ids.protocols.rare.mysql_replies` replies.
"""

from __future__ import annotations

from typing import Any

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Handover, Protocol
from ids.protocols.rare.mysql_packets import (
    COMMANDS,
    Capability,
    Login,
    asks_for_tls,
    change_user,
    greeting,
    login,
    texts_of_query,
)
from ids.protocols.rare.mysql_replies import LARGEST, UNANSWERED, Reply, State
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.protocols.waiting import Waiting
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction
Asked = dict[str, "bytes | tuple[bytes, ...] | None"]

MAX_STATEMENTS = 64
"""Prepared statements of a flow whose text is kept for those who execute them; the oldest gives way."""
STATEMENT_BYTES = 1024
"""Of the text of one that are kept."""
TAIL_BYTES = 8 * 1024
"""The last bytes of a query that is longer than what is read of a message: rules see them as well."""
_HEAD = 4
_COMPRESSED = Capability.COMPRESS | Capability.ZSTD
_NEWEST = 10
"""Version of the protocol; that before says less."""
_FILE, _ERROR = b"\xfb", 0xFF
_BEGINS = (late_pattern(rb"(?s)\A...\0[\x01-\x21\xfa\xfe]"), late_pattern(rb"(?s)\A...\x01"))
"""By direction: what a command, and the reply to one, begins with: numbers of packets begin anew there."""


class Exchange:
    """A command, or the login, and what came back so far."""

    __slots__ = ("command", "fields", "query", "refused", "reply", "tx_id")

    def __init__(self, tx_id: int, command: str, reply: Reply) -> None:
        self.tx_id = tx_id
        self.command = command
        self.fields: dict[str, Any] = {} if command == "login" else {"command": command}
        self.reply = reply
        self.refused = False
        """Servers answer it with an error, if at all."""
        self.query = b""
        """Its text, where it has one."""

    def logged(self) -> EveFields:
        """Return what EVE logs of it."""
        fields, reply = dict(self.fields), self.reply
        if self.query:
            fields["query"] = text(self.query)
        answered: dict[str, Any] = {}
        if reply.status:
            answered = {"status": reply.status, **reply.info}
        for name in ("columns", "rows", "statement"):
            value = getattr(reply, name)
            if value is not None:
                answered["statement_id" if name == "statement" else name] = value
        if reply.error is not None:
            code, state, message = reply.error
            answered |= {"code": code, "message": text(message)}
            if state:
                answered["state"] = text(state)
        if reply.asked_file is not None:
            answered["local_infile"] = text(reply.asked_file)
        if reply.plugin is not None:
            answered["auth_plugin"] = text(reply.plugin)
        if answered:
            fields["response"] = answered
        return fields


class MysqlFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "mysql"

    __slots__ = (
        "_capabilities",
        "_continues",
        "_deaf",
        "_met",
        "_numbers",
        "_passing",
        "_rest",
        "_statements",
        "_tail",
        "_uploads",
        "_waiting",
    )

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._capabilities: list[int | None] = [None, None]
        """By direction."""
        self._met = [False, False]
        """By direction: the login, or the greeting, has come."""
        self._continues = [False, False]
        """By direction: the next packet goes on with the last one."""
        self._numbers = [-1, -1]
        """By direction: the number of the last packet; -1 where it was empty, or there was none."""
        self._deaf = False
        """What follows is compressed, or TLS."""
        self._uploads = False
        """The client sends a file that the server asked for, up to an empty packet."""
        self._passing = False
        """What the client sends are bytes of a packet beyond those that are read."""
        self._tail: tuple[Exchange, bytearray] | None = None
        """A long query, and its last bytes so far."""
        self._rest: int | None = None
        """Bytes of the piece that is read which are TLS."""
        self._waiting: Waiting[int, Exchange] = Waiting(shared, shared.settings.open_requests)
        """Commands without the end of their reply, by their ids, the oldest first."""
        self._statements: Waiting[int, bytes] = Waiting(shared, MAX_STATEMENTS, "statements_evicted")
        """Texts that were prepared, by their numbers."""

    def cut(self, direction: Direction) -> Frames:
        """Cut packets."""
        limit = self.shared.settings.message_bytes
        if direction is _SERVER:
            return Frames(self.shared.pool, _length_of, limit, _BEGINS[direction])

        def length_of(data: bytes | bytearray, at: int) -> int:
            """Return no more than is read: of a long packet the rest comes raw, for the end of a query is wanted."""
            length = _length_of(data, at)
            return limit if length > limit and len(data) - at >= limit else length

        return Frames(self.shared.pool, length_of, limit, _BEGINS[direction])

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes; hand the flow over where the client goes on in TLS."""
        if self._deaf:
            stretch = stretch._replace(data=b"", gap=0)
        if stretch.gap:
            self._out, self._at = out, (stretch.ts_ns, stretch.number, len(stretch.data))
            self._miss(stretch.direction)
        super().feed(stretch, out)
        if self._rest is None:
            return None
        return Handover(self.next_id, (stretch.data[len(stretch.data) - self._rest :], b""))

    def take(self, direction: Direction, message: Message) -> None:
        """Read a packet."""
        if self._deaf:
            return
        if direction is _CLIENT and self._passing:
            self._passing = not message.whole
            self._lengthen(message.data)
            return
        data = message.data
        size = int.from_bytes(data[:3], "little")
        before, self._numbers[direction] = self._numbers[direction], data[3] if size else -1
        goes_on, self._continues[direction] = self._continues[direction], size == LARGEST
        if direction is _CLIENT:
            self._pass(_HEAD + size - len(data))
        if goes_on:
            self._lengthen(data[_HEAD:] if direction is _CLIENT else b"")
        elif direction is _CLIENT:
            self._take_request(message, size, before)
        elif not self._met[_SERVER] and data[_HEAD : _HEAD + 1] in (b"\x09", b"\x0a"):
            self._take_greeting(data[_HEAD:])
        else:
            self._take_answer(data[_HEAD:], size, before)

    def end(self) -> None:
        """Say what was not answered."""
        self._finish_all()

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        super().release()
        self._forget_tail()
        self._waiting.release()
        self._statements.release()

    def _miss(self, direction: Direction) -> None:
        """Go on behind missing bytes: replies have no names, so none is known any more."""
        self.count("gap")
        self._finish_all()
        self._forget_tail()
        self._continues[direction] = self._uploads = False
        self._met[direction] = True

    @property
    def _agreed(self) -> int:
        """What both sides can do; where one of them was not heard, what the other can."""
        client, server = self._capabilities
        if client is None or server is None:
            return (client or 0) | (server or 0)
        return client & server

    # Clients.

    def _take_request(self, message: Message, size: int, before: int) -> None:
        payload, number = message.data[_HEAD:], message.data[3]
        if self._uploads and (number or before == 0xFF):  # with 0 a command begins, or numbers begin anew in a file
            self._uploads = size > 0
        elif number:  # not 0: a part of what was begun
            if not self._met[_CLIENT]:
                self._take_login(payload, message)
        else:
            self._met[_CLIENT] = True
            self._uploads = False
            self._take_command(payload or b"\0", size)  # servers take an empty one for the first command

    def _pass(self, size: int) -> None:
        """Take so many bytes of a packet of the client as they come."""
        cutter = self._cut[_CLIENT]
        if size > 0 and isinstance(cutter, Frames):
            self._passing = True
            cutter.raw(size)

    def _take_login(self, payload: bytes, message: Message) -> None:
        server = self._capabilities[_SERVER]
        if asks_for_tls(payload) and (server is None or server & Capability.SSL):
            exchange = self._waiting.take_oldest() or self._new("login")
            exchange.fields["tls"] = True
            self._deaf, self._rest = True, message.behind
            self._finish(_CLIENT, exchange)
            return
        self._met[_CLIENT] = True
        found = login(payload)
        self._capabilities[_CLIENT] = found.capabilities
        agreed = self._agreed
        exchange = self._waiting.take_oldest() or self._new("login")
        exchange.reply = Reply("login", agreed)
        exchange.fields |= _said_by(found)
        if agreed & _COMPRESSED:
            exchange.fields["compressed"] = True
        self._ask(exchange, _buffers_of(found), len(payload), odd=() if found.whole else ("malformed_packet",))

    def _take_command(self, payload: bytes, size: int) -> None:
        known = COMMANDS.get(payload[0])
        command = known or f"unknown_{payload[0]}"
        exchange = self._new(command)
        odd: tuple[str, ...] = () if known else ("unknown_command",)
        said: Asked = {"mysql.command": command.encode()}
        if command in ("query", "stmt_prepare"):
            texts = texts_of_query(payload, self._agreed) if command == "query" else (payload[1:],)
            said["mysql.query"], exchange.query = texts, texts[0]
            if self._passing or size == LARGEST:
                exchange.fields["query_truncated"] = True
                odd = ("query_truncated",)
                self._keep_tail(exchange)
        elif command in ("init_db", "create_db", "drop_db"):
            said["mysql.database"], exchange.fields["database"] = payload[1:], text(payload[1:])
        elif command == "change_user":
            found = change_user(payload, self._agreed)
            said |= _buffers_of(found)
            exchange.fields |= {name: of for name, of in _said_by(found).items() if name != "capabilities"}
        elif command.startswith("stmt_") and len(payload) >= 5:
            self._name_statement(command, int.from_bytes(payload[1:5], "little"), exchange)
        exchange.refused = command == "sleep" or (command in UNANSWERED and command != "quit" and len(payload) < 5)
        self._ask(exchange, said, len(payload), odd=odd)

    def _keep_tail(self, exchange: Exchange) -> None:
        """Begin to keep the last bytes of a long query."""
        self._forget_tail()
        if self.shared.pool.take(2 * TAIL_BYTES):
            self._tail = exchange, bytearray(exchange.query[-TAIL_BYTES:])

    def _lengthen(self, piece: bytes) -> None:
        """Take the next bytes of a long query; at its end hand on the last ones."""
        if self._tail is None:
            return
        exchange, tail = self._tail
        tail += piece
        if len(tail) > TAIL_BYTES:
            del tail[:-TAIL_BYTES]
        if self._passing or self._continues[_CLIENT]:
            return
        if exchange.tx_id in self._waiting:
            self.say(_CLIENT, {"mysql.query": bytes(tail)}, exchange.logged, exchange.tx_id, complete=False)
        self._forget_tail()

    def _forget_tail(self) -> None:
        if self._tail is not None:
            self._tail = None
            self.shared.pool.give(2 * TAIL_BYTES)

    def _name_statement(self, command: str, statement: int, exchange: Exchange) -> None:
        """Log which statement a command is about."""
        exchange.fields["statement_id"] = statement
        prepared = self._statements.get(statement)
        if command == "stmt_close":
            self._statements.take(statement)
        elif prepared is not None and command in ("stmt_execute", "stmt_bulk_execute"):
            exchange.query = prepared

    def _ask(self, exchange: Exchange, said: Asked, size: int, odd: tuple[str, ...] = ()) -> None:
        """Say what a client asks, and let it wait for the reply."""
        self.say(_CLIENT, said, exchange.logged, exchange.tx_id, complete=False, odd=odd)
        if exchange.command in UNANSWERED and not exchange.refused:
            self._finish(_CLIENT, exchange)
            return
        given_up = self._waiting.put(exchange.tx_id, exchange, size)
        for one in given_up:
            self._finish(_CLIENT, one)
        if given_up:  # whose reply comes is not known any more
            self._finish_all()

    def _new(self, command: str) -> Exchange:
        return Exchange(self.new(), command, Reply(command, self._agreed))

    # Servers.

    def _take_greeting(self, payload: bytes) -> None:
        self._met[_SERVER] = True
        found = greeting(payload)
        self._capabilities[_SERVER] = found.capabilities
        exchange = self._new("login")
        exchange.fields |= {"version": text(found.version), "protocol_version": found.protocol}
        if found.thread_id is not None:
            exchange.fields["thread_id"] = found.thread_id
        if found.capabilities is not None:
            exchange.fields["server_capabilities"] = f"{found.capabilities:08x}"
        if found.plugin is not None:
            exchange.fields["server_auth_plugin"] = text(found.plugin)
        odd = ("malformed_packet",) if found.protocol == _NEWEST and found.capabilities is None else ()
        said: Asked = {"mysql.version": found.version}
        self.say(_SERVER, said, exchange.logged, exchange.tx_id, complete=False, odd=odd)
        for one in self._waiting.put(exchange.tx_id, exchange, len(payload)):
            self._finish(_SERVER, one)

    def _take_answer(self, payload: bytes, size: int, before: int) -> None:
        number = self._numbers[_SERVER]
        exchange = self._due(payload, number, before)
        if exchange is None and not self._met[_SERVER] and payload[:1] == bytes((_ERROR,)):
            exchange = self._new("login")  # who may not even log in is told so in place of the greeting
            self._waiting.put(exchange.tx_id, exchange, size)
        self._met[_SERVER] = True
        if exchange is None or not _fits(exchange, payload, number):
            return
        reply = exchange.reply
        asked_file, plugin = reply.asked_file, reply.plugin
        reply.take(payload, size)
        if reply.asked_file is not asked_file:
            self._uploads = True
            said: Asked = {"mysql.local_infile": reply.asked_file}
            self.say(_SERVER, said, exchange.logged, exchange.tx_id, complete=False)
        elif reply.plugin is not plugin:
            self.say(_SERVER, {"mysql.auth_plugin": reply.plugin}, exchange.logged, exchange.tx_id, complete=False)
        if reply.done:
            self._uploads = False
            self._waiting.take(exchange.tx_id)
            self._remember(exchange)
            self._finish(_SERVER, exchange)

    def _due(self, payload: bytes, number: int, before: int) -> Exchange | None:
        """Return the command that a packet answers. Replies begin with number 1, so that none goes to another command
        where an end was missed; within a long one numbers begin anew behind 255.
        """
        exchange = self._waiting.oldest()
        while exchange is not None and exchange.command != "login":
            reply = exchange.reply
            if not reply.begun:
                if number != 1:
                    return None
                if not exchange.refused or payload[:1] == bytes((_ERROR,)):
                    break
            elif number != 1 or before == 0 or reply.asked_file is not None:
                break
            self._uploads = False
            self._waiting.take(exchange.tx_id)
            self._finish(_SERVER, exchange)
            exchange = self._waiting.oldest()
        return exchange

    def _remember(self, exchange: Exchange) -> None:
        """Keep what a reply changes for those that follow."""
        reply = exchange.reply
        if exchange.command == "stmt_prepare" and reply.statement is not None:
            query = exchange.query[:STATEMENT_BYTES]
            self._statements.put(reply.statement, query, len(query))
        elif exchange.command == "login" and reply.status == "ok" and self._agreed & _COMPRESSED:
            self.count("compressed")
            self._deaf = True
            self.say(_SERVER, {}, exchange.logged, exchange.tx_id, complete=False, odd=("compressed",))

    def _finish(self, direction: Direction, exchange: Exchange) -> None:
        """End a transaction."""
        reply = exchange.reply
        said: Asked = {}
        if reply.rows is not None:
            said["mysql.rows"] = b"%d" % reply.rows
        if "affected_rows" in reply.info:
            said["mysql.affected_rows"] = b"%d" % reply.info["affected_rows"]
        if reply.error is not None:
            code, state, message = reply.error
            said |= {
                "mysql.error_code": b"%d" % code,
                "mysql.error_state": state or None,
                "mysql.error_message": message,
            }
        self.say(direction, said, exchange.logged, exchange.tx_id)

    def _finish_all(self) -> None:
        for exchange in self._waiting.rest():
            self._finish(_CLIENT, exchange)


def _fits(exchange: Exchange, payload: bytes, number: int) -> bool:
    """Return whether a packet can come next: what asks for a file is the first one, or answers a later statement that
    says so. A row may look the same.
    """
    if payload[:1] != _FILE or number == 1 or exchange.reply.state is not State.FIRST:
        return True
    return b"LOCAL" in exchange.query.upper()


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a packet has, as `ids.protocols.framing.LengthOf`."""
    return _HEAD + int.from_bytes(data[at : at + 3], "little") if len(data) >= at + _HEAD else 0


def _said_by(found: Login) -> dict[str, Any]:
    """Return what EVE logs of a login."""
    said: dict[str, Any] = {"capabilities": f"{found.capabilities:08x}", "user": text(found.user)}
    if found.database is not None:
        said["database"] = text(found.database)
    if found.plugin is not None:
        said["auth_plugin"] = text(found.plugin)
    if found.attributes:
        said["attributes"] = {text(name): text(value) for name, value in found.attributes}
    return said


def _buffers_of(found: Login) -> Asked:
    """Return what rules test of a login."""
    return {
        "mysql.user": found.user, "mysql.database": found.database, "mysql.auth_plugin": found.plugin,
        "mysql.attribute": tuple([name + b"=" + value for name, value in found.attributes]),
    }  # fmt: skip


_GREETING = rb"(?s:.\x00\x00\x00\x0a)\d{1,2}\.\d{1,2}\.\d"
_REFUSAL = rb"(?s:.\x00\x00\x00\xff[\x10\x69\x6a]\x04)(?:#\d{5})?(?:Too many|Host )"
"""Errors 1040, 1129 and 1130 in place of a greeting."""
_LOGIN = rb"(?s:..[\x00\x01]\x01.{9}\x00{19})"
"""A login of protocol 4.1, or the packet that asks for TLS: behind capabilities, the greatest packet and a character
set are 19 bytes that are not in use."""

PROTOCOL = Protocol(
    name="mysql",
    from_client=_LOGIN,
    from_server=_GREETING + rb"|" + _REFUSAL,
    greets=True,
    settings=DialogueSettings,
    streams=speaking(MysqlFlow),
    oddities=("malformed_packet", "unknown_command", "query_truncated", "compressed"),
    event="mysql",
    ours=True,
    buffers=(
        Buffer("mysql.version", "mysql", _SERVER, "version of the server"),
        Buffer("mysql.user", "mysql", _CLIENT, "name of the user who logs in, or whom a session changes to"),
        Buffer("mysql.database", "mysql", _CLIENT, "name of the database of a login or a command"),
        Buffer("mysql.auth_plugin", "mysql", None, "how a user is proven: as the client begins, as the server asks"),
        Buffer("mysql.attribute", "mysql", _CLIENT, "attribute of the client: `_client_name=libmysql`", several=True),
        Buffer("mysql.command", "mysql", _CLIENT, "command: `query`, `init_db`, `stmt_prepare`"),
        Buffer(
            "mysql.query",
            "mysql",
            _CLIENT,
            "text of a query, or of a statement that is prepared; of a long one its end as well",
            several=True,
        ),
        Buffer("mysql.local_infile", "mysql", _SERVER, "name of a file of the client that the server asks for"),
        Buffer("mysql.rows", "mysql", _SERVER, "rows of a reply, decimal"),
        Buffer("mysql.affected_rows", "mysql", _SERVER, "rows that a command changed, decimal"),
        Buffer("mysql.error_code", "mysql", _SERVER, "number of an error, decimal: 1045 is a refused login"),
        Buffer("mysql.error_state", "mysql", _SERVER, "SQLSTATE of an error, five letters"),
        Buffer("mysql.error_message", "mysql", _SERVER, "text of an error"),
    ),
)
