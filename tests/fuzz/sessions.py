"""Conversations of protocols with sessions, made by hand: everything in them that their parsers read."""

from __future__ import annotations

from tests.fuzz.seeds import Conversation
from tests.protocols import test_ssh as ssh

SESSIONS: dict[str, tuple[Conversation, ...]] = {
    "ssh": (
        Conversation(False, ssh.TURNS),
        Conversation(False, ((0, b"SSH-1.5-a b\r\n" + ssh.SECRET), (1, b"Hello\r\nSSH-1.99-b\r\n" + ssh.offer()))),
        Conversation(False, ((1, ssh.ANSWERS), (0, ssh.SAYS))),
    ),
}
"""By protocol."""
