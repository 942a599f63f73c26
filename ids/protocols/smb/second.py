"""What the commands of SMB 2 and 3 do to a connection ([MS-SMB2] 3.3.5)."""

from __future__ import annotations

from ids.protocols.smb import names, wire2
from ids.protocols.smb.about import Control, Create, Disposition, Exchange, Negotiate, Rename, Tree
from ids.protocols.smb.connection import MALFORMED, Connection
from ids.protocols.smb.logon import setup_of
from ids.protocols.smb.opened import Open
from ids.protocols.smb.wire1 import utf8
from ids.protocols.smb.wire2 import Head
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_SUCCESS, _PENDING, _OVERFLOW, _END_OF_FILE = 0, 0x103, 0x80000005, 0xC0000011
MOST = 16 << 20
"""Bytes of one read or write that are too many; servers take 8 MiB."""


class Second:
    """Reads messages for a connection."""

    __slots__ = ("_connection", "_limits", "_opened", "_tie")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._limits = (0, 0)
        """The most that clients may read and write; 0: not known."""
        self._tie: Head | None = None
        """The command before, in a compound."""
        self._opened: Open | None = None
        """What it is about."""

    def message(self, direction: Direction, data: bytes) -> None:
        """Take a message: one command, or several behind one another."""
        self._tie = self._opened = None
        at = 0
        for _ in range(self._connection.shared.settings.messages_compounded):
            head = wire2.head(data[at : at + wire2.HEADER])
            if head is None or data[at : at + 4] != b"\xfeSMB":
                self._connection.complain(direction, 0, 0, 2, 0, MALFORMED)
                return
            end = at + head.following if head.following else len(data)
            one = data[at:end] if at or head.following else data
            if head.related and self._tie is not None:
                head = head._replace(tree_id=self._tie.tree_id, session_id=self._tie.session_id)
            if direction is _CLIENT:
                self._request(head, one)
            else:
                self._answer(head, one)
            self._tie = head
            if not head.following or head.following < wire2.HEADER or end >= len(data):
                return
            at = end
        self._connection.count("too_many_compounded")

    # What clients ask.

    def _request(self, head: Head, data: bytes) -> None:
        ask = _REQUESTS.get(head.command)
        if ask is not None:
            ask(self, head, data)
        else:
            self._generic(head, data)

    def _begin(self, head: Head) -> Exchange:
        return self._connection.begin(2, head.command, head.session_id, head.tree_id)

    def _wait(self, head: Head, exchange: Exchange, *odd: bytes) -> None:
        """Report a request, and let it wait for its answer."""
        self._connection.say(exchange, _CLIENT, *odd)
        self._connection.wait((head.command, head.message_id), exchange, _CLIENT)

    def _generic(self, head: Head, _data: bytes, *odd: bytes) -> None:
        self._wait(head, self._begin(head), *odd)

    def _malformed(self, head: Head) -> None:
        self._connection.count("malformed")
        self._generic(head, b"", MALFORMED)

    def _quiet(self, head: Head, *odd: bytes) -> None:
        """Report something odd about a command that has no event of its own."""
        if odd:
            self._connection.say(self._begin(head), _CLIENT, *odd)

    def _ignore(self, head: Head, _data: bytes) -> None:
        """Leave out a question about a file: Suricata logs none, and there are many."""

    def _cancel(self, head: Head, _data: bytes) -> None:
        self._connection.finish(self._begin(head), _CLIENT)

    def _negotiate(self, head: Head, data: bytes) -> None:
        said = wire2.dialects(data)
        if said is None:
            self._malformed(head)
            return
        exchange = self._begin(head)
        exchange.about = Negotiate(2, [names.dialect(one).encode() for one in said[1]], said[0])
        self._wait(head, exchange)

    def _set_up(self, head: Head, data: bytes) -> None:
        token = wire2.token(data, answers=False)
        exchange = self._begin(head)
        exchange.tree_id = 0
        exchange.about, odd = setup_of(token or b"")
        self._wait(head, exchange, *odd)

    def _connect(self, head: Head, data: bytes) -> None:
        raw = wire2.share(data)
        if raw is None:
            self._malformed(head)
            return
        exchange = self._begin(head)
        exchange.tree_id = 0
        exchange.about = Tree(name := utf8(raw), names.is_pipes(name))
        self._wait(head, exchange)

    def _disconnect(self, head: Head, data: bytes) -> None:
        self._connection.trees.take((head.session_id, head.tree_id))
        self._generic(head, data)

    def _create(self, head: Head, data: bytes) -> None:
        said = wire2.create(data)
        if said is None:
            self._malformed(head)
            return
        raw, disposition, options = said
        exchange = self._begin(head)
        name = utf8(raw)
        exchange.about = Create(name, disposition, options)
        self._opened = self._connection.opening(name, head.session_id, head.tree_id)
        self._wait(head, exchange)
        self._connection.expect((head.command, head.message_id), self._opened)

    def _find(self, file_id: bytes, head: Head) -> Open:
        """Return the file that a command is about; in a compound that of the command before."""
        if file_id == wire2.SAME and self._opened is not None:
            return self._opened
        self._opened = self._connection.opened(file_id, head.session_id, head.tree_id)
        return self._opened

    def _close(self, head: Head, data: bytes) -> None:
        file_id = wire2.closed(data)
        if file_id is None:
            self._malformed(head)
            return
        opened = self._find(file_id, head)
        exchange = self._begin(head)
        self._wait(head, exchange)
        for side in (_CLIENT, _SERVER):
            self._connection.end_transfer(opened, side, _SUCCESS)
        self._connection.expect((head.command, head.message_id), opened)

    def _read(self, head: Head, data: bytes) -> None:
        said = wire2.read(data)
        if said is None:
            self._quiet(head, MALFORMED)
            return
        file_id, offset, size = said
        if size > min(self._limits[0] or MOST, MOST):
            self._quiet(head, b"smb.read_request_too_large")
        self._connection.expect((head.command, head.message_id), self._find(file_id, head), offset)

    def _write(self, head: Head, data: bytes) -> None:
        said = wire2.write(data)
        if said is None:
            self._quiet(head, MALFORMED)
            return
        if said.size > min(self._limits[1] or MOST, MOST):
            self._quiet(head, b"smb.write_request_too_large")
        opened = self._find(said.file_id, head)
        connection, like = self._connection, self._like(head)
        if connection.carries_calls(opened, said.data):
            for exchange in connection.calls(opened, _CLIENT, said.data, like):
                connection.wait_for_error((head.command, head.message_id), exchange)
        elif not opened.pipe:
            connection.transfer(opened, _CLIENT, said.offset, said.data, like)

    def _control(self, head: Head, data: bytes) -> None:
        said = wire2.control(data, answers=False)
        if said is None:
            self._malformed(head)
            return
        function, file_id, sent = said
        connection = self._connection
        if function == _TRANSCEIVE:
            opened = self._find(file_id, head)
            connection.expect((head.command, head.message_id), opened)
            if connection.carries_calls(opened, sent):
                begun = connection.calls(opened, _CLIENT, sent, self._like(head))
                if opened.logged:
                    for exchange in begun:
                        connection.wait_for_error((head.command, head.message_id), exchange)
                    return
        exchange = self._begin(head)
        exchange.about = Control(function)
        self._wait(head, exchange)

    def _set(self, head: Head, data: bytes) -> None:
        said = wire2.renamed(data)
        if said is None:
            return
        file_id, new, delete = said
        opened = self._find(file_id, head)
        known = opened.file_id or file_id
        exchange = self._begin(head)
        exchange.about = (
            Rename(opened.name, utf8(new), known) if new is not None else Disposition(opened.name, delete, known)
        )
        self._wait(head, exchange)

    def _like(self, head: Head) -> Exchange:
        """Return an exchange with what those have in common that begin or end with a message."""
        return Exchange(0, 2, head.command, head.session_id, head.tree_id, None, head.status)

    # What servers answer.

    def _answer(self, head: Head, data: bytes) -> None:
        answer = _ANSWERS.get(head.command)
        if answer is not None:
            answer(self, head, data)
        else:
            self._done(head)

    def _done(self, head: Head, *odd: bytes) -> Exchange | None:
        """End the exchange that a message answers; return it. A server that asks for time has not answered yet."""
        key = (head.command, head.message_id)
        waiting = self._connection.waiting
        exchange = waiting.get(key)
        if exchange is None:
            return None
        exchange.status = head.status
        if head.status == _PENDING:
            return None
        waiting.take(key)
        self._connection.finish(exchange, _SERVER, *odd)
        return exchange

    def _negotiated(self, head: Head, data: bytes) -> None:
        said = wire2.negotiated(data)
        key = (head.command, head.message_id)
        connection = self._connection
        exchange = connection.waiting.get(key) or connection.first_negotiate()
        if said is None:
            self._done(head, MALFORMED)
            return
        dialect, server, most_read, most_write = said
        connection.dialect = names.dialect(dialect)
        self._limits = most_read, most_write
        if exchange is None:
            return
        connection.waiting.take(key)
        if isinstance(exchange.about, Negotiate):
            exchange.about.server, exchange.about.most_read, exchange.about.most_write = server, most_read, most_write
        exchange.status = head.status
        odd = [b"smb.negotiate_max_read_size_too_large"] if most_read > MOST else []
        odd += [b"smb.negotiate_max_write_size_too_large"] if most_write > MOST else []
        connection.finish(exchange, _SERVER, *odd)

    def _was_set_up(self, head: Head, data: bytes) -> None:
        exchange = self._connection.waiting.get((head.command, head.message_id))
        if exchange is not None:
            exchange.session_id = head.session_id
        self._done(head)

    def _connected(self, head: Head, data: bytes) -> None:
        connection = self._connection
        exchange = connection.waiting.get((head.command, head.message_id))
        if exchange is None or head.status != _SUCCESS or not isinstance(exchange.about, Tree):
            self._done(head)
            return
        kind = wire2.share_type(data)
        if kind is None:
            self._done(head, MALFORMED)
            return
        exchange.session_id, exchange.tree_id = head.session_id, head.tree_id
        tree = exchange.about
        connection.learn(exchange, tree, kind == _PIPES)
        tree.kind = kind
        connection.add_tree(head.session_id, head.tree_id, tree)
        self._done(head)

    def _disconnected(self, head: Head, data: bytes) -> None:
        self._connection.trees.take((head.session_id, head.tree_id))
        self._done(head)

    def _created(self, head: Head, data: bytes) -> None:
        connection, key = self._connection, (head.command, head.message_id)
        if head.status == _PENDING:
            self._done(head)
            return
        opened, _ = connection.expected(key)
        if head.status != _SUCCESS:
            self._done(head)
            return
        said = wire2.created(data)
        if said is None:
            self._done(head, MALFORMED)
            return
        exchange = connection.waiting.get(key)
        if opened is not None:
            connection.add_open(said.file_id, opened)
        if exchange is not None and isinstance(exchange.about, Create):
            exchange.about.times, exchange.about.size, exchange.about.file_id = said.times, said.size, said.file_id
        self._done(head)

    def _was_closed(self, head: Head, data: bytes) -> None:
        opened, _ = self._connection.expected((head.command, head.message_id))
        self._done(head)
        if opened is not None and head.status == _SUCCESS:
            self._connection.forget(opened)

    def _was_read(self, head: Head, data: bytes) -> None:
        connection = self._connection
        if head.status == _PENDING:
            return
        opened, offset = connection.expected((head.command, head.message_id))
        if opened is None:
            return
        if head.status == _END_OF_FILE:
            connection.end_of_file(opened)
            return
        if head.status not in (_SUCCESS, _OVERFLOW):
            return
        said = wire2.was_read(data)
        like = self._like(head)
        if said is None:
            connection.complain(_SERVER, head.session_id, head.tree_id, 2, head.command, MALFORMED)
            return
        size, content = said
        if size > min(self._limits[0] or MOST, MOST):
            connection.complain(_SERVER, head.session_id, head.tree_id, 2, head.command, b"smb.read_response_too_large")
        if connection.carries_calls(opened, content):
            connection.calls(opened, _SERVER, content, like)
        elif not opened.pipe:
            connection.transfer(opened, _SERVER, offset, content, like)

    def _was_written(self, head: Head, data: bytes) -> None:
        if head.status not in (_SUCCESS, _PENDING):
            self._done(head)
        elif head.status == _SUCCESS:
            self._connection.waiting.take((head.command, head.message_id))

    def _controlled(self, head: Head, data: bytes) -> None:
        connection, key = self._connection, (head.command, head.message_id)
        if head.status == _PENDING:
            self._done(head)
            return
        opened, _ = connection.expected(key)
        said = wire2.control(data, answers=True) if head.status in (_SUCCESS, _OVERFLOW) else None
        if opened is not None and said is not None and connection.carries_calls(opened, said[2]):
            connection.calls(opened, _SERVER, said[2], self._like(head))
            waits = connection.waiting.get(key)
            if waits is not None and not isinstance(waits.about, Control):
                connection.waiting.take(key)
                return
        self._done(head, *([MALFORMED] if said is None and head.status == _SUCCESS else []))


_TRANSCEIVE = 0x0011C017
_PIPES = 2

_REQUESTS = {
    wire2.NEGOTIATE: Second._negotiate, wire2.SESSION_SETUP: Second._set_up, wire2.TREE_CONNECT: Second._connect,
    wire2.TREE_DISCONNECT: Second._disconnect, wire2.CREATE: Second._create, wire2.CLOSE: Second._close,
    wire2.READ: Second._read, wire2.WRITE: Second._write, wire2.IOCTL: Second._control, wire2.SET_INFO: Second._set,
    wire2.CANCEL: Second._cancel, wire2.GET_INFO: Second._ignore,
}  # fmt: skip
_ANSWERS = {
    wire2.NEGOTIATE: Second._negotiated, wire2.SESSION_SETUP: Second._was_set_up, wire2.TREE_CONNECT: Second._connected,
    wire2.TREE_DISCONNECT: Second._disconnected, wire2.CREATE: Second._created, wire2.CLOSE: Second._was_closed,
    wire2.READ: Second._was_read, wire2.WRITE: Second._was_written, wire2.IOCTL: Second._controlled,
}  # fmt: skip
