"""A call and its reply, and a file that is read or written over several: what EVE logs of them, and what rules test."""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from ids.protocols.dialogue import EveFields
from ids.protocols.nfs.calls import Operation
from ids.protocols.nfs.names import status
from ids.protocols.nfs.rpc import Call
from ids.protocols.spelling import text


@dataclass(slots=True)
class Transfer:
    """A file that is read, or written: one transaction over all its calls."""

    chunks: int = 0
    last: bool = False
    last_xid: int = 0

    def fields(self) -> EveFields:
        """Return what EVE logs of it."""
        return {"first": True, "last": self.last, "last_xid": self.last_xid, "chunks": self.chunks}


@dataclass(slots=True)
class Exchange:
    """A call, with what became of it."""

    tx_id: int
    call: Call
    operations: list[Operation] = field(default_factory=list)
    main: Operation | None = None
    """For whose sake the call is made."""
    handle: bytes = b""
    """Of the file or directory that it is about."""
    transfer: Transfer | None = None
    denied: bool | None = None
    """None: there is no reply."""
    status: int | None = None
    """None: no reply has it."""
    also: tuple[bytes, ...] = ()
    """What calls of the same identifier name, whose replies may be taken for that of this one."""

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names that it asks for, each once."""
        names = [name for one in self.operations for name in (one.filename, *one.others) if name]
        return tuple(dict.fromkeys(names))

    @property
    def procedure(self) -> int:
        """The number of the procedure, or of the operation that the call is made for."""
        return self.main.number if self.main is not None else self.call.procedure

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return sum([64 + one.size for one in self.operations]) + len(self.call.credentials.machine or b"")

    @property
    def status_text(self) -> bytes | None:
        """The status as rules test it."""
        return None if self.status is None else status(self.status).encode()

    def asked(self) -> dict[str, bytes | tuple[bytes, ...] | None]:
        """Return what rules test of the call."""
        call, operations = self.call, self.operations
        said: dict[str, bytes | tuple[bytes, ...] | None] = {
            "nfs.version": b"%d" % call.version,
            "nfs.procedure": tuple([b"%d" % one.number for one in operations]) or b"%d" % call.procedure,
            "nfs.operation": tuple([one.name.encode() for one in operations]),
            "nfs.filename": self.names,
        }
        if call.credentials.machine is not None:
            said["nfs.machine_name"] = call.credentials.machine
            said["nfs.uid"] = b"%d" % call.credentials.uid
            said["nfs.gid"] = b"%d" % call.credentials.gid
        return said

    def fields(self) -> EveFields:
        """Return what EVE logs: the objects ``nfs`` and ``rpc``; its own numbers of transactions begin with 1."""
        one = self.main
        nfs: EveFields = {
            "version": self.call.version,
            "procedure": one.name if one is not None else str(self.call.procedure),
            "filename": text(one.filename) if one is not None else "",
        }
        if self.handle:
            nfs["hhash"] = f"{crc32(self.handle):x}"
        nfs |= {"id": self.tx_id + 1, "file_tx": self.transfer is not None, "type": "response"}
        if self.status is not None:
            nfs["status"] = status(self.status)
        if one is not None and self.call.version < 4:
            if self.transfer is not None:
                nfs["read" if one.name == "READ" else "write"] = self.transfer.fields()
            elif one.name == "RENAME" and one.others:
                nfs["rename"] = {"from": text(one.filename), "to": text(one.others[0])}
        return {**nfs, "rpc": self._rpc()}

    def _rpc(self) -> EveFields:
        credentials = self.call.credentials
        rpc: EveFields = {"xid": self.call.xid}
        if self.denied is not None:
            rpc["status"] = "DENIED" if self.denied else "ACCEPTED"
        rpc["auth_type"] = credentials.name
        if credentials.machine is not None:
            machine = text(credentials.machine)
            rpc["creds"] = {"machine_name": machine, "uid": credentials.uid, "gid": credentials.gid}
        return rpc
