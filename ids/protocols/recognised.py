"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_SMB_HEADER = rb"\x00[\x00-\x01](?s:..)[\xfd-\xff]SMB"

HTTP2 = Protocol(name="http2", from_client=rb"PRI \* HTTP/2\.0\r\n")

SMB = Protocol(
    name="smb",
    from_client=_SMB_HEADER,
    from_server=_SMB_HEADER,
    buffers=(
        Buffer("smb.named_pipe", "smb", None, "named pipe of a tree connect"),
        Buffer("smb.share", "smb", None, "share of a tree connect"),
    ),
)
