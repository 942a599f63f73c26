"""NFS 2, 3 and 4 over TCP and UDP, in calls of ONC RPC: what is asked of which file, and what becomes of it.

- `xdr` reads numbers and bytes; `rpc` the heads of calls and replies, and records; `names` has the numbers;
- `calls` reads versions 2 and 3, `compound` version 4;
- `parser` finds the reply to a call and the name of a handle; `exchange` is what EVE logs of both;
- `settings` has the limits.

A call and its reply are a transaction. As in Suricata, all that is read of a file, or written to it, is one. The
contents of files are passed over; what RPCSEC_GSS encrypts is counted.
"""

import re

from ids.later import late_pattern
from ids.protocols.nfs import rpc
from ids.protocols.nfs.parser import NfsFlow
from ids.protocols.nfs.settings import NfsSettings
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.walked import Walked
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_PORT = 2049
_HEAD = rpc.MARK + 24
"""Bytes of a record by which it is a call to NFS."""
_CALL = rb"(?s:.{4}\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa3\x00\x00\x00[\x02-\x04])"
"""A call of ONC RPC, version 2, to NFS, program 100003 (RFC 5531 section 9)."""
_FRAGMENT = rb"(?s:[\x00\x80].{3})"
_SHORT = rb"(?s:\x00\x00\x00[\x0c-\x17].{4}\x00\x00\x00\x00\x00\x00\x00\x02)"
"""A fragment that ends within the head of a call, be it to NFS or not: no client sends one that hides nothing."""
_BYTES = (rb".",) * 4 + (rb"\x00",) * 7 + (rb"\x02",)
"""What such a fragment shows, by bytes."""


def _over_fragments(at: int) -> bytes:
    """Return how a head goes on behind so many bytes, over fragments however small, the last of them of any size."""
    if at == len(_BYTES):
        return b""
    rest = b"".join(_BYTES[at:])
    small = rb"(?:\x00\x00\x00[\x01-\x0b])?" + _BYTES[at] + _over_fragments(at + 1)
    return rb"(?:[\x00\x80].{3}" + rest + rb"|" + small + rb")"


_TINY = rb"(?s:\x00\x00\x00[\x01-\x0b]." + _over_fragments(1) + rb")"
"""Fragments of which the first one shows less than that."""
_SMALL = rb"\x00\x00\x00[\x00-\x17]"
"""The mark of a fragment that is smaller than a head: at the port of NFS it needs no more."""
_DATAGRAM = late_pattern(_CALL)


def is_nfs(data: bytes) -> bool:
    """Return whether a datagram is a call to NFS."""
    return _DATAGRAM.match(data) is not None


PROTOCOL = Protocol(
    name="nfs",
    from_client=rb"(?:" + _FRAGMENT + _CALL + rb"|" + _SHORT + rb"|" + _TINY + rb")",
    walked=Walked(
        frozenset({_PORT}),
        lambda data: rpc.length_of(data, 0),
        re.compile(_FRAGMENT + _CALL + rb"|" + _SMALL),
        _HEAD,
    ),
    datagram=is_nfs,
    usual_ports=frozenset({_PORT}),
    settings=NfsSettings,
    streams=parsing("nfs", NfsFlow),
    datagrams=parsing("nfs", NfsFlow),
    oddities=(
        "malformed_data",
        "non_existing_version",
        "unsupported_version",
        "unread_operations",
        "xid_reused",
        "too_many_transactions",
    ),
    event="nfs",
    beside=("rpc",),
    buffers=(
        Buffer("nfs.version", "nfs", _CLIENT, "version, decimal: 2, 3 or 4"),
        Buffer("nfs.procedure", "nfs", _CLIENT, "number of the procedure, of operations in version 4", several=True),
        Buffer("nfs.operation", "nfs", _CLIENT, "name of the procedure or operation: `LOOKUP`", several=True),
        Buffer(
            "nfs.filename",
            "nfs",
            _CLIENT,
            "name of a file or directory, also of what is renamed or linked to",
            several=True,
        ),
        Buffer("nfs.machine_name", "nfs", _CLIENT, "name of the client, as it says"),
        Buffer("nfs.uid", "nfs", _CLIENT, "number of the user, as the client says, decimal"),
        Buffer("nfs.gid", "nfs", _CLIENT, "number of the user's group, as the client says, decimal"),
        Buffer("nfs.status", "nfs", _SERVER, "what became of it: `OK`, `ERR_ACCES`"),
    ),
)

__all__ = ["PROTOCOL", "NfsSettings"]
