"""One connection: its exchanges, trees, open files and pipes, which the commands of both versions have in common.

`first` and `second` say what the commands of SMB 1, and of SMB 2 and 3, do to them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from ids.protocols.dcerpc import pdu
from ids.protocols.dcerpc.buffers import side_of
from ids.protocols.dcerpc.calls import Association, Bounds, RpcCall
from ids.protocols.framing import Frames
from ids.protocols.made import Made
from ids.protocols.protocol import Setup
from ids.protocols.shared import Shared
from ids.protocols.smb.about import About, Exchange, Rpc, Transfer, Tree, fields
from ids.protocols.smb.buffers import OF_CLIENT, OF_SERVER, Said
from ids.protocols.smb.opened import Open, Part
from ids.protocols.smb.settings import SmbSettings
from ids.protocols.smb.transfers import OVERLAPS, TOO_LARGE, TOO_MANY, Ordered
from ids.protocols.waiting import Waiting
from ids.types import Direction, Transaction

UNKNOWN = b"<unknown>"
"""The name of a file whose opening was not seen."""
MALFORMED = b"smb.malformed_data"
"""What is odd about a message that cannot be read."""
CROWD = b"smb.too_many_transactions"
"""What is odd where more requests wait for their answers than there is room for."""
NEGOTIATION = "negotiation"
"""What the first request of a connection waits by: its answer may be one of SMB 2."""
_FULL = {
    TOO_MANY: (b"smb.write_queue_cnt_exceeded", b"smb.read_queue_cnt_exceeded"),
    TOO_LARGE: (b"smb.write_queue_size_exceeded", b"smb.read_queue_size_exceeded"),
}
"""By what there is too much of, and by direction: what is odd about pieces of a file."""
_END_OF_FILE = 0xC0000011
_DIRECTIONS = tuple(Direction)


class SharedCalls(Shared[SmbSettings]):
    """With the bounds of calls through pipes."""

    def __init__(self, protocol: str, setup: Setup) -> None:
        super().__init__(protocol, setup)
        limits = self.settings
        self.bounds = Bounds(
            protocol, limits.open_calls, limits.stub_bytes, self.pool, self.counters, answers_whole=False
        )


class Connection:
    """What the commands of both versions do to: exchanges, trees, open files and pipes."""

    __slots__ = (
        "_crowded", "_expected", "_late", "_next_id", "_slot", "at", "dialect", "opens", "part", "shared", "trees",
        "waiting",
    )  # fmt: skip

    def __init__(self, shared: SharedCalls, slot: int, tx_id: int) -> None:
        self.shared = shared
        self._slot = slot
        self._next_id = tx_id
        self.part: Part | None = None
        """The piece of a file that was read last."""
        self.at: tuple[int, int, int, list[Transaction]] = (0, 0, 0, [])
        """Time, packet and place of the message that is read, and where transactions go."""
        self.dialect = "unknown"
        limits = shared.settings
        self.waiting: Waiting[Hashable, Exchange] = Waiting(shared, limits.open_requests)
        """Requests without an answer, the oldest first, by what their answers have in common with them."""
        self._expected: Waiting[Hashable, tuple[Open, int]] = Waiting(shared, limits.open_requests)
        """By the same: files that answers are about, and the offset of what is read."""
        self.trees: Waiting[tuple[int, int], Tree] = Waiting(shared, limits.open_trees, "trees_evicted")
        """By session and number."""
        self.opens: Waiting[bytes, Open] = Waiting(shared, limits.open_files, "files_evicted")
        """By the file's identifier; those that are closed, and still answered about, by a key of their own."""
        self._crowded = False
        """More requests waited than there is room for; that is said once a connection."""
        self._late = 0
        """How many of those there were."""

    def release(self) -> None:
        """Give back the memory of what is open, and of what waits."""
        for opened in self.opens.rest():
            self._let_go(opened)
        for one in (self.waiting, self._expected, self.trees):
            one.release()

    def end(self, direction: Direction) -> None:
        """End what is open: no more bytes come."""
        ts_ns, number, _, out = self.at
        for opened in self.opens.values():
            for transfer in opened.transfers.values():
                transfer.file.truncate(ts_ns, number, out)
                self.finish(transfer.exchange, direction)
                transfer.release()
            opened.transfers.clear()
            for call in opened.association.close() if opened.association is not None else ():
                self.finish(call.owner, direction)
        for exchange in self.waiting.rest():
            self.finish(exchange, direction)

    # Exchanges.

    def begin(self, version: int, command: int, session_id: int, tree_id: int, about: About | None = None) -> Exchange:
        """Return a new exchange."""
        exchange = Exchange(self._next_id, version, command, session_id, tree_id, about)
        self._next_id += 1
        return exchange

    def wait(self, key: Hashable, exchange: Exchange, direction: Direction) -> None:
        """Let an exchange wait for its answer."""
        crowd = len(self.waiting) >= self.shared.settings.open_requests and key not in self.waiting
        for given_up in self.waiting.put(key, exchange, 0 if exchange.about is None else exchange.about.kept):
            self.finish(given_up, direction, *([CROWD] if crowd and not self._crowded else ()))
            self._crowded |= crowd

    def wait_for_error(self, key: Hashable, exchange: Exchange) -> None:
        """Let an exchange that goes on over several messages end where the server refuses this one."""
        if key not in self.waiting:
            self.wait(key, exchange, Direction.TO_SERVER)

    def first_negotiate(self) -> Exchange | None:
        """Return the negotiation of SMB 1, which a server may answer in SMB 2, and wait for it no longer."""
        return self.waiting.take(NEGOTIATION)

    def expect(self, key: Hashable, opened: Open, offset: int = 0) -> None:
        """Note which file an answer will be about."""
        self._expected.put(key, (opened, offset), len(opened.name))

    def expected(self, key: Hashable) -> tuple[Open | None, int]:
        """Return which file an answer is about, and the offset of what was asked for; once."""
        return self._expected.take(key) or (None, 0)

    def say(
        self,
        exchange: Exchange,
        direction: Direction,
        *odd: bytes,
        complete: bool = False,
        call: tuple[RpcCall, bool] | None = None,
    ) -> None:
        """Append what a side has said of an exchange."""
        ts_ns, number, behind, out = self.at
        exchange.odd = tuple(dict.fromkeys((*exchange.odd, *odd)))
        side = side_of(*call) if call is not None else None
        buffers = Made(OF_SERVER if direction else OF_CLIENT, Said(exchange, exchange.odd, side))
        out.append(
            Transaction(
                self.shared.flows, self._slot, "smb", exchange.tx_id, direction, buffers, self._fields(exchange),
                ts_ns, number, complete, more=buffers.further, behind=behind,
            )
        )  # fmt: skip

    def finish(self, exchange: Exchange, direction: Direction, *odd: bytes) -> None:
        """Append the end of an exchange, once."""
        if not exchange.done:
            exchange.done = True
            about = exchange.about
            self.say(exchange, direction, *odd, complete=not isinstance(about, Rpc) or about.logged)

    def complain(
        self, direction: Direction, session_id: int, tree_id: int, version: int, command: int, odd: bytes
    ) -> None:
        """Append what is odd about a message of which nothing else can be said."""
        self.count("malformed")
        self.say(self.begin(version, command, session_id, tree_id), direction, odd)

    def count(self, what: str) -> None:
        """Count something of SMB."""
        self.shared.counters.add(f"smb.{what}")

    def _fields(self, exchange: Exchange) -> Callable[[], dict[str, Any]]:
        return partial(fields, exchange, self.dialect)

    # Trees, files and pipes.

    def add_tree(self, session_id: int, tree_id: int, tree: Tree) -> None:
        """Keep the name of a tree."""
        self.trees.put((session_id, tree_id), tree, tree.kept)

    def learn(self, exchange: Exchange, tree: Tree, pipe: bool) -> None:
        """Take the server's word for what a tree is; where its name said otherwise, let rules look again."""
        if tree.pipe is not pipe:
            tree.pipe = pipe
            self.say(exchange, Direction.TO_SERVER)

    def opening(self, name: bytes, session_id: int, tree_id: int) -> Open:
        """Return what a client asks to open; `add_open` when the server has said its identifier."""
        tree = self.trees.get((session_id, tree_id))
        return Open(name, tree.name if tree is not None else b"", tree.pipe if tree is not None else None)

    def add_open(self, file_id: bytes, opened: Open) -> None:
        """Keep an open file."""
        self._forget(file_id)
        opened.file_id = file_id
        self._put(file_id, opened, len(opened.name))

    def opened(self, file_id: bytes, session_id: int, tree_id: int) -> Open:
        """Return an open file; one whose opening was not seen has no name."""
        found = self.opens.get(file_id)
        if found is None:
            found = self.opening(UNKNOWN, session_id, tree_id)
            self.add_open(file_id, found)
        return found

    def forget(self, opened: Open) -> None:
        """Forget a file that the server has closed."""
        if self.opens.get(opened.file_id) is opened:
            self._forget(opened.file_id)

    def _keep(self, opened: Open) -> None:
        """Keep what an answer is about that was closed before it came, so that what it will hold is released."""
        if opened.key is None:
            self._late += 1
            self._put(b"answered too late %d" % self._late, opened, 0)  # longer than any identifier

    def _put(self, key: bytes, opened: Open, size: int) -> None:
        opened.key = key
        for given_up in self.opens.put(key, opened, size):
            self._end_open(given_up)

    def _forget(self, key: bytes) -> None:
        opened = self.opens.take(key)
        if opened is not None:
            self._end_open(opened)

    def _end_open(self, opened: Open) -> None:
        """End what goes on in a file that is open no more."""
        opened.key = None
        for call in opened.association.close() if opened.association is not None else ():
            self.finish(call.owner, Direction.TO_SERVER)
        for side in list(opened.transfers):
            self.end_transfer(opened, side, None)
        self._let_go(opened)

    def _let_go(self, opened: Open) -> None:
        for pieces in opened.pieces:
            pieces.release()
        if opened.association is not None:
            opened.association.close()
        for transfer in opened.transfers.values():
            transfer.release()

    def transfer(self, opened: Open, direction: Direction, offset: int, data: bytes, like: Exchange) -> None:
        """Take a piece of a file; ``like`` has version, command, session and tree of its exchange."""
        found = opened.transfers.get(direction)
        if found is None:
            # Suricata names neither the share that SMB 2 writes to, nor the session of files in SMB 1.
            first, writes = like.version == 1, direction is Direction.TO_SERVER
            about = Transfer(opened.name, opened.share if first or not writes else b"", opened.file_id)
            session_id, tree_id = (0, 0) if first else (like.session_id, like.tree_id)
            exchange = self.begin(like.version, like.command, session_id, tree_id, about)
            file = self.shared.files.open(
                self._slot, "smb", exchange.tx_id, direction, name=opened.name, fields=self._fields(exchange),
            )  # fmt: skip
            found = Ordered(exchange, file, self.shared.pool, self.shared.settings.queued_bytes)
            opened.transfers[direction] = found
            self._keep(opened)
            self.say(exchange, direction)
        self.part = Part(opened, offset + len(data), like)
        ts_ns, number, _, out = self.at
        odd = found.take(offset, data, (ts_ns, number, out))
        if odd == OVERLAPS:
            self.say(found.exchange, direction, b"smb.file_overlap")
        elif odd:
            name = _FULL[odd][direction]
            if name not in found.exchange.odd:
                self.say(found.exchange, direction, name)

    def end_transfer(self, opened: Open, side: Direction, status: int | None) -> None:
        """End what is read, or written, of a file; rules look at it once more from the other side."""
        found = opened.transfers.pop(side, None)
        if found is None:
            return
        ts_ns, number, _, out = self.at
        found.exchange.status = status
        found.finish((ts_ns, number, out))
        self.finish(found.exchange, _DIRECTIONS[1 - side])

    def end_of_file(self, opened: Open) -> None:
        """End what is read of a file: there is no more of it."""
        self.end_transfer(opened, Direction.TO_CLIENT, _END_OF_FILE)

    # Calls through pipes.

    def carries_calls(self, opened: Open, data: bytes) -> bool:
        """Return whether what is said through a pipe, or what may be one, is DCE/RPC."""
        if opened.association is None and opened.pipe is not False and pdu.is_pdu(data):
            self._keep(opened)
            opened.association = Association(self.shared.bounds)
            opened.pieces = [Frames(self.shared.pool, pdu.length_of, pdu.LONGEST) for _ in _DIRECTIONS]
        return opened.association is not None

    def calls(self, opened: Open, direction: Direction, data: bytes, like: Exchange) -> list[Exchange]:
        """Take what is said through a pipe; return the exchanges that begin or end with it.

        ``like`` has version, command, session and tree of those that begin, and the status of those that end.
        """
        assert opened.association is not None
        self._keep(opened)
        found: dict[int, Exchange] = {}
        for piece in opened.pieces[direction].feed(data):
            call, evicted = opened.association.take(direction, pdu.read(piece.data))
            if evicted is not None:
                self.finish(evicted.owner, direction)
            if call.owner is None:
                about = Rpc(call, opened.logged)
                call.owner = self.begin(like.version, like.command, like.session_id, like.tree_id, about)
            found[call.owner.tx_id] = call.owner
            if direction is Direction.TO_CLIENT:
                call.owner.status, call.owner.dos = like.status, like.dos
            if call.answered if direction else call.asked:
                done = direction is Direction.TO_CLIENT or pdu.is_unanswered(call.kind)
                call.owner.done = call.owner.done or done
                self.say(call.owner, direction, complete=done and opened.logged, call=(call, bool(direction)))
        return list(found.values())
