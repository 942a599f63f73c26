"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.starts import NO_REQUEST
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_SMB_HEADER = rb"\x00[\x00-\x01](?s:..)[\xfd-\xff]SMB"

HTTP2 = Protocol(name="http2", from_client=rb"PRI \* HTTP/2\.0\r\n")

FTP = Protocol(
    name="ftp",
    from_client=rb"(?i:USER|AUTH)[ \t]" + NO_REQUEST,
    from_server=rb"220[ -][^\r\n]*(?i:FTP)",
    buffers=(
        Buffer("ftp.command", "ftp", _CLIENT, "command word"),
        Buffer("ftp.command_data", "ftp", _CLIENT, "argument of the command"),
        Buffer("ftp.reply", "ftp", _SERVER, "text of the reply", several=True),
        Buffer("ftp.completion_code", "ftp", _SERVER, "code of the reply", several=True),
    ),
)

SMB = Protocol(
    name="smb",
    from_client=_SMB_HEADER,
    from_server=_SMB_HEADER,
    buffers=(
        Buffer("smb.named_pipe", "smb", None, "named pipe of a tree connect"),
        Buffer("smb.share", "smb", None, "share of a tree connect"),
    ),
)

IMAP = Protocol(name="imap", from_server=rb"\* (?:OK|PREAUTH) ")

POP3 = Protocol(name="pop3", from_server=rb"\+OK[ \r]")
