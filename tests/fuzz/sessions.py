"""Conversations of protocols with sessions, made by hand: everything in them that their parsers read."""

from __future__ import annotations

from tests.fuzz.seeds import Conversation
from tests.protocols import databases, mails, terminals
from tests.protocols import said as rare
from tests.protocols import test_ftp as ftp
from tests.protocols import test_mailbox as mailbox
from tests.protocols import test_smtp as smtp
from tests.protocols import test_ssh as ssh

SESSIONS: dict[str, tuple[Conversation, ...]] = {
    "ssh": (
        Conversation(False, ssh.TURNS),
        Conversation(False, ((0, b"SSH-1.5-a b\r\n" + ssh.SECRET), (1, b"Hello\r\nSSH-1.99-b\r\n" + ssh.offer()))),
        Conversation(False, ((1, ssh.ANSWERS), (0, ssh.SAYS))),
    ),
    "smtp": (
        Conversation(False, mails.SESSION),
        Conversation(
            False, tuple((side, piece) for side, piece in enumerate((b"".join(smtp.PIECES), b"250 a\r\n" * 40)))
        ),
        Conversation(False, (mails.GREETING, *mails.HELLO, (0, b"BDAT %d LAST\r\n" % len(mails.MAIL) + mails.MAIL))),
        Conversation(False, (mails.GREETING, *mails.HELLO, *mails.asked(b"STARTTLS", b"220 go"), (0, b"\x16\x03\x01"))),
    ),
    "ftp": (
        Conversation(False, ftp.SESSION),
        Conversation(False, tuple(enumerate((b"".join(ftp.PIECES), b"200 a\r\n227 (1,2,3,4,5,6)\r\n" * 9)))),
        Conversation(False, (ftp.GREETING, *mails.asked(b"AUTH TLS", b"234 go"), (0, b"\x16\x03\x01"))),
    ),
    "imap": (
        Conversation(False, mailbox.IMAP),
        Conversation(
            False, ((1, b"* OK x\r\n"), *mails.asked(b"a IDLE", b"+ go"), *mails.asked(b"DONE", b"a OK done"))
        ),
        Conversation(False, ((1, b"* OK x\r\n"), *mails.asked(b"a STARTTLS", b"a OK go"), (0, b"\x16\x03\x01"))),
    ),
    "pop3": (
        Conversation(False, mailbox.POP3),
        Conversation(False, ((1, b"+OK x\r\n"), *mails.asked(b"STLS", b"+OK go"), (0, b"\x16\x03\x01"))),
    ),
    "bittorrent": (Conversation(False, tuple([(int(side), data) for side, data in rare.BT_PEERS])),),
    "telnet": (Conversation(False, tuple([(int(side), data) for side, data in terminals.TELNET])),),
    "redis": tuple(
        [
            Conversation(False, tuple([(int(side), data) for side, data in turns]))
            for turns in (databases.REDIS, databases.REDIS_INLINE)
        ]
    ),
    "mysql": tuple(
        [
            Conversation(False, tuple([(int(side), data) for side, data in turns]))
            for turns in (
                databases.MYSQL,
                databases.MYSQL_OLD,
                *databases.MYSQL_OTHERS,
                (databases.LOGIN[0], (0, databases.tls_asked() + b"\x16\x03\x01")),
            )
        ]
    ),
}
"""By protocol."""
