"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_TLS_RECORD = rb"[\x14-\x17]\x03[\x00-\x04][\x00-\x48]"
_LINE = rb"(?![^\r\n]*[ \t]HTTP/\d)[^\r\n]*[\r\n]"
"""The rest of a line that is no request of HTTP: ``HELO / HTTP/1.1`` is one to many servers, whatever its method."""
_SSH_BANNER = rb"SSH-[12]\." + _LINE
_SMB_HEADER = rb"\x00[\x00-\x01](?s:..)[\xfd-\xff]SMB"

HTTP2 = Protocol(name="http2", from_client=rb"PRI \* HTTP/2\.0\r\n")

TLS = Protocol(
    name="tls",
    from_client=_TLS_RECORD,
    from_server=_TLS_RECORD,
    buffers=(
        Buffer("tls.sni", "tls", _CLIENT, "server name that the client asks for"),
        Buffer("tls.version", "tls", None, "negotiated or offered version"),
        Buffer("tls.cert_subject", "tls", _SERVER, "subject of the server's certificate"),
        Buffer("tls.cert_issuer", "tls", _SERVER, "issuer of the server's certificate"),
        Buffer("tls.cert_serial", "tls", _SERVER, "serial number of the server's certificate"),
        Buffer("tls.cert_fingerprint", "tls", _SERVER, "SHA-1 of the server's certificate, hexadecimal with colons"),
        Buffer("tls.certs", "tls", _SERVER, "certificates as sent, DER", several=True),
        Buffer("tls.alpn", "tls", None, "application protocols offered or chosen", several=True),
        Buffer("ja3.hash", "tls", _CLIENT, "JA3 of the client, hexadecimal"),
        Buffer("ja3.string", "tls", _CLIENT, "JA3 string of the client"),
        Buffer("ja3s.hash", "tls", _SERVER, "JA3S of the server, hexadecimal"),
        Buffer("ja3s.string", "tls", _SERVER, "JA3S string of the server"),
        Buffer("ja4.hash", "tls", _CLIENT, "JA4 of the client"),
    ),
)

SSH = Protocol(
    name="ssh",
    from_client=_SSH_BANNER,
    from_server=rb"SSH-[12]\.",
    buffers=(
        Buffer("ssh.proto", "ssh", None, "protocol version of the banner"),
        Buffer("ssh.software", "ssh", None, "software of the banner"),
        Buffer("ssh.hassh", "ssh", _CLIENT, "HASSH of the client"),
        Buffer("ssh.hassh.server", "ssh", _SERVER, "HASSH of the server"),
    ),
)

SMTP = Protocol(
    name="smtp",
    from_client=rb"(?i:EHLO|HELO|LHLO)[ \t]" + _LINE,
    from_server=rb"220[ -][^\r\n]*(?i:SMTP|mail)",
    buffers=(
        Buffer("smtp.helo", "smtp", _CLIENT, "argument of HELO or EHLO"),
        Buffer("smtp.mail_from", "smtp", _CLIENT, "argument of MAIL FROM"),
        Buffer("smtp.rcpt_to", "smtp", _CLIENT, "arguments of RCPT TO", several=True),
    ),
)

FTP = Protocol(
    name="ftp",
    from_client=rb"(?i:USER|AUTH)[ \t]" + _LINE,
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
