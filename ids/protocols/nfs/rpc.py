"""ONC RPC, version 2 (RFC 5531): the heads of calls and replies, and the records of a stream (section 11)."""

from __future__ import annotations

import re
from typing import NamedTuple

from ids.protocols.framing import Message, Pool
from ids.protocols.nfs.xdr import Malformed, Reader

MARK = 4
"""Bytes before a fragment of a record: its length, and in the highest bit whether it is the last one."""
MAX_FRAGMENT = 1 << 26
"""Longer ones no server takes: Linux takes 4 MiB and the head of a call."""
CALL, REPLY = 0, 1
_NONE, _SYS, _SHORT, _DH, _KERB, _RSA, _GSS = range(7)
_FLAVORS = ("NULL", "UNIX", "SHORT", "DH", "KERB", "RSA", "GSS")
"""What proves who calls (RFC 5531 section 8.2), as EVE spells it."""
INTEGRITY, PRIVACY = 2, 3
"""Services of RPCSEC_GSS (RFC 2203 section 5.2.2): what is signed can be read, what is encrypted cannot."""

BEGINS = (
    re.compile(rb"(?s:[\x00\x80].{7}\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa3\x00\x00\x00[\x02-\x04])"),
    re.compile(rb"\A(?s:[\x00\x80].{7}\x00\x00\x00\x01\x00\x00\x00[\x00\x01])"),
)
"""By direction: how a record begins, by which one is found behind missing bytes."""


def length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a fragment has with its mark, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + MARK:
        return 0
    size = int.from_bytes(data[at : at + MARK], "big") & 0x7FFFFFFF
    return MARK + size if size <= MAX_FRAGMENT else -1


class Records:
    """Puts the fragments of one direction of a stream together; what it holds counts in a `Pool`."""

    __slots__ = ("_broken", "_held", "_limit", "_pool", "_rest")

    def __init__(self, pool: Pool, limit: int) -> None:
        """Of a record, the first ``limit`` bytes are read."""
        self._pool = pool
        self._limit = limit
        self._held = bytearray()
        self._broken = False
        """Bytes of the record are missing behind those that are held."""
        self._rest = 0
        """Bytes to come of a fragment with a hole, which `ids.protocols.framing.Frames` hands on as they come."""

    def add(self, message: Message) -> Reader | None:
        """Take a fragment; return the record that it ends."""
        if self._rest and self._goes_on(message):
            return None
        if message.lost:
            self.release()
        data = message.data
        left = length_of(data, 0) - len(data)
        if not message.whole and len(data) < self._limit:
            self._rest = max(left, 0)
        ends = bool(data[0] & 0x80)
        if ends and not (self._held or self._broken):  # as nearly all do
            return Reader(data[MARK:], whole=message.whole)
        self._append(data[MARK:])
        self._broken = self._broken or not message.whole
        if not ends:
            return None
        record, broken = bytes(self._held), self._broken
        self.release()
        return Reader(record, whole=not broken)

    def _append(self, piece: bytes) -> None:
        """Hold a fragment, up to the limit; where there is no room, the record is cut there."""
        if self._broken:
            return
        room = self._limit - len(self._held)
        self._broken = len(piece) > room
        if self._pool.take(len(piece[:room])):
            self._held += piece[:room]
        else:
            self._broken = True

    def _goes_on(self, message: Message) -> bool:
        """Pass over what comes behind a hole; return whether it is of that fragment."""
        self._rest -= message.lost
        if self._rest <= 0:
            self._rest = 0
            return not message.data
        self._rest -= len(message.data)
        return True

    def release(self) -> None:
        """Hold nothing."""
        self._pool.give(len(self._held))
        self._held, self._broken = bytearray(), False


class Credentials(NamedTuple):
    """Who calls, as the caller says."""

    flavor: int
    machine: bytes | None = None
    uid: int = 0
    gid: int = 0
    service: int = 0
    """What RPCSEC_GSS does to the arguments; 0 where it is not used."""
    control: bool = False
    """The call makes or ends a context of RPCSEC_GSS; its arguments are none of its procedure."""

    @property
    def name(self) -> str:
        """The flavor, as EVE spells it."""
        return _FLAVORS[self.flavor] if self.flavor < len(_FLAVORS) else str(self.flavor)

    @property
    def hidden(self) -> bool:
        """Arguments and results are encrypted."""
        return self.service == PRIVACY

    def unwrapped(self, body: Reader) -> Reader:
        """Return arguments or results out of what RPCSEC_GSS puts around them (RFC 2203 section 5.3.3.4.2)."""
        if self.service != INTEGRITY:
            return body
        size = body.u32()
        body.u32()
        whole = body.whole and body.at + size - 4 <= body.end
        return Reader(body.data[body.at : body.at + max(size - 4, 0)], whole=whole)


class Call(NamedTuple):
    """The head of a call."""

    xid: int
    rpc_version: int
    program: int
    version: int
    procedure: int
    credentials: Credentials


class Reply(NamedTuple):
    """The head of a reply."""

    xid: int
    denied: bool
    accepted: int
    """What became of a call that was not denied: 0 is that it was done (``accept_stat``)."""


def call(reader: Reader, xid: int) -> Call:
    """Read the head of a call behind its identifier and type; raises `Malformed` where it is cut."""
    rpc_version, program, version, procedure = reader.u32(), reader.u32(), reader.u32(), reader.u32()
    found = Call(xid, rpc_version, program, version, procedure, _credentials(reader))
    reader.u32()
    reader.pass_over()  # the verifier
    return found


def reply(reader: Reader, xid: int) -> Reply:
    """Read the head of a reply behind its identifier and type; raises `Malformed` where it is cut."""
    if reader.u32():
        return Reply(xid, True, 0)
    reader.u32()
    reader.pass_over()  # the verifier
    return Reply(xid, False, reader.u32())


def _credentials(reader: Reader) -> Credentials:
    flavor = reader.u32()
    body = Reader(reader.opaque())
    try:
        if flavor == _SYS:
            body.u32()
            return Credentials(flavor, body.opaque(), body.u32(), body.u32())
        if flavor == _GSS:
            body.u32()
            procedure = body.u32()
            body.u32()
            return Credentials(flavor, service=body.u32(), control=bool(procedure))
    except Malformed:
        pass  # who calls is not known then; the call stands behind, and is read all the same
    return Credentials(flavor)
