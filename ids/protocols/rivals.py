"""Flows of which two readings are possible: client and server began in two protocols, and either may lie.

A client may open with the words of another protocol, which the server refuses before it goes on; and what comes in the
server's name may be forged, by anybody who guesses the numbers. Whoever believed one of them would be blind to the
other, so both are read, each by its parser, until the flow ends. It has the name of what the server speaks when it has
heard the client.

COST. Twice that of a parser, for flows whose sides contradict each other; nothing for the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ids.counters import Counters
from ids.protocols.protocol import Handover, MakeStreamParser, Protocol, StreamParser
from ids.protocols.recognition import Recogniser
from ids.protocols.stretch import Stretch
from ids.protocols.talk import Rival, Talk
from ids.types import Direction, Transaction

_log = logging.getLogger(__name__)


class Rivals:
    """Begins and feeds the other readings of flows."""

    def __init__(
        self,
        recogniser: Recogniser,
        make_parser: Mapping[str, MakeStreamParser],
        counters: Counters,
        probe_bytes: int,
    ) -> None:
        self._recogniser = recogniser
        self._make_parser = make_parser
        self._counters = counters
        self._probe_bytes = probe_bytes

    def keep(self, talk: Talk, protocol: Protocol | None, parser: StreamParser | None) -> None:
        """Let the parser of the protocol in which the server greeted read on, beside that of the client's."""
        if parser is not None:
            self._counters.add("app_layer.rivals")
            talk.rival = Rival(protocol, parser)

    def begin(self, talk: Talk, protocol: Protocol, parser: StreamParser) -> None:
        """Let a parser read what the client goes on with."""
        self._counters.add("app_layer.rivals")
        talk.rival = Rival(protocol, parser, judged=True)

    def suspect(self, talk: Talk, data: bytes) -> None:
        """Look for another protocol in the first bytes of a server, which are not those of its client's."""
        if talk.rival is None:
            talk.rival = Rival(said=data[: self._probe_bytes], fresh=True)

    def feed(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Let the other reading take the next bytes; return its parser's last word."""
        rival = talk.rival
        assert rival is not None
        if rival.parser is None:
            if stretch.direction is Direction.TO_SERVER:
                return None
            stretch = self._listen(talk, rival, stretch)
            if rival.parser is None:
                return None
        try:
            return rival.parser.feed(stretch, out)
        except Exception:
            name = rival.protocol.name if rival.protocol is not None else ""
            _log.exception("the second parser of a flow, of %s, failed; the flow goes on without it", name)
            self._counters.add(f"app_layer.error.{name}.internal")
            self.drop(talk)
            return None

    def named_back(self, talk: Talk, stretch: Stretch) -> bool:
        """Change both readings of a flow for each other where the server, having heard the client, does not answer in
        its protocol; return whether it did.
        """
        rival = talk.rival
        if rival is None or rival.protocol is None or rival.judged or not stretch.data:
            return False
        rival.judged = True
        answered = self._recogniser.stream(stretch.data[: self._probe_bytes], Direction.TO_CLIENT)
        if talk.parser is None or answered is talk.protocol:
            return False
        talk.rival = Rival(talk.protocol, talk.parser, judged=True)
        talk.protocol, talk.parser = rival.protocol, rival.parser
        return True

    @staticmethod
    def drop(talk: Talk) -> None:
        """Let the other reading of a flow go."""
        if talk.rival is not None and talk.rival.parser is not None:
            talk.rival.parser.release()
        talk.rival = None

    def _listen(self, talk: Talk, rival: Rival, stretch: Stretch) -> Stretch:
        """Begin to parse what the server speaks, once that shows; return what its parser is to take."""
        data = rival.said if rival.fresh and len(rival.said) > len(stretch.data) else stretch.data
        if not rival.fresh:
            data = rival.said + data
        rival.said, rival.fresh = data[: self._probe_bytes], False
        protocol = None if stretch.gap else self._recogniser.stream(rival.said, Direction.TO_CLIENT)
        maker = self._make_parser.get(protocol.name) if protocol is not None and protocol.greets else None
        if protocol is None and not (stretch.gap or stretch.closed) and len(data) < self._probe_bytes:
            return stretch
        if maker is None or protocol is talk.protocol:
            talk.rival = None
            return stretch
        self._counters.add("app_layer.rivals")
        rival.protocol, rival.parser, rival.judged, rival.said = protocol, maker(talk.slot, 0), True, b""
        return stretch._replace(data=data)
