"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_LINE = rb"(?![^\r\n]*[ \t]HTTP/\d)[^\r\n]*[\r\n]"
"""The rest of a line that is no request of HTTP: ``HELO / HTTP/1.1`` is one to many servers, whatever its method."""
_SSH_BANNER = rb"SSH-[12]\." + _LINE

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

IMAP = Protocol(name="imap", from_server=rb"\* (?:OK|PREAUTH) ")

POP3 = Protocol(name="pop3", from_server=rb"\+OK[ \r]")

_TELNET_OPTION = rb"(?s:\xff[\xfb-\xfe][\x00-\x31\x8a-\x8c\xff])"
TELNET = Protocol(
    name="telnet",
    from_client=_TELNET_OPTION + rb"(?:" + _TELNET_OPTION + rb"|(?s:\xff\xfa))",
    from_server=_TELNET_OPTION + rb"(?:" + _TELNET_OPTION + rb"|(?s:\xff\xfa))",
)
"""Two negotiations of an option in a row (RFC 854): one alone could be chance."""
