"""What an exchange is about, by its command: what EVE says of it beside command, status and session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ids.protocols.dcerpc.calls import RpcCall
from ids.protocols.dcerpc.fields import fields_in_pipe
from ids.protocols.ntlmssp import Logon
from ids.protocols.smb import names
from ids.protocols.smb.ticket import Ticket

SHARE_ROOT = "<share_root>"
"""The name of what is opened without one."""
NAME_BYTES = 64
"""What a name counts for besides its bytes."""
_EPOCH, _TICKS = 11_644_473_600, 10_000_000
"""Seconds from 1601 to 1970, and units of Windows' times in a second."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its answer; a file, or a call through a pipe, is one over several of them."""

    tx_id: int
    version: int
    """1 or 2; that of SMB 3 is 2."""
    command: int
    session_id: int
    tree_id: int
    about: About | None = None
    status: int | None = None
    dos: bool = False
    done: bool = False
    """Its event is written."""
    odd: tuple[bytes, ...] = ()
    """What was odd about it so far, by Suricata's names; rules see it in both directions, as there."""


class About:
    """What an exchange is about."""

    @property
    def kept(self) -> int:
        """Bytes of its request that it keeps."""
        return 0

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        """Return what EVE says of it, key for key as Suricata 7."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Negotiate(About):
    """Which dialects are offered."""

    version: int
    offered: list[bytes]
    client: bytes | None = None
    server: bytes = b""
    most_read: int = 0
    most_write: int = 0

    @property
    def kept(self) -> int:
        return sum([NAME_BYTES + len(name) for name in self.offered])

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        said: dict[str, Any] = {"client_dialects": [text(name) for name in self.offered]}
        if self.client is not None:
            said["client_guid"] = names.guid(self.client)
        said["server_guid"] = names.guid(self.server) if self.server else ""
        if self.most_read:
            said["max_read_size"] = self.most_read
        if self.most_write:
            said["max_write_size"] = self.most_write
        return said


@dataclass(slots=True, eq=False)
class Setup(About):
    """Who logs on."""

    logon: Logon | None = None
    ticket: Ticket | None = None
    user: bytes = b""
    domain: bytes = b""
    """Said without NTLMSSP."""
    request: tuple[bytes, bytes] | None = None
    """System and LAN manager of the client, in SMB 1; and of the server"""
    response: tuple[bytes, bytes] | None = None

    @property
    def kept(self) -> int:
        names: list[bytes] = [self.user, self.domain, *(self.request or ()), *(self.response or ())]
        if self.logon is not None:
            names += self.logon.domain, self.logon.user, self.logon.host
        if self.ticket is not None:
            names += self.ticket.realm, *self.ticket.names
        return sum([NAME_BYTES + len(name) for name in names])

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if self.logon is not None:
            who = self.logon
            said["ntlmssp"] = {"domain": text(who.domain), "user": text(who.user), "host": text(who.host)}
            if who.version is not None:
                said["ntlmssp"]["version"] = who.version
        if self.ticket is not None:
            said["kerberos"] = {
                "realm": text(self.ticket.realm), "snames": [text(name) for name in self.ticket.names],
            }  # fmt: skip
        for side, of in (("request", self.request), ("response", self.response)):
            if of is not None:
                said[side] = {"native_os": text(of[0]), "native_lm": text(of[1])}
        return said


@dataclass(slots=True, eq=False)
class Tree(About):
    """A share, or the pipes of a server."""

    name: bytes
    pipe: bool
    """By its name, until the server has said what it is."""
    kind: int = 0
    asked: bytes | None = None
    """The service that is asked for, in SMB 1; and the one that the server has"""
    has: bytes | None = None

    @property
    def kept(self) -> int:
        return len(self.name) + len(self.asked or b"") + len(self.has or b"")

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        said: dict[str, Any] = {"named_pipe" if self.pipe else "share": text(self.name)}
        if exchange.version == 1:
            service = (("request", self.asked), ("response", self.has))
            said["service"] = {side: text(of) for side, of in service if of is not None}
        else:
            said["share_type"] = names.SHARE_TYPES.get(self.kind, "UNKNOWN")
        return said


@dataclass(slots=True, eq=False)
class Create(About):
    """What is opened."""

    name: bytes
    disposition: int
    options: int
    times: tuple[int, int, int, int] = (0, 0, 0, 0)
    size: int = 0
    file_id: bytes = b""

    @property
    def kept(self) -> int:
        return len(self.name)

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        key = "directory" if self.name and self.options & 0x1 else "filename"
        created, accessed, modified, changed = (_unix(time) for time in self.times)
        return {
            key: text(self.name) if self.name else SHARE_ROOT,
            "disposition": names.disposition(self.disposition),
            "access": "delete on close" if self.options & 0x1000 else "normal",
            "created": created, "accessed": accessed, "modified": modified, "changed": changed,
            "size": self.size, "fuid": names.guid(self.file_id),
        }  # fmt: skip


@dataclass(slots=True, eq=False)
class Transfer(About):
    """A file that is read or written."""

    name: bytes
    share: bytes
    file_id: bytes

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        return {"filename": text(self.name), "share": text(self.share), "fuid": names.guid(self.file_id)}


@dataclass(slots=True, eq=False)
class Rename(About):
    """A file that gets another name."""

    old: bytes
    new: bytes
    file_id: bytes = b""

    @property
    def kept(self) -> int:
        return len(self.old) + len(self.new)

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if exchange.version == 2:
            said["set_info"] = {"class": "FILE_INFO", "info_level": "SMB2_FILE_RENAME_INFO"}
        return {**said, "rename": {"from": text(self.old), "to": text(self.new)}, "fuid": names.guid(self.file_id)}


@dataclass(slots=True, eq=False)
class Disposition(About):
    """A file that is to be deleted, or not."""

    name: bytes
    delete: bool
    file_id: bytes = b""
    kind: int = 0
    level: int = 0

    @property
    def kept(self) -> int:
        return len(self.name)

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        said: dict[str, Any] = {
            "filename": text(self.name) if self.name else SHARE_ROOT,
            "access": "delete on close" if self.delete else "normal",
        }
        if self.kind in _SUBCOMMANDS:
            said["subcmd"] = _SUBCOMMANDS[self.kind]
            said["level_of_interest"] = "Set Disposition Information"
        return {**said, "fuid": names.guid(self.file_id)}


_SUBCOMMANDS = {6: "SET_PATH_INFO", 8: "SET_FILE_INFO"}


@dataclass(slots=True, eq=False)
class Control(About):
    """A control of a file or a pipe."""

    function: int

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        return {"function": names.function(self.function)}


@dataclass(slots=True, eq=False)
class Rpc(About):
    """A call through a pipe."""

    call: RpcCall
    logged: bool
    """It has an event of its own."""

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        return {"dcerpc": fields_in_pipe(self.call)}


def fields(exchange: Exchange, dialect: str) -> dict[str, Any]:
    """Return what EVE logs of an exchange."""
    said: dict[str, Any] = {
        "id": exchange.tx_id + 1, "dialect": dialect, "command": names.command(exchange.version, exchange.command),
    }  # fmt: skip
    if exchange.status is not None:
        said["status"], said["status_code"] = names.status(exchange.status, exchange.dos)
    said["session_id"], said["tree_id"] = exchange.session_id, exchange.tree_id
    if exchange.about is not None:
        said.update(exchange.about.fields(exchange))
    return said


def text(raw: bytes) -> str:
    """Return a name as Suricata spells those of SMB."""
    return raw.decode("utf-8", "replace")


def _unix(time: int) -> int:
    """Return a time of Windows in seconds since 1970; 0 for those before."""
    return max(time // _TICKS - _EPOCH, 0) & 0xFFFFFFFF if time else 0
