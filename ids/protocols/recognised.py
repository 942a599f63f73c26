"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.later import late_pattern
from ids.protocols.protocol import Protocol

_NFS_CALL = rb"(?s:.{4}\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa3\x00\x00\x00[\x02-\x04])"
"""A call of ONC RPC, version 2, to NFS, program 100003 (RFC 5531 section 9)."""
_NFS_DATAGRAM = late_pattern(_NFS_CALL)


def is_nfs(data: bytes) -> bool:
    """Return whether a datagram is a call to NFS."""
    return _NFS_DATAGRAM.match(data) is not None


NFS = Protocol(name="nfs", from_client=rb"(?s:[\x00\x80].{3})" + _NFS_CALL, datagram=is_nfs)
