"""IMAP and POP3: commands and answers, and the mails that they fetch or store, read by `ids.protocols.mime`.

- `imap` and `pop3` read sessions; `settings` are the limits of both.

STARTTLS and STLS hand the flow over. What is compressed (IMAP's COMPRESS) is not read.
"""

from ids.protocols.mailbox.imap import ImapSession
from ids.protocols.mailbox.pop3 import Pop3Session
from ids.protocols.mailbox.settings import MailboxSettings
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.starts import NO_REQUEST
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

IMAP = Protocol(
    name="imap",
    from_client=rb"[A-Za-z0-9.]{1,16} (?i:(?:LOGIN|AUTHENTICATE)[ \t]" + NO_REQUEST + rb"|CAPABILITY[ \t]*[\r\n])",
    from_server=rb"\* (?:OK|PREAUTH) ",
    greets=True,
    commands=rb"[^\s\0]{1,64} +(?i:CAPABILITY|NOOP|LOGOUT|STARTTLS|AUTHENTICATE|LOGIN|ID|ENABLE|COMPRESS|SELECT|EXAMINE"
    rb"|LIST|APPEND|STATUS|UID|IDLE|NAMESPACE)(?=[ \t\r\n])",
    settings=MailboxSettings,
    streams=parsing("imap", ImapSession),
    event="imap",
    ours=True,
    buffers=(
        Buffer("imap.command", "imap", _CLIENT, "command word, in capitals; of UID commands both words"),
        Buffer("imap.command_data", "imap", _CLIENT, "arguments of the command, without literals"),
        Buffer("imap.reply", "imap", _SERVER, "the reply that ends the command, without its tag"),
    ),
)
POP3 = Protocol(
    name="pop3",
    from_client=rb"(?i:APOP)[ \t]" + NO_REQUEST + rb"|(?i:CAPA|STLS)[ \t]*[\r\n]",
    from_server=rb"\+OK[ \r]",
    greets=True,
    commands=rb"[\r\n]*(?i:USER|PASS|APOP|AUTH|CAPA|STLS|STAT|LIST|RETR|TOP|UIDL|DELE|RSET|NOOP|QUIT|UTF8|LANG|XTND)"
    rb"(?=[ \t\r\n])",
    settings=MailboxSettings,
    streams=parsing("pop3", Pop3Session),
    event="pop3",
    buffers=(
        Buffer("pop3.command", "pop3", _CLIENT, "command word, in capitals"),
        Buffer("pop3.command_data", "pop3", _CLIENT, "arguments of the command"),
        Buffer("pop3.reply", "pop3", _SERVER, "first line of the reply"),
    ),
)

__all__ = ["IMAP", "POP3", "MailboxSettings"]
