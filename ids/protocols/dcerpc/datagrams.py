"""DCE/RPC over UDP (C706 chapter 12.5): calls name their interface themselves, and nobody binds."""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any

from ids.protocols.dcerpc.buffers import MAKERS, Side
from ids.protocols.dcerpc.calls import CALL_BYTES
from ids.protocols.dcerpc.fields import kind
from ids.protocols.dcerpc.pdu import REQUEST, RESPONSE, spelt
from ids.protocols.dcerpc.settings import DcerpcSettings
from ids.protocols.made import Made
from ids.protocols.shared import Shared
from ids.types import Direction, Transaction

HEADER = 80
_FRAGMENT, _LAST_FRAGMENT = 0x04, 0x02
"""Flags: it is one of several; it is the last one."""
_HEADS = Struct(">4B3sB16s16s16sIIIHHHHHBB").unpack_from, Struct("<4B3sB16s16s16sIIIHHHHHBB").unpack_from


def is_datagram(data: bytes) -> bool:
    """Return whether a datagram is a call, or an answer to one."""
    return (
        len(data) >= HEADER
        and data[0] == 4
        and data[1] <= 10
        and not data[3] & 0xFC
        and not data[4] & 0xEE
        and data[5] <= 3
        and HEADER + int.from_bytes(data[74:76], "little" if data[4] & 0x10 else "big") <= len(data)
    )


class _Exchange:
    """A call and its answer."""

    __slots__ = (
        "activity", "answer", "answered", "answers", "asked", "cost", "fragments", "head", "opnum", "sequence", "stub",
        "tx_id",
    )  # fmt: skip

    def __init__(self, tx_id: int, activity: str, sequence: int) -> None:
        self.tx_id = tx_id
        self.activity = activity
        self.sequence = sequence
        self.stub, self.answer = bytearray(), bytearray()
        self.fragments = self.answers = 0
        self.asked = self.answered = False
        self.opnum = 0
        self.head: tuple[bytes, ...] = ()
        """The interface that is called, as rules test it."""
        self.cost = 0
        """Bytes that it counts for besides what it says."""


class DcerpcDatagrams:
    """A UDP flow; a `DatagramParser`."""

    __slots__ = ("_next_id", "_open", "_shared", "_slot")

    def __init__(self, shared: Shared[DcerpcSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._open: dict[tuple[bytes, int], _Exchange] = {}
        """By activity and sequence number, the oldest first."""

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram, as `DatagramParser` has it."""
        if not is_datagram(data):
            self._shared.counters.add("dcerpc.malformed")
            return
        little = data[4] >> 4 & 1
        _, what, flags, _, _, _, _, interface, activity, _, version, sequence, opnum, _, _, size, _, _, _ = _HEADS[
            little
        ](data)
        if what not in (REQUEST, RESPONSE):
            return
        key = (activity, sequence)
        exchange = self._open.get(key)
        if exchange is None or (exchange.asked if what == REQUEST else exchange.answered):
            exchange = self._begin(key, spelt(activity, bool(little)), direction, ts_ns, number, out)
        body = data[HEADER : HEADER + size]
        done = not flags & _FRAGMENT or bool(flags & _LAST_FRAGMENT)
        if what == REQUEST:
            exchange.fragments += 1
            exchange.asked = done
            exchange.opnum = opnum
            exchange.head = (f"{spelt(interface, bool(little))} {version & 0xFFFF}".encode(),)
        else:
            exchange.answers += 1
            exchange.answered = done
        said = exchange.stub if what == REQUEST else exchange.answer
        room = max(self._shared.settings.stub_bytes - len(said), 0)
        if len(body) > room:
            self._shared.counters.add("dcerpc.stub_cut")
        if self._shared.pool.take(len(body[:room])):
            said += body[:room]
        if done:
            side = Side(
                bool(exchange.fragments), exchange.head, exchange.opnum, (bytes(said),) if said else (), bool(little)
            )
            buffers = Made(MAKERS, side)
            complete = exchange.asked and exchange.answered
            out.append(
                Transaction(
                    self._shared.flows, self._slot, "dcerpc", exchange.tx_id, direction, buffers,
                    partial(_fields, exchange), ts_ns, number, complete, more=buffers.further,
                )
            )  # fmt: skip
            if complete:
                self._forget(key)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for key in list(self._open):
            self._forget(key)

    def _begin(
        self,
        key: tuple[bytes, int],
        activity: str,
        direction: Direction,
        ts_ns: int,
        number: int,
        out: list[Transaction],
    ) -> _Exchange:
        """Begin an exchange; one that was open under its key, or the oldest of too many, ends unanswered."""
        given_up, pool = self._open.get(key), self._shared.pool
        room = len(self._open) < self._shared.settings.open_calls and pool.take(CALL_BYTES)
        if given_up is None and not room and self._open:
            key_of_oldest = next(iter(self._open))
            given_up = self._open[key_of_oldest]
            self._shared.counters.add("dcerpc.calls_evicted")
            self._forget(key_of_oldest)
        elif given_up is not None:
            self._forget(key)
        if given_up is not None:
            fields = partial(_fields, given_up)
            out.append(
                Transaction(
                    self._shared.flows, self._slot, "dcerpc", given_up.tx_id, direction, {}, fields, ts_ns, number, True
                )
            )
        exchange = self._open[key] = _Exchange(self._next_id, activity, key[1])
        exchange.cost = CALL_BYTES if room or pool.take(CALL_BYTES) else 0
        self._next_id += 1
        return exchange

    def _forget(self, key: tuple[bytes, int]) -> None:
        exchange = self._open.pop(key)
        self._shared.pool.give(exchange.cost + len(exchange.stub) + len(exchange.answer))


def _fields(exchange: _Exchange) -> dict[str, Any]:
    """Return what EVE logs, key for key as Suricata 7."""
    said: dict[str, Any] = {"request": kind(REQUEST) if exchange.asked else "REQUEST_LOST"}
    if exchange.asked:
        said["req"] = {
            "opnum": exchange.opnum, "frag_cnt": exchange.fragments, "stub_data_size": len(exchange.stub),
        }  # fmt: skip
    said["response"] = kind(RESPONSE) if exchange.answered else "UNREPLIED"
    if exchange.answered:
        said["res"] = {"frag_cnt": exchange.answers, "stub_data_size": len(exchange.answer)}
    return {**said, "activityuuid": exchange.activity, "seqnum": exchange.sequence, "rpc_version": "4.0"}
