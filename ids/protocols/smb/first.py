"""What the commands of SMB 1 do to a connection ([MS-CIFS] 3.3.5)."""

from __future__ import annotations

from collections.abc import Hashable

from ids.protocols.smb import names, wire1
from ids.protocols.smb.about import Create, Disposition, Exchange, Negotiate, Rename, Setup, Tree
from ids.protocols.smb.connection import MALFORMED, NEGOTIATION, Connection
from ids.protocols.smb.logon import setup_of
from ids.protocols.smb.wire1 import Block, Head
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT
_SUCCESS, _OVERFLOW = 0, 0x80000005
_UNANSWERED = (wire1.NT_CANCEL, wire1.TRANS2_MORE, wire1.LOCKING)
_CHAIN = 32
"""Commands of one message that are read. There are eight that others can follow."""


class First:
    """Reads messages for a connection."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def message(self, direction: Direction, data: bytes) -> None:
        """Take a message: one command, or several behind one another."""
        head = wire1.head(data)
        if head is None:
            self._connection.complain(direction, 0, 0, 1, 0, MALFORMED)
            return
        readers = _REQUESTS if direction is _CLIENT else _ANSWERS
        other = First._generic if direction is _CLIENT else First._done
        for block in wire1.blocks(data, head.command, _CHAIN):
            readers.get(block.command, other)(self, head, block)

    # What clients ask.

    def _begin(self, head: Head, block: Block) -> Exchange:
        return self._connection.begin(1, block.command, head.session_id, head.tree_id)

    def _wait(self, head: Head, block: Block, exchange: Exchange, *odd: bytes) -> None:
        """Report a request, and let it wait for its answer, where there will be one."""
        if block.command in _UNANSWERED:
            self._connection.finish(exchange, _CLIENT, *odd)
            return
        self._connection.say(exchange, _CLIENT, *odd)
        self._connection.wait(_key(head, block), exchange, _CLIENT)

    def _generic(self, head: Head, block: Block, *odd: bytes) -> None:
        self._wait(head, block, self._begin(head, block), *odd)

    def _malformed(self, head: Head, block: Block) -> None:
        self._connection.count("malformed")
        self._generic(head, block, MALFORMED)

    def _negotiate(self, head: Head, block: Block) -> None:
        exchange = self._begin(head, block)
        offered = wire1.dialects(block)
        exchange.about = Negotiate(1, offered)
        exchange.session_id = exchange.tree_id = 0
        odd = [] if offered and all(offered) else [b"smb.negotiate_malformed_dialects"]
        odd += [b"smb.duplicate_negotiate"] if NEGOTIATION in self._connection.waiting else []
        self._connection.say(exchange, _CLIENT, *odd)
        self._connection.wait(NEGOTIATION, exchange, _CLIENT)

    def _set_up(self, head: Head, block: Block) -> None:
        exchange = self._begin(head, block)
        exchange.tree_id = 0
        if len(block.words) == 24:
            size = wire1.word(block, 14)
            about, odd = setup_of(block.data[:size])
            system, at = wire1.text(block, size, head.unicode)
            manager, _ = wire1.text(block, at, head.unicode)
        else:
            about, odd = Setup(), []
            at = wire1.word(block, 14) + wire1.word(block, 16)
            about.user, at = wire1.text(block, at, head.unicode)
            about.domain, at = wire1.text(block, at, head.unicode)
            system, at = wire1.text(block, at, head.unicode)
            manager, _ = wire1.text(block, at, head.unicode)
        about.request = system, manager
        exchange.about = about
        self._wait(head, block, exchange, *odd)

    def _connect(self, head: Head, block: Block) -> None:
        if len(block.words) < 8:
            self._malformed(head, block)
            return
        exchange = self._begin(head, block)
        exchange.tree_id = 0
        name, at = wire1.text(block, wire1.word(block, 6), head.unicode)
        name = name[1:] if len(name) > 1 else name  # as Suricata has it, and only in SMB 1
        service, _ = wire1.text(block, at, False)
        exchange.about = Tree(name, names.is_pipes(name) or service == b"IPC", asked=service)
        self._wait(head, block, exchange)

    def _disconnect(self, head: Head, block: Block) -> None:
        self._connection.trees.take((head.session_id, head.tree_id))
        self._generic(head, block)

    def _create(self, head: Head, block: Block) -> None:
        said = wire1.create(block, head.unicode)
        if said is None:
            self._malformed(head, block)
            return
        exchange = self._begin(head, block)
        exchange.about = Create(*said)
        self._open(head, block, said[0])
        self._wait(head, block, exchange)

    def _open_old(self, head: Head, block: Block) -> None:
        """Note the name of what one of the older commands opens."""
        at = 0 if block.command == wire1.OPEN_ANDX else 1
        self._open(head, block, wire1.text(block, at, head.unicode)[0])
        self._generic(head, block)

    def _open(self, head: Head, block: Block, name: bytes) -> None:
        opened = self._connection.opening(name, head.session_id, head.tree_id)
        self._connection.expect(_key(head, block), opened)

    def _close(self, head: Head, block: Block) -> None:
        opened = self._connection.opens.get(block.words[:2])
        self._generic(head, block)
        if opened is not None:
            self._connection.end_transfer(opened, _CLIENT, None)
            self._connection.expect(_key(head, block), opened)

    def _read(self, head: Head, block: Block) -> None:
        said = wire1.read(block)
        if said is None:
            self._malformed(head, block)
            return
        opened = self._connection.opened(said[0], head.session_id, head.tree_id)
        self._connection.expect(_key(head, block), opened, said[1])
        if block.command == wire1.READ:
            self._generic(head, block)

    def _write(self, head: Head, block: Block) -> None:
        said = wire1.write(block)
        if said is None:
            self._malformed(head, block)
            return
        file_id, offset, _, content = said
        connection = self._connection
        opened = connection.opened(file_id, head.session_id, head.tree_id)
        like = self._like(head, block)
        if connection.carries_calls(opened, content):
            opened.loud = True
            for exchange in connection.calls(opened, _CLIENT, content, like):
                connection.wait_for_error(_key(head, block), exchange)
        elif not opened.pipe:
            like.command = wire1.WRITE_ANDX
            connection.transfer(opened, _CLIENT, offset, content, like)
        if block.command != wire1.WRITE_ANDX:
            self._generic(head, block)
        if block.command == wire1.WRITE_CLOSE:
            connection.end_transfer(opened, _CLIENT, None)

    def _transact(self, head: Head, block: Block) -> None:
        said = wire1.transact(block)
        if said is None:
            self._connection.complain(_CLIENT, head.session_id, head.tree_id, 1, block.command, MALFORMED)
            return
        file_id = wire1.pipe_of(said)
        if file_id is None:
            return
        connection, key = self._connection, _key(head, block)
        opened = connection.opened(file_id, head.session_id, head.tree_id)
        connection.expect(key, opened)
        if connection.carries_calls(opened, said.data):
            for exchange in connection.calls(opened, _CLIENT, said.data, self._like(head, block)):
                connection.wait_for_error(key, exchange)

    def _change(self, head: Head, block: Block) -> None:
        said = wire1.transact(block)
        if said is None:
            self._connection.complain(_CLIENT, head.session_id, head.tree_id, 1, block.command, MALFORMED)
            return
        found = wire1.changed(said, head.unicode)
        if found is None:
            return
        kind, file_id, name, level, new, delete = found
        if file_id:
            name = self._connection.opened(file_id, head.session_id, head.tree_id).name
        exchange = self._begin(head, block)
        exchange.about = (
            Rename(name, new, file_id) if new is not None else Disposition(name, delete, file_id, kind, level)
        )
        self._wait(head, block, exchange)

    def _rename(self, head: Head, block: Block) -> None:
        found = wire1.pairs(block)
        if found is None:
            self._malformed(head, block)
            return
        old, new = (name.replace(b"\0", b"") for name in found)
        exchange = self._begin(head, block)
        exchange.about = Rename(old, new)
        self._wait(head, block, exchange)

    def _like(self, head: Head, block: Block) -> Exchange:
        """Return an exchange with what those have in common that begin or end with a message."""
        return Exchange(0, 1, block.command, head.session_id, head.tree_id, None, head.status, head.dos)

    # What servers answer.

    def _done(self, head: Head, block: Block, *odd: bytes) -> Exchange | None:
        """End the exchange that a message answers; return it."""
        return self._end(_key(head, block), head, *odd)

    def _end(self, key: Hashable, head: Head, *odd: bytes) -> Exchange | None:
        exchange = self._connection.waiting.take(key)
        if exchange is not None:
            exchange.status, exchange.dos = head.status, head.dos
            self._connection.finish(exchange, _SERVER, *odd)
        return exchange

    def _negotiated(self, head: Head, block: Block) -> None:
        exchange = self._connection.waiting.get(NEGOTIATION)
        odd: list[bytes] = []
        if exchange is not None and isinstance(exchange.about, Negotiate):
            offered, chosen = exchange.about.offered, wire1.word(block, 0)
            if len(block.words) == 34:
                exchange.about.server = block.data[:16]
            if chosen < len(offered):
                self._connection.dialect = offered[chosen].decode("utf-8", "replace")
            else:
                odd.append(b"smb.negotiate_malformed_dialects")
        self._end(NEGOTIATION, head, *odd)

    def _was_set_up(self, head: Head, block: Block) -> None:
        exchange = self._connection.waiting.get(_key(head, block))
        if exchange is not None and isinstance(exchange.about, Setup):
            exchange.session_id, exchange.tree_id = head.session_id, head.tree_id
            if block.words:
                size = wire1.word(block, 6) if len(block.words) >= 8 else 0
                system, at = wire1.text(block, size, head.unicode)
                exchange.about.response = system, wire1.text(block, at, head.unicode)[0]
        self._done(head, block)

    def _connected(self, head: Head, block: Block) -> None:
        connection = self._connection
        exchange = connection.waiting.get(_key(head, block))
        if exchange is not None and head.status == _SUCCESS and isinstance(exchange.about, Tree):
            tree = exchange.about
            tree.has, _ = wire1.text(block, 0, False)
            exchange.session_id, exchange.tree_id = head.session_id, head.tree_id
            connection.learn(exchange, tree, tree.has == b"IPC")
            connection.add_tree(head.session_id, head.tree_id, tree)
        self._done(head, block)

    def _disconnected(self, head: Head, block: Block) -> None:
        self._connection.trees.take((head.session_id, head.tree_id))
        self._done(head, block)

    def _created(self, head: Head, block: Block) -> None:
        connection, key = self._connection, _key(head, block)
        opened, _ = connection.expected(key)
        said = wire1.created(block) if head.status == _SUCCESS else None
        if said is not None:
            times, size, file_id = said
            exchange = connection.waiting.get(key)
            if exchange is not None and isinstance(exchange.about, Create):
                exchange.about.times, exchange.about.size, exchange.about.file_id = times, size, file_id
            if opened is not None:
                connection.add_open(file_id, opened)
        self._done(head, block, *([MALFORMED] if said is None and head.status == _SUCCESS else []))

    def _opened_old(self, head: Head, block: Block) -> None:
        opened, _ = self._connection.expected(_key(head, block))
        at = 4 if block.command == wire1.OPEN_ANDX else 0
        if opened is not None and head.status == _SUCCESS and len(block.words) >= at + 2:
            self._connection.add_open(block.words[at : at + 2], opened)
        self._done(head, block)

    def _was_closed(self, head: Head, block: Block) -> None:
        opened, _ = self._connection.expected(_key(head, block))
        if opened is not None:
            self._connection.end_transfer(opened, _SERVER, None)
            if head.status == _SUCCESS:
                self._connection.forget(opened)
        self._done(head, block)

    def _was_read(self, head: Head, block: Block) -> None:
        connection = self._connection
        opened, offset = connection.expected(_key(head, block))
        if opened is not None and head.status in (_SUCCESS, _OVERFLOW):
            said = wire1.was_read(block)
            like = self._like(head, block)
            if said is None:
                connection.complain(_SERVER, head.session_id, head.tree_id, 1, block.command, MALFORMED)
            elif connection.carries_calls(opened, said[1]):
                connection.calls(opened, _SERVER, said[1], like)
            elif not opened.pipe:
                like.command = wire1.READ_ANDX
                connection.transfer(opened, _SERVER, offset, said[1], like)
        if block.command == wire1.READ:
            self._done(head, block)

    def _was_written(self, head: Head, block: Block) -> None:
        if head.status != _SUCCESS or block.command != wire1.WRITE_ANDX:
            self._done(head, block)
        else:
            self._connection.waiting.take(_key(head, block))

    def _transacted(self, head: Head, block: Block) -> None:
        connection, key = self._connection, _key(head, block)
        opened, _ = connection.expected(key)
        data = wire1.transacted(block) if head.status in (_SUCCESS, _OVERFLOW) else None
        if opened is not None and data is not None and connection.carries_calls(opened, data):
            connection.calls(opened, _SERVER, data, self._like(head, block))
            connection.waiting.take(key)
        else:
            self._done(head, block)


def _key(head: Head, block: Block) -> Hashable:
    """Return what a request and its answer have in common."""
    return block.command, head.process, head.multiplex


_OPENS = (wire1.OPEN, wire1.CREATE, wire1.CREATE_NEW, wire1.OPEN_ANDX)
_WRITES = (wire1.WRITE_ANDX, wire1.WRITE, wire1.WRITE_CLOSE)
_REQUESTS = {
    wire1.NEGOTIATE: First._negotiate, wire1.SESSION_SETUP: First._set_up, wire1.TREE_CONNECT_ANDX: First._connect,
    wire1.TREE_DISCONNECT: First._disconnect, wire1.NT_CREATE: First._create, wire1.CLOSE: First._close,
    wire1.READ_ANDX: First._read, wire1.READ: First._read, wire1.TRANS: First._transact, wire1.TRANS2: First._change,
    wire1.RENAME: First._rename, **dict.fromkeys(_OPENS, First._open_old), **dict.fromkeys(_WRITES, First._write),
}  # fmt: skip
_ANSWERS = {
    wire1.NEGOTIATE: First._negotiated, wire1.SESSION_SETUP: First._was_set_up,
    wire1.TREE_CONNECT_ANDX: First._connected, wire1.TREE_DISCONNECT: First._disconnected,
    wire1.NT_CREATE: First._created, wire1.CLOSE: First._was_closed, wire1.READ_ANDX: First._was_read,
    wire1.READ: First._was_read, wire1.TRANS: First._transacted, **dict.fromkeys(_OPENS, First._opened_old),
    **dict.fromkeys(_WRITES, First._was_written),
}  # fmt: skip
