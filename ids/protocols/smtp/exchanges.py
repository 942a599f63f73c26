"""The transactions of one SMTP session, and what is reported of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from ids.protocols.mime import Mail
from ids.protocols.protocol import ODDITY
from ids.protocols.shared import Shared
from ids.protocols.smtp.settings import SmtpSettings
from ids.protocols.spelling import text
from ids.protocols.waiting import SPARE_BYTES
from ids.types import Direction, Transaction

_CLIENT = Direction.TO_SERVER
ADDRESS_BYTES = 96
"""What a kept address counts for besides its bytes."""


class Exchange:
    """A transaction: an envelope, and what was sent in it."""

    __slots__ = (
        "chunked", "cost", "done", "mail", "mail_from", "odd", "rcpt_to", "reported", "reset", "sent", "tx_id",
    )  # fmt: skip

    def __init__(self, tx_id: int) -> None:
        self.tx_id = tx_id
        self.mail_from: list[bytes] = []
        self.rcpt_to: list[bytes] = []
        self.mail: Mail | None = None
        self.chunked = False
        """It comes in chunks (BDAT)."""
        self.sent = self.reset = False
        """Its mail has ended; the client took it back."""
        self.odd: set[bytes] = set()
        """What was reported as odd."""
        self.reported = False
        """Its envelope was, as it is."""
        self.done = False
        self.cost = 0
        """Bytes that its envelope holds of the limit that all flows share."""


class Exchanges:
    """The transactions of a session: one at a time."""

    __slots__ = ("_cost", "_shared", "_slot", "after", "at", "current", "helo", "next_id", "out")

    def __init__(self, shared: Shared[SmtpSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._cost = 0
        """Bytes that the client's names hold of the limit that all flows share."""
        self.next_id = tx_id
        self.current: Exchange | None = None
        self.helo: list[bytes] = []
        """Names by which the client has called itself."""
        self.out: list[Transaction] = []
        self.at = 0, 0
        """Time and number of the packet that is read."""
        self.after = 0
        """Bytes of the client that were fed and are not read yet, behind those that are being read."""

    def begin(self) -> Exchange:
        """Begin a transaction."""
        self._give_current()
        self.current = exchange = Exchange(self.next_id)
        self.next_id += 1
        return exchange

    def keep(self, kept: list[bytes], name: bytes) -> bool:
        """Add a name or an address to a list of this session, or of the current transaction; return whether there was
        room. The first of a list is kept in any case, if need be its beginning.
        """
        cost = ADDRESS_BYTES + len(name)
        if self._shared.pool.take(cost):
            if self.current is None or kept is self.helo:
                self._cost += cost
            else:
                self.current.cost += cost
        elif kept:
            return False
        else:
            name = name[:SPARE_BYTES]
        kept.append(name)
        return True

    def release(self) -> None:
        """Give back what the session holds."""
        self._give_current()
        self._shared.pool.give(self._cost)
        self._cost = 0

    def _give_current(self) -> None:
        if self.current is not None:
            self._shared.pool.give(self.current.cost)
            self.current.cost = 0

    def envelope(self, exchange: Exchange) -> None:
        """Report an envelope, once as it is."""
        if not exchange.reported and (exchange.mail_from or exchange.rcpt_to):
            exchange.reported = True
            self.emit(_CLIENT, *self.buffers(exchange))

    def report_mail(self, exchange: Exchange, mail: Mail, behind: int) -> None:
        """Report a mail that has ended, with its envelope, and what is odd about it."""
        buffers, more = self.buffers(exchange)
        of_mail, further = mail.buffers
        self.emit(_CLIENT, {**buffers, **of_mail}, {**more, **further}, behind=behind)
        for name in sorted(mail.odd):
            self.complain(name)

    def finish(self, exchange: Exchange, behind: int = 0) -> None:
        """End a transaction: it is logged."""
        exchange.done = True
        self.emit(_CLIENT, {}, exchange=exchange, complete=True, behind=behind)
        if exchange.mail is not None:
            exchange.mail.release()

    def complain(self, what: bytes, direction: Direction = _CLIENT) -> None:
        """Report something odd, once a transaction."""
        exchange = self.current or self.begin()
        if what not in exchange.odd:
            exchange.odd.add(what)
            self.emit(direction, {ODDITY: b"smtp." + what})

    def emit(
        self,
        direction: Direction,
        buffers: dict[str, bytes],
        more: dict[str, tuple[bytes, ...]] | None = None,
        *,
        exchange: Exchange | None = None,
        complete: bool = False,
        behind: int = 0,
    ) -> None:
        """Append a transaction of an exchange, or of the current one."""
        exchange = exchange or self.current or self.begin()
        fields = self.fields(exchange) if complete else partial(self.fields, exchange)
        self.out.append(
            Transaction(
                self._shared.flows, self._slot, "smtp", exchange.tx_id, direction, buffers, fields,
                *self.at, complete, more=more or {}, behind=behind + self.after,
            )
        )  # fmt: skip

    def buffers(self, exchange: Exchange) -> tuple[dict[str, bytes], dict[str, tuple[bytes, ...]]]:
        """Return the buffers of an envelope, and their further instances."""
        found = {"smtp.helo": self.helo, "smtp.mail_from": exchange.mail_from, "smtp.rcpt_to": exchange.rcpt_to}
        return {name: of[0] for name, of in found.items() if of}, {
            name: tuple(of[1:]) for name, of in found.items() if len(of) > 1
        }

    def fields(self, exchange: Exchange) -> dict[str, Any]:
        """Return what EVE logs of a transaction, as far as it is known."""
        logged: dict[str, Any] = {}
        if self.helo:
            logged["helo"] = text(self.helo[0])
        if exchange.mail_from:
            logged["mail_from"] = text(exchange.mail_from[0])
        if exchange.rcpt_to:
            logged["rcpt_to"] = [text(one) for one in exchange.rcpt_to]
        if exchange.mail is not None:
            email = exchange.mail.email(self._shared.settings.extended_in_events)
            if len(email) > 1 or not exchange.chunked:  # Suricata says nothing of mails in chunks
                logged["email"] = email
        return logged
