"""Modbus over TCP (Modbus Application Protocol 1.1b3): a request and its answer are one transaction."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.spelling import text
from ids.protocols.waiting import Waiting
from ids.protocols.walked import Walked
from ids.types import Direction

_CLIENT, _SERVER = Direction

_HEAD = 6
"""Bytes of the head that its length does not count."""
_LONGEST = _HEAD + 256
MAX_VALUES = 2000
"""Values of one request that rules can test: it has no more coils, and 123 registers."""
_EXCEPTION = 0x80
_NAMES = {
    1: "RdCoils", 2: "RdDiscreteInputs", 3: "RdHoldRegs", 4: "RdInputRegs", 5: "WrSingleCoil", 6: "WrSingleReg",
    7: "RdExcStatus", 8: "Diagnostic", 9: "Program484", 10: "Poll484", 11: "GetCommEventCtr", 12: "GetCommEventLog",
    13: "ProgramController", 14: "PollController", 15: "WrMultCoils", 16: "WrMultRegs", 17: "ReportServerID",
    18: "Program884", 19: "ResetCommLink", 20: "RdFileRec", 21: "WrFileRec", 22: "MaskWrReg", 23: "RdWrMultRegs",
    24: "RdFIFOQueue", 43: "MEI",
}  # fmt: skip
_USERS = frozenset({*range(65, 73), *range(100, 111)})
_RESERVED = frozenset({41, 42, 90, 91, 125, 126, 127})
_ACCESS = {
    1: "READ | COILS", 2: "READ | DISCRETES", 3: "READ | HOLDING", 4: "READ | INPUT",
    5: "WRITE | COILS | SINGLE | WRITE_SINGLE", 6: "WRITE | HOLDING | SINGLE | WRITE_SINGLE",
    15: "WRITE | COILS | MULTIPLE | WRITE_MULTIPLE", 16: "WRITE | HOLDING | MULTIPLE | WRITE_MULTIPLE",
    22: "WRITE | HOLDING", 23: "READ | WRITE | HOLDING | MULTIPLE | WRITE_MULTIPLE",
}  # fmt: skip
_EXCEPTIONS = {
    1: "IllegalFunction", 2: "IllegalDataAddr", 3: "IllegalDataValue", 4: "ServerDeviceFail", 5: "Ack",
    6: "ServerDeviceBusy", 7: "NegAck", 8: "MemParityErr", 10: "GatewayPathUnavailable", 11: "GatewayTargetFailToResp",
}  # fmt: skip
_DIAGNOSTICS = {
    0: "RetQueryData", 1: "RestartCommOpt", 2: "RetDiagReg", 3: "ChangeInputDelimiter", 4: "ForceListenOnlyMode",
    10: "ClearCountersDiagReg", 11: "RetBusMsgCount", 12: "RetBusCommErrCount", 13: "RetBusExcErrCount",
    14: "RetServerMsgCount", 15: "RetServerNoRespCount", 16: "RetServerNAKCount", 17: "RetServerBusyCount",
    18: "RetBusCharOverrunCount", 19: "RetOverrunErrCount", 20: "ClearOverrunCounterFlag", 21: "GetClearPlusStats",
}  # fmt: skip
_MEI = {13: "CANOpenGenRefReqResp", 14: "RdDevId"}
_READS, _SINGLE, _MULTIPLE = (1, 2, 3, 4), (5, 6), (15, 16)
_DIAGNOSTIC, _MASK, _READ_WRITE, _ENCAPSULATED = 8, 22, 23, 43
_ON = 0xFF00
_COIL = (0, _ON)
"""What a coil can be set to."""
_MOST = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
"""Coils or registers of one request, by function."""
_LEAST = {**dict.fromkeys((1, 2, 3, 4, 5, 6), 4), 15: 5, 16: 5, 22: 6, 23: 9}
"""Bytes that a request has behind its function at least."""
CATEGORIES = ("assigned", "unassigned", "user", "reserved")


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message has, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + _HEAD:
        return 0
    size = data[at + 4] << 8 | data[at + 5]
    return _HEAD + size if 2 <= size <= _LONGEST - _HEAD else -1


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


class ModbusMessage:
    """What one message says."""

    def __init__(self, data: bytes, of_client: bool) -> None:
        self.data = data
        self.tid, self.of, self.unit, self.raw = _number(data, 0), _number(data, 2), data[6], data[7]
        self.body = data[8:]
        self.of_client = of_client

    @property
    def function(self) -> int:
        """The function, also where the answer is an exception."""
        return self.raw & ~_EXCEPTION

    @property
    def category(self) -> str:
        """What kind of function it is (section 5 of the specification)."""
        if self.function in _NAMES:
            return "assigned"
        return "user" if self.function in _USERS else "reserved" if self.function in _RESERVED else "unassigned"

    def odd(self) -> list[str]:
        """Return what is odd about a request. One of another protocol is none to servers, which read on behind it."""
        odd = ["invalid_protocol_id"] if self.of else []
        if not self.raw or self.raw & _EXCEPTION:
            return [*odd, "invalid_function_code"]
        if len(self.body) < _LEAST.get(self.raw, 0):
            return [*odd, "invalid_length"]
        return [*odd, "invalid_value"] if self.wrong else odd

    def confirms(self, request: ModbusMessage) -> bool:
        """Return whether an answer says what was written as the request does."""
        function = request.function
        if self.raw != function or function not in (*_SINGLE, *_MULTIPLE, _MASK):
            return True
        size = 6 if function == _MASK else 4
        return self.body[:size] == request.body[:size]

    @property
    def wrong(self) -> bool:
        """It asks for more than there can be, or for a coil that is neither on nor off."""
        if not self.of_client:
            return False
        if self.function in _MOST and len(self.body) >= 4:
            return not 1 <= _number(self.body, 2) <= _MOST[self.function]
        return self.function == _SINGLE[0] and _number(self.body, 2) not in _COIL

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs."""
        categories = {"assigned": "PUBLIC_ASSIGNED", "unassigned": "PUBLIC_UNASSIGNED", "user": "USER_DEFINED"}
        return {
            "transaction_id": self.tid, "protocol_id": self.of, "unit_id": self.unit, "function_raw": self.raw,
            "function_code": _NAMES.get(self.function, "Unknown"), "access_type": _ACCESS.get(self.function, "NONE"),
            "category": categories.get(self.category, "RESERVED"),
            "error_flags": "DATA_VALUE" if self.wrong else "NONE", **self._data(),
        }  # fmt: skip

    def _data(self) -> dict[str, Any]:
        body, function = self.body, self.function
        if self.raw & _EXCEPTION:
            code = body[0] if body else 0
            return {"exception": {"raw": code, "code": _EXCEPTIONS.get(code, "Unknown")}}
        if function == _DIAGNOSTIC and len(body) >= 2:
            code = _number(body, 0)
            return {"diagnostic": {"raw": code, "code": _DIAGNOSTICS.get(code, "Reserved"), "data": text(body[2:])}}
        if function == _ENCAPSULATED and body:
            return {"mei": {"raw": body[0], "code": _MEI.get(body[0], "Unknown"), "data": text(body[1:])}}
        if function in (*_READS, _READ_WRITE) and not self.of_client:
            return {"read": {"data": text(body[1:])}}
        if function in _READS and len(body) >= 4:
            return {"read": {"address": _number(body, 0), "quantity": _number(body, 2)}}
        if function == _READ_WRITE and len(body) >= 9:
            return {"read": {"address": _number(body, 0), "quantity": _number(body, 2)}, "write": _several(body[4:])}
        if function in _MULTIPLE and self.of_client and len(body) >= 5:
            return {"write": _several(body)}
        if function in (*_SINGLE, *_MULTIPLE) and len(body) >= 4:
            return {"write": {"address": _number(body, 0), "data": _number(body, 2)}}
        if function == _MASK and len(body) >= 6:
            masks = {"and_mask": _number(body, 2), "or_mask": _number(body, 4)}
            return {"write": {"address": _number(body, 0), **masks}}
        return {"data": text(body)}

    def buffers(self) -> dict[str, bytes | tuple[bytes, ...] | None]:
        """Return what rules test of a request; addresses count from 1, as Suricata's rules have them."""
        body, function = self.body, self.function
        said: dict[str, bytes | tuple[bytes, ...] | None] = {
            "modbus.unit": b"%d" % self.unit,
            "modbus.function": b"%d" % self.raw,
            "modbus.category": f" {self.category} ".encode(),
            "modbus.access": f" {_ACCESS.get(function, 'none').replace(' |', '').lower()} ".encode(),
        }
        if function == _DIAGNOSTIC and len(body) >= 2:
            said["modbus.subfunction"] = b"%d" % _number(body, 0)
        if function in _ACCESS and len(body) >= 4:
            many = function in (*_READS, *_MULTIPLE, _READ_WRITE)
            written = body[4:] if function == _READ_WRITE else body
            first, count = _number(written, 0) + 1, _number(written, 2) if many else 1
            said["modbus.address"] = _pair(first, first + max(count, 1) - 1)
            said["modbus.value"] = self._values()
        return said

    def _values(self) -> tuple[bytes, ...]:
        """Return the values that are written, each behind its address."""
        body, function = self.body, self.function
        if function in _SINGLE:
            value = _number(body, 2)
            if function == _SINGLE[0] and value in _COIL:
                value = int(value == _ON)
            return (_pair(_number(body, 0) + 1, value),)
        if function == _READ_WRITE:
            body = body[4:]
        elif function not in _MULTIPLE:
            return ()
        first, count, data = _number(body, 0) + 1, min(_number(body, 2), MAX_VALUES), body[5:]
        if function == _MULTIPLE[0]:
            count = min(count, 8 * len(data))
            return tuple([_pair(first + at, data[at >> 3] >> (at & 7) & 1) for at in range(count)])
        count = min(count, len(data) // 2)
        return tuple([_pair(first + at, _number(data, 2 * at)) for at in range(count)])


def _several(body: bytes) -> dict[str, Any]:
    return {"address": _number(body, 0), "quantity": _number(body, 2), "data": text(body[5:])}


def _pair(first: int, second: int) -> bytes:
    return (min(first, 0xFFFF) << 16 | min(second, 0xFFFF)).to_bytes(4, "big")


class ModbusFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "modbus"

    __slots__ = ("_waiting",)

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._waiting: Waiting[int, tuple[int, ModbusMessage]] = Waiting(shared, shared.settings.open_requests)

    def cut(self, direction: Direction) -> Frames:
        """Cut messages."""
        return Frames(self.shared.pool, _length_of, _LONGEST)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        said = ModbusMessage(message.data, direction is _CLIENT)
        if direction is _CLIENT:
            tx_id, odd = self.new(), said.odd()
            gone = self._waiting.put(said.tid, (tx_id, said), len(message.data))
            if any(request.tid != said.tid for _, request in gone):
                odd.append("flooded")
            self.say(direction, said.buffers(), partial(_fields, tx_id, said, None), tx_id, complete=False, odd=odd)
            for request_id, request in gone:
                self._finish(request_id, request, None)
            return
        known = self._waiting.take(said.tid)
        if known is None:
            tx_id = self.new()
            fields = partial(_fields, tx_id, None, said)
            self.say(direction, {}, fields, tx_id, odd=["unsolicited_response"])
        else:
            self._finish(*known, said)

    def end(self) -> None:
        """Say what was not answered."""
        for tx_id, request in self._waiting.rest():
            self._finish(tx_id, request, None)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        super().release()
        self._waiting.release()

    def _finish(self, tx_id: int, request: ModbusMessage, answer: ModbusMessage | None) -> None:
        said: dict[str, bytes | tuple[bytes, ...] | None] = {}
        odd: list[str] = []
        if answer is not None:
            if answer.raw & _EXCEPTION and answer.body:
                said["modbus.exception"] = b"%d" % answer.body[0]
                odd = [] if answer.body[0] in _EXCEPTIONS else ["invalid_exception_code"]
            elif not answer.confirms(request):
                odd = ["value_mismatch"]
        self.say(_SERVER, said, partial(_fields, tx_id, request, answer), tx_id, odd=odd)


def _fields(tx_id: int, request: ModbusMessage | None, answer: ModbusMessage | None) -> EveFields:
    """Return what EVE logs of a transaction; its own numbers begin with 1."""
    fields: EveFields = {"id": tx_id + 1}
    if request is not None:
        fields["request"] = request.fields()
    if answer is not None:
        fields["response"] = answer.fields()
    return fields


_BEGINS = (
    rb"(?s:..\x00\x00\x00(?:\x06.[\x01-\x06\x08]|\x02.[\x07\x0b\x0c\x11]|[\x08-\xfd].[\x0f\x10\x14\x15\x17]"
    rb"|\x08.\x16|\x04.\x18|\x05.\x2b\x0e))"
)
PROTOCOL = Protocol(
    name="modbus",
    from_client=_BEGINS,
    walked=Walked(frozenset({502}), lambda data: _length_of(data, 0), re.compile(_BEGINS), _HEAD + 3),
    settings=DialogueSettings,
    streams=speaking(ModbusFlow),
    oddities=(
        "invalid_protocol_id",
        "unsolicited_response",
        "invalid_length",
        "invalid_function_code",
        "invalid_value",
        "invalid_exception_code",
        "value_mismatch",
        "flooded",
    ),
    event="modbus",
    buffers=(
        Buffer("modbus.unit", "modbus", _CLIENT, "unit of a request, decimal"),
        Buffer("modbus.function", "modbus", _CLIENT, "function of a request, decimal"),
        Buffer("modbus.subfunction", "modbus", _CLIENT, "what a diagnostic request asks, decimal"),
        Buffer("modbus.category", "modbus", _CLIENT, "` assigned `, ` unassigned `, ` user ` or ` reserved `"),
        Buffer("modbus.access", "modbus", _CLIENT, "what a request does, between blanks: ` write coils `"),
        Buffer("modbus.address", "modbus", _CLIENT, "first and last address of a request, from 1 on, 2 bytes each"),
        Buffer("modbus.value", "modbus", _CLIENT, "what is written: address and value, 2 bytes each", several=True),
        Buffer("modbus.exception", "modbus", _SERVER, "exception that is the answer, decimal"),
    ),
)
