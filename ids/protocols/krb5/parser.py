"""Kerberos of one flow: messages in datagrams, or in streams behind their length; each is a transaction."""

from __future__ import annotations

from functools import partial

from ids.later import late_pattern
from ids.protocols.framing import Frames
from ids.protocols.krb5 import message as messages
from ids.protocols.krb5.names import AP_REPLY, AP_REQUEST, ERROR
from ids.protocols.krb5.said import OF_REPLY, OF_REQUEST, fields
from ids.protocols.krb5.settings import Krb5Settings
from ids.protocols.made import Made
from ids.protocols.protocol import ODDITY
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_LENGTH = 4
"""Bytes before each message of a stream, which say how many it has (RFC 4120 section 7.2.2)."""
_LONG = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)"
_VERSION = rb"[\xa0\xa1]\x03\x02\x01\x05"


def _begins(tags: bytes) -> bytes:
    return rb"(?s:\x00[\x00-\x0f]..[" + tags + rb"]" + _LONG + rb"\x30" + _LONG + _VERSION + rb")"


FROM_CLIENT, FROM_SERVER = _begins(rb"\x6a\x6c\x6e"), _begins(rb"\x6b\x6d\x6f\x7e")
_BEGINS = late_pattern(_begins(rb"\x6a-\x6f\x7e"))
_MAX_LENGTH = 1 << 24
"""A message that says that it is longer is none: servers refuse those of more than a mebibyte."""


def _length_of(data: bytes | bytearray, at: int) -> int:
    if len(data) < at + _LENGTH:
        return 0
    size = int.from_bytes(data[at : at + _LENGTH], "big")
    return _LENGTH + size if size < _MAX_LENGTH else -1


class Krb5Flow:
    """Both directions of a flow; a `StreamParser` and a `DatagramParser`."""

    __slots__ = ("_asked", "_frames", "_next_id", "_shared", "_slot")

    def __init__(self, shared: Shared[Krb5Settings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._asked: int | None = None
        """Type of the latest request without an answer."""
        self._frames: list[Frames] = []
        """By direction, once there is a stream: most flows are datagrams."""

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram, as `DatagramParser` has it."""
        self._message(direction, data, ts_ns, number, 0, out)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction = stretch.direction
        if not self._frames:
            pool, limit = self._shared.pool, self._shared.settings.message_bytes
            self._frames = [Frames(pool, _length_of, limit, _BEGINS) for _ in Direction]
        for frame in self._frames[direction].feed(stretch.data, stretch.gap, stretch.closed):
            self._message(direction, frame.data[_LENGTH:], stretch.ts_ns, stretch.number, frame.behind, out)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for frames in self._frames:
            frames.release()

    def _message(
        self, direction: Direction, data: bytes, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> None:
        """Append the transaction of a message."""
        kind = messages.kind_of(data)
        if kind is None:
            self._shared.counters.add("krb5.malformed")
            self._append(direction, {ODDITY: b"krb5.malformed_data"}, None, ts_ns, number, behind, out)
            return
        message = messages.read(data, kind)
        if message.malformed:
            self._shared.counters.add("krb5.malformed")
        if kind in messages.REQUESTS or kind == AP_REQUEST:
            self._asked = kind
        else:
            message.failed, self._asked = (self._asked if kind == ERROR else None), None
        self._append(direction, None, message, ts_ns, number, behind, out)

    def _append(
        self,
        direction: Direction,
        odd: dict[str, bytes] | None,
        message: messages.Message | None,
        ts_ns: int,
        number: int,
        behind: int,
        out: list[Transaction],
    ) -> None:
        flows, tx_id = self._shared.flows, self._next_id
        self._next_id += 1
        if message is None:
            out.append(
                Transaction(flows, self._slot, "krb5", tx_id, direction, odd or {}, {}, ts_ns, number, behind=behind)
            )
            return
        asks = message.kind in messages.REQUESTS or message.kind == AP_REQUEST
        buffers = Made(OF_REQUEST if asks else OF_REPLY, message)
        # Suricata writes no event of what is said to services, and of what it cannot read.
        logged = message.kind not in (AP_REQUEST, AP_REPLY) and not message.malformed
        out.append(
            Transaction(
                flows, self._slot, "krb5", tx_id, direction, buffers, partial(fields, message), ts_ns, number, logged,
                more=buffers.further, behind=behind,
            )
        )  # fmt: skip
