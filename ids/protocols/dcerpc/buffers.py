"""What rules test of a call, whichever protocol carries it."""

from __future__ import annotations

from typing import NamedTuple

from ids.protocols.dcerpc.calls import RpcCall
from ids.protocols.dcerpc.pdu import REQUEST
from ids.protocols.made import Makers
from ids.protocols.protocol import Buffer

BUFFERS = (
    Buffer("dcerpc.iface", None, None, "interface that is called: its UUID, a space, its version", several=True),
    Buffer("dcerpc.opnum", None, None, "operation that is called, decimal"),
    Buffer(
        "dcerpc.stub_data", None, None, "data of a call or of an answer, put together of its fragments", several=True
    ),
    Buffer("dcerpc.byte_order", None, None, "order of bytes in the data: `little` or `big`"),
)
"""They come over TCP and UDP, and through named pipes of SMB."""

_NONE: tuple[bytes, ...] = ()


class Side(NamedTuple):
    """What one side said of a call."""

    called: bool
    """It is a call, not a bind."""
    named: tuple[bytes, ...]
    opnum: int
    stubs: tuple[bytes, ...]
    """The data; and how it reads without the UUID of an object."""
    little: bool


def side_of(call: RpcCall, answers: bool) -> Side:
    """Return what a side has said; nothing that comes later changes it."""
    said = (call.answer,) if answers else (call.stub, call.bare)
    stubs = tuple([bytes(stub) for stub in said if stub])
    return Side(call.kind == REQUEST, call.named, call.opnum, stubs, call.little)


def interface(side: Side) -> tuple[bytes, ...]:
    """Return the interface that is called, or all that may be meant."""
    return side.named if side.called else _NONE


def opnum(side: Side) -> tuple[bytes, ...]:
    """Return the number of the operation."""
    return (b"%d" % side.opnum,) if side.called else _NONE


def stub(side: Side) -> tuple[bytes, ...]:
    """Return the data."""
    return side.stubs


def byte_order(side: Side) -> tuple[bytes, ...]:
    """Return the order of bytes in the data."""
    return (b"little" if side.little else b"big",)


MAKERS: Makers[Side] = {
    "dcerpc.iface": interface,
    "dcerpc.opnum": opnum,
    "dcerpc.stub_data": stub,
    "dcerpc.byte_order": byte_order,
}
