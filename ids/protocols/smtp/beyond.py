"""A mail that has ended to some servers, and goes on to others: it is read on for those."""

from __future__ import annotations

from ids.counters import Counters
from ids.protocols.mime import Mail
from ids.protocols.smtp.body import Body
from ids.protocols.smtp.exchanges import Exchanges
from ids.types import Direction


class Beyond:
    """What such servers read; one mail at a time, or many small ones would cost their square."""

    __slots__ = ("_body", "_counters", "_exchanges", "mail")

    def __init__(self, exchanges: Exchanges, counters: Counters) -> None:
        self._exchanges = exchanges
        self._counters = counters
        self.mail: Mail | None = None
        """The one that is read on."""
        self._body = Body(strict=True)

    def begin(self, mail: Mail) -> None:
        """Read on in a mail that has ended, unless another goes on."""
        if self.mail is not None:
            return
        self.mail, self._body = mail.fork(), Body(strict=True)
        if self.mail is None:
            self._counters.add("smtp.readings_dropped")

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the client."""
        mail, exchanges = self.mail, self._exchanges
        assert mail is not None
        content, _ = self._body.feed(data)
        mail.feed(content, *exchanges.at, exchanges.out)
        if self._body.ended:
            self._report(mail)

    def drop(self) -> None:
        """Let go of it, unreported."""
        if self.mail is not None:
            self.mail.release()
            self.mail = None

    def _report(self, mail: Mail) -> None:
        exchanges = self._exchanges
        mail.close(*exchanges.at, exchanges.out)
        buffers, more = mail.buffers
        if exchanges.current is not None and buffers:
            exchanges.emit(Direction.TO_SERVER, buffers, more)
        self.drop()
