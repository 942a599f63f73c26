"""LDAP of one flow: an operation and its answers are one transaction, over TCP and (CLDAP) over UDP."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ids.later import late_pattern
from ids.protocols import der, ntlmssp
from ids.protocols.framing import Frames
from ids.protocols.ldap.message import GOES_ON, START_TLS, UNANSWERED, Message, read
from ids.protocols.ldap.settings import LdapSettings
from ids.protocols.made import Made, Makers
from ids.protocols.protocol import ODDITY, Handover
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.protocols.waiting import Waiting
from ids.types import Direction, Transaction

_LONG = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...|\x84....)"
_NUMBER = rb"\x02(?:\x01.|\x02..|\x03...|\x04....)"
FROM_CLIENT = rb"(?s:\x30" + _LONG + _NUMBER + rb"(?:\x60" + _LONG + rb"\x02\x01[\x01-\x03]\x04|[\x63\x77]))"
FROM_SERVER = rb"(?s:\x30" + _LONG + _NUMBER + rb"[\x61\x64\x65\x73\x78]" + _LONG + rb"[\x04\x0a])"
_BEGINS = late_pattern(rb"(?s:\x30" + _LONG + _NUMBER + rb"[\x42\x4a\x50\x60-\x6f\x73\x77-\x79])")
_WRAPPED, _SIGNATURE = 4, 16
"""Bytes before a message that SASL signs or encrypts: its length; and those of a signature of NTLM."""
COPIES = 4
"""Of a message, in what is kept of it: for rules, and for events."""
_NONE: tuple[bytes, ...] = ()


def _length_of(data: bytes | bytearray, at: int) -> int:
    if data[at] == der.SEQUENCE:
        return der.size_of(data, at)
    if data[at]:
        return -1
    return _WRAPPED + int.from_bytes(data[at + 1 : at + _WRAPPED], "big") if len(data) >= at + _WRAPPED else 0


class Said(NamedTuple):
    """A message, and who it says logs on."""

    message: Message
    logon: ntlmssp.Logon | None = None


def _dn(said: Said) -> tuple[bytes, ...]:
    return _NONE if said.message.dn is None else (said.message.dn.encode(),)


def _operation(said: Said) -> tuple[bytes, ...]:
    return (said.message.operation.encode(),)


def _attributes(said: Said) -> tuple[bytes, ...]:
    return tuple([name.encode() for name in said.message.attributes])


def _of_result(key: str) -> Callable[[Said], tuple[bytes, ...]]:
    return lambda said: (said.message.said[key].encode(),) if key in said.message.said else _NONE


def _of_logon(key: str) -> Callable[[Said], tuple[bytes, ...]]:
    return lambda said: _NONE if said.logon is None else (getattr(said.logon, key),)


def _odd(said: Said) -> tuple[bytes, ...]:
    return (b"ldap.malformed_data",) if said.message.malformed else _NONE


OF_REQUEST: Makers[Said] = {
    "ldap.request.operation": _operation,
    "ldap.request.dn": _dn,
    "ldap.request.attribute_type": _attributes,
    "ldap.ntlmssp_user": _of_logon("user"),
    "ldap.ntlmssp_domain": _of_logon("domain"),
    ODDITY: _odd,
}
OF_RESPONSE: Makers[Said] = {
    "ldap.responses.operation": _operation,
    "ldap.responses.dn": _dn,
    "ldap.responses.attribute_type": _attributes,
    "ldap.responses.result_code": _of_result("result_code"),
    "ldap.responses.message": _of_result("message"),
    ODDITY: _odd,
}


class _Exchange:
    """An operation and its answers."""

    __slots__ = ("request", "responses", "tls", "tx_id")

    def __init__(self, tx_id: int, request: Message | None) -> None:
        self.tx_id = tx_id
        self.request = request
        self.responses: list[Message] = []
        self.tls = request is not None and request.said.get("name") == START_TLS


def fields(exchange: _Exchange) -> dict[str, Any]:
    """Return what EVE logs, by the keys of Suricata 8: version 7 has no such event."""
    said: dict[str, Any] = {}
    if exchange.request is not None:
        said["request"] = _object(exchange.request)
    if exchange.responses:
        said["responses"] = [_object(response) for response in exchange.responses]
    return said


def _object(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"operation": message.operation, "message_id": message.number}
    if message.said:
        said[message.operation] = message.said
    return said


class LdapFlow:
    """Both directions of a flow; a `StreamParser` and a `DatagramParser`."""

    __slots__ = ("_closed", "_frames", "_next_id", "_open", "_shared", "_slot")

    def __init__(self, shared: Shared[LdapSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._closed = 0
        self._open: Waiting[int, _Exchange] = Waiting(shared, shared.settings.open_requests)
        """By number of the message, the oldest first."""
        limit = shared.settings.message_bytes
        self._frames = [Frames(shared.pool, _length_of, limit, _BEGINS) for _ in Direction]

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram, as `DatagramParser` has it."""
        self._message(direction, data, ts_ns, number, 0, out)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        for frame in self._frames[direction].feed(data, gap, closed):
            message = frame.data
            if not message[0]:
                at = _WRAPPED + _SIGNATURE
                if message[at : at + 1] != b"\x30":
                    self._shared.counters.add("ldap.wrapped")
                    continue
                message = message[at:]
            if self._message(direction, message, ts_ns, number, frame.behind, out):
                rest = data[len(data) - frame.behind :]
                return Handover(self._next_id, (self._frames[Direction.TO_SERVER].held, rest), expected="tls")
        if closed:
            self._closed |= 1 << direction
            if self._closed == 0b11:
                for exchange in self._open.rest():
                    self._append(exchange, direction, {}, {}, True, ts_ns, number, 0, out)
        return None

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for frames in self._frames:
            frames.release()
        self._open.release()

    def _message(
        self, direction: Direction, data: bytes, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> bool:
        """Append what a message says; return whether TLS goes on behind it."""
        message = read(data)
        if message is None:
            self._shared.counters.add("ldap.malformed")
            return False
        if message.malformed:
            self._shared.counters.add("ldap.malformed")
        if message.asks:
            exchange = self._begin(message, len(data), direction, ts_ns, number, behind, out)
            buffers = Made(OF_REQUEST, Said(message, self._logon(message)))
            done = message.operation in UNANSWERED or message.number not in self._open
        else:
            exchange = self._open.get(message.number) or self._begin(None, 0, direction, ts_ns, number, behind, out)
            if self._keeps(exchange, message, len(data)):
                exchange.responses.append(message)
            else:
                self._shared.counters.add("ldap.responses_left_out")
            buffers = Made(OF_RESPONSE, Said(message))
            done = message.operation not in GOES_ON
            if done:
                self._open.take(message.number)
        self._append(exchange, direction, buffers, buffers.further, done, ts_ns, number, behind, out)
        return (
            exchange.tls and message.operation == "extended_response" and message.said.get("result_code") == "success"
        )

    def _logon(self, message: Message) -> ntlmssp.Logon | None:
        """Return who logs on by NTLM."""
        try:
            return ntlmssp.logon(message.credentials) if message.credentials else None
        except ntlmssp.Malformed:
            self._shared.counters.add("ldap.malformed_ntlmssp")
            return None

    def _begin(
        self,
        message: Message | None,
        size: int,
        direction: Direction,
        ts_ns: int,
        number: int,
        behind: int,
        out: list[Transaction],
    ) -> _Exchange:
        """Begin an exchange; one that was open under its number, or the oldest of too many, ends."""
        exchange = _Exchange(self._next_id, message)
        self._next_id += 1
        if message is None or message.operation in UNANSWERED:
            return exchange
        for given_up in self._open.put(message.number, exchange, COPIES * size):
            if given_up is not exchange:
                self._append(given_up, direction, {}, {}, True, ts_ns, number, behind, out)
        return exchange

    def _keeps(self, exchange: _Exchange, message: Message, size: int) -> bool:
        """Return whether an exchange may have one more response, of so many bytes."""
        if len(exchange.responses) >= self._shared.settings.responses:
            return False
        waits = self._open.get(message.number) is exchange
        return not waits or message.operation not in GOES_ON or self._open.grow(message.number, COPIES * size)

    def _append(
        self,
        exchange: _Exchange,
        direction: Direction,
        buffers: Any,
        more: Any,
        complete: bool,
        ts_ns: int,
        number: int,
        behind: int,
        out: list[Transaction],
    ) -> None:
        out.append(
            Transaction(
                self._shared.flows, self._slot, "ldap", exchange.tx_id, direction, buffers, partial(fields, exchange),
                ts_ns, number, complete, more=more, behind=behind,
            )
        )  # fmt: skip
