"""What IMAP and POP3 sessions have in common: commands that wait for their answers, and the mail on its way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ids.protocols.framing import Lines
from ids.protocols.mailbox.settings import MailboxSettings
from ids.protocols.mime import Mail
from ids.protocols.shared import Shared
from ids.protocols.waiting import Waiting
from ids.types import Direction, Transaction


class Session:
    """One flow: its lines, its ids, and one mail at a time."""

    def __init__(self, shared: Shared[MailboxSettings], slot: int, tx_id: int) -> None:
        self.shared = shared
        self.slot = slot
        self.next_id = tx_id
        limit = shared.settings.line_bytes
        self.lines = Lines(shared.pool, limit), Lines(shared.pool, limit)
        self.waiting: Waiting[Any, Any]
        """Commands without the reply that ends them, the oldest first."""
        self.mail: Mail | None = None
        self.mail_id = 0
        self.mail_from = Direction.TO_CLIENT
        self.out: list[Transaction] = []
        self.at = 0, 0

    def new_id(self) -> int:
        """Return the id of a new transaction."""
        self.next_id += 1
        return self.next_id - 1

    def begin_mail(self, tx_id: int, direction: Direction, fields: Callable[[], dict[str, Any]]) -> None:
        """Begin a mail of a transaction that a side sends."""
        self.end_mail(whole=False)
        shared = self.shared
        self.mail_id, self.mail_from = tx_id, direction
        flow = self.slot, shared.protocol, tx_id, direction
        self.mail = Mail(shared.files, flow, shared.settings, shared.pool, shared.counters, {}, fields)

    def feed_mail(self, data: bytes) -> None:
        """Give the mail its next bytes."""
        if self.mail is not None:
            self.mail.feed(data, *self.at, self.out)

    def end_mail(self, *, whole: bool = True, behind: int = 0) -> None:
        """End the mail, if there is one, and report it."""
        mail, self.mail = self.mail, None
        if mail is None:
            return
        mail.close(*self.at, self.out, whole)
        buffers, more = mail.buffers
        if buffers:
            self.emit(self.mail_id, self.mail_from, buffers, dict, more, behind=behind)
        mail.release()

    def emit(
        self,
        tx_id: int,
        direction: Direction,
        buffers: dict[str, bytes],
        fields: Callable[[], dict[str, Any]],
        more: dict[str, tuple[bytes, ...]] | None = None,
        *,
        complete: bool = False,
        behind: int = 0,
    ) -> None:
        """Append a part of a transaction."""
        shared = self.shared
        self.out.append(
            Transaction(
                shared.flows, self.slot, shared.protocol, tx_id, direction, buffers, partial(fields), *self.at,
                complete, more=more or {}, behind=behind,
            )
        )  # fmt: skip

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for lines in self.lines:
            lines.release()
        self.waiting.release()
        if self.mail is not None:
            self.mail.release()
            self.mail = None
