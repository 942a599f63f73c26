"""NFS of one flow: calls find their replies by their identifiers, handles their names, and files their transactions."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from ids.protocols.dialogue import Dialogue, Shared
from ids.protocols.framing import Frames, Message
from ids.protocols.nfs import calls, compound, rpc
from ids.protocols.nfs.calls import Operation, Result
from ids.protocols.nfs.exchange import Exchange, Transfer
from ids.protocols.nfs.names import procedure
from ids.protocols.nfs.settings import NfsSettings
from ids.protocols.nfs.xdr import Malformed, Reader
from ids.protocols.waiting import Waiting
from ids.types import Direction

_CLIENT, _SERVER = Direction

PROGRAM = 100_003
"""NFS, among the programs of ONC RPC."""
_VERSIONS = range(2, 5)
_NEVER_IN_USE = 1
"""A version that Suricata does not count among those that there are not: it exists, and nobody has it."""
MAX_NAME_BYTES = 4096
"""Of a name that is remembered: no file system has longer ones."""
MAX_REUSED = 64
"""Identifiers of a flow that calls have which wait at the same time."""
MAX_TOGETHER = 8
"""Calls that wait with one identifier; the oldest ones count."""
REST_BYTES = 4096
"""Of operations that are read behind contents which are not kept."""


@dataclass(slots=True)
class Behind:
    """A call of which the rest is behind contents that are passed over."""

    exchange: Exchange
    rest: compound.Rest
    at: int
    """Bytes of the record that came."""
    kept: bytes = b""


@dataclass(slots=True)
class Together:
    """Calls with one identifier: nothing says which reply is whose."""

    calls: list[Exchange]
    left: int
    """Replies to come."""


class NfsFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "nfs"

    __slots__ = ("_behind", "_crowded", "_names", "_passing", "_records", "_reused", "_transfers", "_waiting")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        settings = shared.settings
        assert isinstance(settings, NfsSettings)
        self._records = [rpc.Records(shared.pool, settings.message_bytes) for _ in Direction]
        self._crowded = False
        """More calls waited than there is room for; that is said once a flow."""
        self._waiting: Waiting[int, Exchange] = Waiting(shared, settings.open_requests)
        """By identifier: calls without a reply."""
        self._transfers: Waiting[tuple[str, bytes], Exchange] = Waiting(shared, settings.transfers, "transfers_evicted")
        """By what is done, and to which handle: files that are read or written."""
        self._names: Waiting[bytes, tuple[bytes, ...]] = Waiting(shared, settings.names, "names_evicted")
        """By handle; the first one is that which is logged."""
        self._reused: Waiting[int, Together] = Waiting(shared, MAX_REUSED)
        """By identifier, where several calls have it."""
        self._passing = False
        """What the client sends is the rest of a record, of which the beginning was read."""
        self._behind: Behind | None = None

    def cut(self, direction: Direction) -> Frames:
        """Cut fragments of records."""
        limit = self.shared.settings.message_bytes
        if direction is _SERVER:
            return Frames(self.shared.pool, rpc.length_of, limit, rpc.BEGINS[direction], cut=True)

        def length_of(data: bytes | bytearray, at: int) -> int:
            """Return no more than is read: of a long fragment the rest comes raw, for its end is wanted."""
            length = rpc.length_of(data, at)
            return limit if length > limit and len(data) - at >= limit else length

        return Frames(self.shared.pool, length_of, limit, rpc.BEGINS[direction], cut=True)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a datagram, or a fragment of a record."""
        if direction is _CLIENT and self._cut:
            if self._passing:
                self._pass(message)
                return
            message = self._begun(message)
        reader = self._records[direction].add(message) if self._cut else Reader(message.data)
        if reader is None:
            return
        try:
            xid, kind = reader.u32(), reader.u32()
            if direction is _CLIENT and kind == rpc.CALL:
                self._call(reader, rpc.call(reader, xid))
            elif direction is _SERVER and kind == rpc.REPLY:
                self._reply(reader, rpc.reply(reader, xid))
        except Malformed:
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), complete=False, odd=("malformed_data",))

    def end(self) -> None:
        """Log what has no reply, and files of which no end was seen."""
        for exchange in self._waiting.rest():
            if exchange.transfer is None:
                self._finish(exchange)
        for exchange in self._transfers.rest():
            self._finish(exchange)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        super().release()
        for waiting in (self._waiting, self._transfers, self._names, self._reused):
            waiting.release()
        for records in self._records:
            records.release()

    # The end of a long call.

    def _begun(self, message: Message) -> Message:
        """Take the rest of a fragment that is longer than what is read as it comes."""
        self._behind = None
        left = rpc.length_of(message.data, 0) - len(message.data)
        cutter = self._cut[_CLIENT]
        if not message.whole or left <= 0 or len(message.data) < self.shared.settings.message_bytes:
            return message
        assert isinstance(cutter, Frames)
        cutter.raw(left)
        self._passing = True
        return message._replace(whole=False)

    def _pass(self, message: Message) -> None:
        """Pass over the rest of a fragment; keep what is behind contents in it, and read that at the end."""
        self._passing = not message.whole
        behind = self._behind
        if behind is None:
            return
        behind.at += message.lost
        missing = message.lost > 0 and behind.at > behind.rest.at
        start = max(behind.rest.at - behind.at, 0)
        behind.at += len(message.data)
        behind.kept += message.data[start:]
        if missing or len(behind.kept) > REST_BYTES:
            self._leave(behind)
        elif message.whole:
            self._behind = None
            self._resume(behind.exchange, compound.resumed(Reader(behind.kept), self._name, behind.rest))

    def _leave(self, behind: Behind) -> None:
        """Leave the rest of a call unread."""
        self._behind = None
        self._resume(behind.exchange, compound.Asked([], behind.rest.left, cut=True))

    def _resume(self, exchange: Exchange, asked: compound.Asked) -> None:
        """Say what the rest of a call asks."""
        rest = copy(exchange)
        rest.operations = asked.operations
        odd = self._judge(asked)
        if self._waiting.get(exchange.call.xid) is exchange:
            exchange.operations += asked.operations
        if asked.operations or odd:
            said = rest.asked() if asked.operations else {}
            self.say(_CLIENT, said, exchange.fields, exchange.tx_id, complete=False, odd=odd)

    def _judge(self, asked: compound.Asked) -> list[str]:
        """Return what is odd about the operations of a call."""
        if asked.unread:
            self.count("operations_unread")
        for one in asked.operations:
            self._name_also(one)
        odd = [] if asked.whole else ["malformed_data"]
        if asked.unread > asked.cut:  # behind what clients write, they ask for attributes
            odd.append("unread_operations")
        return odd

    # Calls.

    def _call(self, reader: Reader, call: rpc.Call) -> None:
        if call.program != PROGRAM or call.rpc_version != 2:
            self.count("other_programs")
            return
        if call.version not in _VERSIONS:
            why = "unsupported_version" if call.version == _NEVER_IN_USE else "non_existing_version"
            said = {"nfs.version": b"%d" % call.version, "nfs.procedure": b"%d" % call.procedure}
            self.say(_CLIENT, said, {}, self.new(), complete=False, odd=(why,))
            return
        exchange = Exchange(0, call)
        odd = self._read(exchange, reader)
        if "malformed_data" in odd:
            self.count("malformed")
        self._place(exchange)
        if self._share(exchange):
            odd.append("xid_reused")
        if len(self._waiting) >= self.shared.settings.open_requests and not self._crowded:
            self._crowded = True
            odd.append("too_many_transactions")
        for gone in self._waiting.put(call.xid, exchange, exchange.size):
            if gone is not exchange and gone.transfer is None:
                self._finish(gone)
        self.say(_CLIENT, exchange.asked(), exchange.fields, exchange.tx_id, complete=False, odd=odd)

    def _share(self, exchange: Exchange) -> bool:
        """Let a call share the names of one that waits with the same identifier; return whether there is one. A call
        that comes again, as over UDP, is no other.
        """
        xid = exchange.call.xid
        before = self._waiting.get(xid)
        if before is None or (before.call.procedure, before.names) == (exchange.call.procedure, exchange.names):
            return False
        together = self._reused.take(xid) or Together([before], 1)
        together.left += 1
        together.calls = [*together.calls[:MAX_TOGETHER], exchange]
        names = dict.fromkeys([name[:MAX_NAME_BYTES] for one in together.calls for name in one.names])
        for one in together.calls:
            one.also = tuple(names)[:MAX_TOGETHER]
        self._reused.put(xid, together, sum([one.size for one in together.calls]))
        return True

    def _read(self, exchange: Exchange, reader: Reader) -> list[str]:
        """Read what is asked; return what is odd about it."""
        call = exchange.call
        if call.credentials.control or call.credentials.hidden:
            if not call.credentials.control:
                self.count("encrypted")
            exchange.main = Operation(call.procedure, procedure(call.version, call.procedure))
            exchange.operations = [exchange.main]
            return []
        record = reader.end == self.shared.settings.message_bytes - rpc.MARK
        try:
            record, reader = record and call.credentials.service != rpc.INTEGRITY, call.credentials.unwrapped(reader)
        except Malformed:
            return ["malformed_data"]
        if call.version < 4 or not call.procedure:
            operation, whole = calls.asked(call.version, call.procedure, reader)
            exchange.operations, exchange.main = [operation], operation
            operation.filename = operation.filename or self._name(operation.handle)
            self._name_also(operation)
            exchange.handle = b"" if operation.name == "LOOKUP" else operation.handle
            return [] if whole else ["malformed_data"]
        asked = compound.asked(reader, self._name)
        if self._passing and asked.rest is not None and record:
            self._behind = Behind(exchange, asked.rest, len(reader.data))
            asked = asked._replace(unread=0)
        exchange.operations = asked.operations
        exchange.main = compound.main(exchange.operations)
        exchange.handle = exchange.main.handle if exchange.main is not None else b""
        return self._judge(asked)

    def _name(self, handle: bytes) -> bytes:
        return (self._names.get(handle) or (b"",))[0]

    def _name_also(self, one: Operation) -> None:
        """Add the further names of a handle."""
        names = self._names.get(one.handle)
        if names is not None and one.filename == names[0]:
            one.others += names[1:]

    def _place(self, exchange: Exchange) -> None:
        """Give a call its transaction: one of its own, or that of the file which it reads or writes."""
        one, handle = exchange.main, exchange.handle
        if one is not None and handle:
            if one.name in ("READ", "WRITE"):
                self._transfer(exchange, one, handle)
                return
            if one.name in ("COMMIT", "CLOSE"):
                open_one = self._transfers.get(("WRITE", handle)) or self._transfers.get(("READ", handle))
                if open_one is not None and (one.name == "CLOSE" or _is_written(open_one)):
                    exchange.tx_id, exchange.transfer = open_one.tx_id, open_one.transfer
                    return
        exchange.tx_id = self.new()

    def _transfer(self, exchange: Exchange, one: Operation, handle: bytes) -> None:
        key = one.name, handle
        open_one = self._transfers.get(key)
        if open_one is None:
            open_one = copy(exchange)
            open_one.tx_id, open_one.transfer, open_one.operations = self.new(), Transfer(), []
            for gone in self._transfers.put(key, open_one, exchange.size):
                if gone is not open_one:
                    self._finish(gone)
        elif one.filename and open_one.main is not None:
            open_one.main.filename = one.filename
        exchange.tx_id, exchange.transfer = open_one.tx_id, open_one.transfer

    # Replies.

    def _reply(self, reader: Reader, reply: rpc.Reply) -> None:
        exchange = self._waiting.take(reply.xid)
        self._reply_together(reader, reply)
        if exchange is None:
            self.count("replies_unmatched")
            return
        exchange.denied = reply.denied
        main, whole = Result(), True
        if not reply.denied and not reply.accepted and not exchange.call.credentials.hidden:
            main, whole = self._results(exchange, reader)
        if not whole:
            self.count("malformed")
        ends = self._went_on(exchange, main)
        logged = exchange if exchange.transfer is None else None
        self.say(
            _SERVER, {"nfs.status": exchange.status_text}, exchange.fields, exchange.tx_id,
            complete=logged is not None and _is_logged(exchange), odd=() if whole else ("malformed_data",),
        )  # fmt: skip
        for one in ends:
            self._finish(one, _SERVER)

    def _reply_together(self, reader: Reader, reply: rpc.Reply) -> None:
        """Read a reply as that of each call with its identifier, for the names of handles."""
        together = self._reused.take(reply.xid)
        if together is None:
            return
        for one in together.calls:
            if not reply.denied and not reply.accepted and not one.call.credentials.hidden:
                self._results(copy(one), copy(reader))
        together.left -= 1
        if together.left:
            self._reused.put(reply.xid, together, sum([one.size for one in together.calls]))

    def _results(self, exchange: Exchange, reader: Reader) -> tuple[Result, bool]:
        """Read what became of a call; return what became of its main operation, and if nothing is malformed."""
        call, main = exchange.call, exchange.main
        if call.credentials.control:
            return Result(), True
        try:
            reader = call.credentials.unwrapped(reader)
        except Malformed:
            return Result(), False
        if call.version < 4 or not call.procedure:
            if main is None:
                return Result(), True
            result, whole = calls.answered(call.version, main, reader)
            exchange.status = result.status
            if main.name in calls.NAMES_A_HANDLE:
                self._remember(result.handle, main.filename, *exchange.also)
            for handle, name in result.entries:
                self._remember(handle, name)
            if main.name == "LOOKUP":
                exchange.handle = result.handle
            return result, whole
        return self._results4(exchange, reader)

    def _results4(self, exchange: Exchange, reader: Reader) -> tuple[Result, bool]:
        status, results, whole = compound.answered(reader)
        found = Result(status)
        for one, (name, result) in zip(exchange.operations, results, strict=False):
            if name != one.name:
                break
            if name == "GETFH":
                self._remember(result.handle, one.filename, *exchange.also)
            if one is exchange.main:
                found = result
        exchange.status = found.status
        return found, whole

    def _remember(self, handle: bytes, *names: bytes) -> None:
        if handle and any(names):
            kept = tuple(dict.fromkeys([name[:MAX_NAME_BYTES] for name in names if name]))
            self._names.put(handle, kept, len(handle) + sum(map(len, kept)))

    def _went_on(self, exchange: Exchange, result: Result) -> list[Exchange]:
        """Say in the transaction of a file what became of a call; return those that ended by it."""
        one, handle = exchange.main, exchange.handle
        if exchange.transfer is None or one is None:
            return []
        ends = []
        for name in ("READ", "WRITE") if one.name == "CLOSE" else ("WRITE",) if one.name == "COMMIT" else (one.name,):
            open_one = self._transfers.get((name, handle))
            if open_one is None or open_one.transfer is None:
                continue
            open_one.denied, open_one.status = exchange.denied, exchange.status
            transfer = open_one.transfer
            transfer.chunks += one.name == name
            if name != one.name or result.eof or one.sync or exchange.status != 0:
                transfer.last, transfer.last_xid = True, exchange.call.xid
                self._transfers.take((name, handle))
                ends.append(open_one)
        return ends

    def _finish(self, exchange: Exchange, direction: Direction = _CLIENT) -> None:
        """End a transaction."""
        self.say(direction, {}, exchange.fields, exchange.tx_id, complete=_is_logged(exchange))


def _is_written(exchange: Exchange) -> bool:
    return exchange.main is not None and exchange.main.name == "WRITE"


def _is_logged(exchange: Exchange) -> bool:
    """Return whether a call has an event: not what clients ask all the time, as in Suricata."""
    return exchange.main is None or exchange.main.name not in compound.AUXILIARY
