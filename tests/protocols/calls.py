"""Messages of DCE/RPC made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

from struct import pack
from uuid import UUID

SVCCTL = "367abb81-9844-35f1-ad32-98f038001003"
SRVSVC = "4b324fc8-1670-01d3-1278-5a47bf6ee188"
NDR = bytes.fromhex("045d888aeb1cc9119fe808002b10486002000000")
REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, ALTER, AUTH3 = 0, 2, 3, 11, 12, 14, 16
WHOLE = 3


def pdu(kind: int, body: bytes, *, call_id: int = 1, flags: int = WHOLE, little: bool = True) -> bytes:
    """Return a message."""
    order = "<" if little else ">"
    head = pack(order + "BBBB4sHHI", 5, 0, kind, flags, bytes((little << 4, 0, 0, 0)), 16 + len(body), 0, call_id)
    return head + body


def uuid(text: str, *, little: bool = True) -> bytes:
    """Return a UUID as it is sent."""
    return UUID(text).bytes_le if little else UUID(text).bytes


def bind(*interfaces: tuple[int, str, int], call_id: int = 1, little: bool = True, kind: int = BIND) -> bytes:
    """Return a bind for these contexts: number, UUID and version."""
    order = "<" if little else ">"
    contexts = b"".join(
        pack(order + "HBx16sHH", number, 1, uuid(text, little=little), version, 0) + NDR
        for number, text, version in interfaces
    )
    body = pack(order + "HHIBxxx", 5840, 5840, 0, len(interfaces)) + contexts
    return pdu(kind, body, call_id=call_id, little=little)


def bind_ack(*results: int, call_id: int = 1, little: bool = True, address: bytes = b"\\pipe\\x\0") -> bytes:
    """Return an answer to a bind with these results."""
    order = "<" if little else ">"
    body = pack(order + "HHIH", 5840, 5840, 1, len(address)) + address
    body += bytes(-(16 + len(body)) % 4)
    body += pack(order + "Bxxx", len(results))
    body += b"".join(pack(order + "HH", result, 0) + NDR for result in results)
    return pdu(BIND_ACK, body, call_id=call_id, little=little)


def request(
    opnum: int, stub: bytes, *, call_id: int = 1, context: int = 0, flags: int = WHOLE, little: bool = True
) -> bytes:
    """Return a call, or a fragment of one."""
    body = pack(("<" if little else ">") + "IHH", len(stub), context, opnum) + stub
    return pdu(REQUEST, body, call_id=call_id, flags=flags, little=little)


def response(stub: bytes, *, call_id: int = 1, flags: int = WHOLE, little: bool = True) -> bytes:
    """Return an answer, or a fragment of one."""
    body = pack(("<" if little else ">") + "IHH", len(stub), 0, 0) + stub
    return pdu(RESPONSE, body, call_id=call_id, flags=flags, little=little)


def datagram(
    kind: int, stub: bytes, *, sequence: int = 0, opnum: int = 0, flags: int = 0, little: bool = True,
    interface: str = SVCCTL, activity: str = SRVSVC,
) -> bytes:  # fmt: skip
    """Return a call, or an answer, over UDP."""
    order = "<" if little else ">"
    head = pack("BBBB4s", 4, kind, flags, 0, bytes((little << 4, 0, 0, 0)))
    head += bytes(16) + uuid(interface, little=little) + uuid(activity, little=little)
    return head + pack(order + "IIIHHHHHBB", 0, 2, sequence, opnum, 0, 0, len(stub), 0, 0, 0) + stub
