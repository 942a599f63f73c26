"""Give a flow the parser of its protocol once its first bytes are known, and feed it.

THEORY.

(1) A flow is probed until a pattern fits the first bytes of a direction, ``probe_bytes`` of one were in vain, bytes
    were lost, or both directions are closed. What was held meanwhile is fed to the parser, the client's bytes first.
    Bytes that say nothing yet (`Protocol.client_prelude`, `server_prelude`) do not count against ``probe_bytes``, up to
    `PRELUDE_BYTES`: else whoever begins with many of them would go unseen. Line ends before all else may be any number,
    for no more than ``probe_bytes`` of them are kept.
    Where the server's bytes decided, or nothing did, and the client's are another's that has a parser, and are nothing
    that a client of the first may say (`Protocol.commands`), the client decides: the others may be forged, by whoever
    sends them in the server's name. And where the client's bytes decided so, or nothing did, and the server answers in
    a protocol that has a parser, the server decides: it has understood the client. What the client said is kept until
    then, up to `PRELUDE_BYTES`.
    Where the client decided against the server's greeting, or the server against a client that is sure, both are read
    from then on (`ids.protocols.rivals`): a decoy of the one, or forged words of the other, hide nothing.
    A connection that another flow announced is what that one says, as long as only one side of it speaks: whoever
    announces may lie.
(2) A parser may hand its flow over: the rest of the streams is probed anew, and the next parser goes on with the ids of
    transactions. Where nothing fits the rest, the flow keeps its name.
(3) A parser reads hostile bytes. Should one raise, that is counted, its flow goes on without a parser, and rules on the
    raw stream still see every byte; the other flows of the batch notice nothing.
(4) A flow that begins with one whole exchange, of a protocol with a short way for that, takes that one
    (`ids.protocols.brief`). What comes of it is what (1) would have come to.

COST. O(bytes); a few microseconds each time. MEMORY is what `ids.protocols.prelude` keeps, and what parsers say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ids.counters import Counters
from ids.protocols.expected import Expected
from ids.protocols.prelude import Preludes
from ids.protocols.protocol import Handover, MakeStreamParser, Protocol, StreamParser
from ids.protocols.recognition import LINE_BYTES, Recogniser
from ids.protocols.register import Register
from ids.protocols.rivals import Rivals
from ids.protocols.sides import FEW_BYTES, MISMATCH, ONE_DIRECTION, Sides
from ids.protocols.stretch import Stretch
from ids.protocols.talk import BOTH, NOTHING, Talk, Talks
from ids.protocols.walked import Walk
from ids.types import Direction, FlowColumns, Transaction

MAX_HANDOVERS = 8
"""Protocols within protocols that are followed in one piece of a stream; each probes and copies the rest of it anew.
Tunnels are rarely nested more than twice, and each waits for an answer, so the next piece may have as many."""

_DIRECTIONS = tuple(Direction)


class Feeder:
    """Takes the streams of all flows, a stretch at a time."""

    def __init__(
        self,
        protocols: Sequence[Protocol],
        parsers: Mapping[str, MakeStreamParser],
        recogniser: Recogniser,
        talks: Talks,
        flows: FlowColumns,
        register: Register,
        expected: Expected,
        counters: Counters,
        probe_bytes: int,
    ) -> None:
        """``parsers`` has what makes them, by name of the protocol; ``probe_bytes`` of a direction are looked at."""
        self._by_name = {protocol.name: protocol for protocol in protocols}
        self._announced = {protocol.name: protocol for protocol in protocols if protocol.announced}
        self._walked = {port: one for one in protocols if one.walked is not None for port in one.walked.ports}
        self._make_parser = parsers
        self._recogniser = recogniser
        self._talks = talks
        self._flows = flows
        self._register = register
        self._expected = expected
        self._counters = counters
        self._probe_bytes = probe_bytes
        self._preludes = Preludes(talks, recogniser, counters, probe_bytes)
        self._rivals = Rivals(recogniser, parsers, counters, probe_bytes)
        self.sides = Sides(recogniser, flows)
        """Notes where the two sides of a flow do not go together."""

    def go_on(
        self, slot: int, protocol: Protocol, parser: StreamParser, ended: Sequence[Direction], at: tuple[int, int],
        out: list[Transaction],
    ) -> None:  # fmt: skip
        """Have a parser read on behind the exchange with which a flow began.

        ``ended`` has the sides that have ended, ``at`` the time and number of the packet with which they did.
        """
        talk = self._talks.by_id[int(self._flows.id[slot])] = Talk(slot)
        talk.probing, talk.line, talk.protocol = False, None, protocol
        talk.heard = talk.began = 1 << Direction.TO_SERVER
        talk.parser = parser
        for side in ended:
            self.take(talk, Stretch(side, b"", *at, 0, True), out)

    def take(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction."""
        side = stretch.direction
        if stretch.closed:
            talk.closed |= 1 << side
        if talk.rival is not None and side is Direction.TO_CLIENT and self._rivals.named_back(talk, stretch):
            self._register.decide(talk, talk.protocol)
            talk.began = 0
        if talk.parser is not None and talk.awaited and self._contradicts(talk, stretch, out):
            talk.release()
        if talk.announced and self._belies(talk, stretch):
            self._start_anew(talk, stretch, out)
        elif talk.greeted and side is Direction.TO_SERVER and self._hear_client(talk, stretch, out):
            pass
        elif talk.parser is not None:
            self._parse(talk, stretch, out)
        elif talk.probing:
            self._probe(talk, stretch, out)
        elif talk.awaited:
            self._await_server(talk, stretch, out)
        elif stretch.data and not talk.heard >> side & 1:
            if side is Direction.TO_SERVER and talk.named_by_server:
                self._hear_client(talk, stretch, out)
            else:
                self._hear(talk, stretch, out)
        if talk.walk is not None and side is Direction.TO_SERVER and self._walk(talk, stretch, out):
            pass
        elif talk.rival is not None:
            self._feed_rival(talk, stretch, out)
        elif talk.line is not None and side is Direction.TO_SERVER and stretch.data:
            self._search(talk, stretch, out)

    def _search(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Look whether a client goes on in another protocol, whose server passes over what came before; if so, read
        that, beside what the flow seemed to be.
        """
        protocol, line, data = talk.protocol, talk.line, stretch.data
        if talk.announced or talk.handovers or line is None or (protocol is not None and protocol.sure):
            self._talks.keep_line(talk, None)
            return
        said = line + data if not stretch.gap else data
        self._preludes.keep_line(talk, said[max(said.rfind(b"\n") + 1, len(said) - LINE_BYTES) :])
        known = [one for one in (protocol, talk.rival.protocol if talk.rival is not None else None) if one is not None]
        while (found := self._recogniser.within(said, known)) is not None and found[0].name in self._make_parser:
            other, start = found
            known.append(other)
            said = said[start:]
            settled = other.sure or other.greets
            if settled:
                self._talks.keep_line(talk, None)
            self._read_besides(talk, other, stretch._replace(data=said, gap=0), out)
            if settled or talk.line is None:
                return

    def _walk(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> bool:
        """Look whether a message of the port's protocol begins; if so, read it, beside what the flow seemed to be, and
        return True.
        """
        assert talk.walk is not None
        protocol, walk = talk.walk
        known = talk.protocol is protocol or talk.announced or talk.handovers
        said = walk.on(stretch.data) if not (known or stretch.gap) else None
        if said is None or said:
            talk.walk = None
        if not said:
            return False
        self._rivals.drop(talk)
        self._read_besides(talk, protocol, stretch._replace(data=said), out)
        return True

    def _read_besides(self, talk: Talk, other: Protocol, stretch: Stretch, out: list[Transaction]) -> None:
        """Read what a client goes on with in another protocol, beside what the flow seemed to be, if anything."""
        protocol = talk.protocol
        parser = self._make_parser[other.name](talk.slot, talk.tx_id)
        if protocol is not None:
            self._rivals.drop(talk)
            self._rivals.begin(talk, other, parser)
            self._feed_rival(talk, stretch, out)
            return
        talk.awaited = not other.sure and (talk.probing or talk.awaited)
        talk.probing = False
        if not talk.awaited:
            self._talks.hold(talk, NOTHING)
        self._register.decide(talk, other)
        talk.parser = parser
        self._register.parse(talk, True)
        self._parse(talk, stretch, out)

    def _feed_rival(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Let the other reading of a flow take the next bytes; where it hands over, it was the true one."""
        handover = self._rivals.feed(talk, stretch, out)
        if handover is not None and talk.rival is not None:
            talk.protocol = talk.rival.protocol
            self._register.decide(talk, talk.protocol)
            self._rivals.drop(talk)
            self._hand_over(talk, handover, stretch.ts_ns, stretch.number, out)

    def _belies(self, talk: Talk, stretch: Stretch) -> bool:
        """Return whether a connection is another one than was announced: of a transfer, one side is silent. What the
        other says is kept, as far as there is room.

        Where no transfer was asked for, the first bytes of a protocol that is `Protocol.sure` are enough.
        """
        side, data, gap = stretch.direction, stretch.data, stretch.gap
        if not data and not gap:
            return False
        talk.heard |= 1 << side
        if talk.heard == BOTH:
            return True
        kept = talk.prefix[side]
        room = self._preludes.room(kept)
        if gap or talk.missed:
            talk.missed += gap + len(data)
            return False
        if side == Direction.TO_SERVER and not getattr(talk.parser, "asked", True):
            protocol = self._recogniser.stream((kept + data)[: self._probe_bytes], side)
            if protocol is not None and protocol.sure:
                return True
        talk.missed = max(len(data) - room, 0)
        kept += data[:room]
        self._talks.hold(talk, (kept, b"") if side == Direction.TO_SERVER else (b"", kept))
        return False

    def _start_anew(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Probe a connection that was announced for another, from its beginning."""
        self._counters.add("app_layer.expected.belied")
        talk.release()
        self._register.parse(talk, False)
        kept, missed, ended = talk.prefix, talk.missed, talk.closed
        self._talks.hold(talk, NOTHING)
        talk.start_over(1)
        self._talks.keep_line(talk, b"")
        talk.announced, talk.closed = False, 0
        side, ts_ns, number = stretch.direction, stretch.ts_ns, stretch.number
        for of in (_DIRECTIONS[1 - side], side):
            last = of != side and bool(ended >> of & 1)
            lost = missed if of != side else 0
            if kept[of] or (last and not lost):
                self.take(talk, Stretch(of, kept[of], ts_ns, number, 0, last and not lost), out)
            if lost:
                self.take(talk, Stretch(of, b"", ts_ns, number, lost, last), out)
        self.take(talk, stretch, out)

    def meet(self, talk: Talk, ts_ns: int) -> None:
        """Give a connection that another flow has announced its parser. Of others, begin to walk over the messages of
        those at whose ports the first ones may show nothing.
        """
        protocol = self._walked.get(int(self._flows.dport[talk.slot]))
        if protocol is not None and protocol.walked is not None:
            talk.walk = protocol, Walk(protocol.walked)
        if not len(self._expected):
            return
        announced = self._expected.take(self._flows.view(talk.slot), ts_ns)
        if announced is None or announced.protocol not in self._make_parser:
            return
        talk.probing = False
        self._register.decide(talk, self._announced[announced.protocol])
        talk.parser = self._make_parser[announced.protocol](talk.slot, 0, announced.about)
        talk.announced = True
        self._register.parse(talk, True)

    def _probe(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Look whether the flow's protocol shows now; if so, let its parser catch up."""
        side, data, ts_ns, number, gap, _ = stretch
        known, others = talk.prefix[side], talk.prefix[1 - side]
        probe = limit = self._probe_bytes
        prefix = known + data[: max(limit - len(known), 0)]
        protocol = self._recogniser.stream(prefix, side) if prefix and len(known) < limit else None
        if protocol is None and prefix:
            prefix, limit = self._preludes.behind(known + data, side)
            if len(prefix) > probe and limit - len(prefix) < probe:
                protocol = self._recogniser.stream(prefix, side)
        if protocol is None and len(prefix) < limit and not gap and talk.closed != BOTH and self._preludes.fit(prefix):
            self._talks.hold(talk, (prefix, others) if side == 0 else (others, prefix))
            if talk.expected is not None and len(prefix) >= FEW_BYTES:
                self.sides.begin(talk, stretch, not others, out)
            return
        talk.probing = False
        self._talks.hold(talk, NOTHING)
        if not (prefix or others):
            return  # nobody said anything
        self._register.decide(talk, protocol)
        talk.heard = 1 << side
        self.sides.begin(talk, stretch, not others, out)
        if protocol is not None:
            talk.began = 0 if gap else 1 << side
        elif side == Direction.TO_CLIENT and not talk.handovers and not talk.closed & 1 << Direction.TO_SERVER:
            self._talks.hold(talk, (others, b""))
            return
        if others:
            self._hear(talk, Stretch(_DIRECTIONS[1 - side], others, ts_ns, number), out)
        answers = side == Direction.TO_CLIENT and not self._recogniser.must_not_follow(protocol, others)
        settled = protocol is not None and (protocol.sure or answers)
        if settled or talk.began == BOTH or self._recogniser.prelude_of(protocol, others):
            self._talks.keep_line(talk, None)
        maker = self._make_parser.get(protocol.name) if protocol is not None else None
        if maker is None:
            if side == Direction.TO_SERVER and not gap and talk.closed != BOTH:
                talk.awaited = True
                self._preludes.keep_client(talk, b"", known + data, others)
            return
        talk.parser = maker(talk.slot, talk.tx_id)
        self._register.parse(talk, True)
        if side == Direction.TO_SERVER and protocol is not None and not protocol.sure and not (gap or others):
            talk.awaited = True
            self._preludes.keep_client(talk, b"", known + data, b"")
        if side == Direction.TO_CLIENT and protocol is not None and not protocol.sure and not (gap or others):
            talk.greeted = not talk.handovers
        if not (known or others or talk.closed >> (1 - side) & 1):
            self._parse(talk, stretch, out)
            return
        held = [Stretch(side, known, ts_ns, number), stretch] if gap else [stretch._replace(data=known + data)]
        if others or talk.closed >> (1 - side) & 1:
            of_other = Stretch(_DIRECTIONS[1 - side], others, ts_ns, number, 0, bool(talk.closed >> (1 - side) & 1))
            first = bool(side) != (protocol is not None and protocol.greets)
            held.insert(0 if first else len(held), of_other)  # of whoever speaks first, as a rule the client
        talk.closed = 0
        for one in held:
            self._catch_up(talk, one, out)

    def _hear(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Judge the first bytes of a direction: whether they are the protocol's."""
        side, data, ts_ns, number, gap, _ = stretch
        if not data:
            return
        talk.heard |= 1 << side
        first = data[: self._probe_bytes]
        if talk.protocol is None or gap:
            return
        if self._recogniser.stream(first, side) is talk.protocol:
            talk.began |= 1 << side
        else:
            self.sides.compare(talk, side, first, (ts_ns, number), out, final=True)

    def _hear_client(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> bool:
        """Judge the first bytes of a client whose server has named the flow, however they are cut.

        Where they are of another protocol, begin to parse that one: the server's words may be forged. Return whether
        it did.
        """
        known, probe = talk.prefix[Direction.TO_SERVER], self._probe_bytes
        heard, gap = known + stretch.data, stretch.gap
        protocol = self._recogniser.stream(heard[:probe], Direction.TO_SERVER)
        first, limit = heard[:probe], probe
        if protocol is None:
            first, limit = self._preludes.behind(heard, Direction.TO_SERVER)
            protocol = self._recogniser.stream(first, Direction.TO_SERVER)
        if not gap:
            at = stretch.ts_ns, stretch.number
            self.sides.compare(talk, Direction.TO_SERVER, first, at, out, final=stretch.closed)
        if protocol is None and len(first) < limit and not gap and not stretch.closed and self._preludes.fit(first):
            self._talks.hold(talk, (first, b""))
            return False
        self._talks.hold(talk, NOTHING)
        talk.heard |= 1 << Direction.TO_SERVER
        talk.greeted = False
        named = talk.protocol is not None
        if protocol is not talk.protocol and self._recogniser.may_follow(talk.protocol, first):
            return False
        maker = self._make_parser.get(protocol.name) if protocol is not None else None
        if protocol is talk.protocol and not gap:
            talk.began |= (protocol is not None) << Direction.TO_SERVER
        elif maker is not None and not gap:
            self._counters.add("app_layer.corrected")
            self._rivals.keep(talk, talk.protocol, talk.parser)
            self._register.decide(talk, protocol)
            if not named:
                self.sides.note(talk, Direction.TO_SERVER, (ONE_DIRECTION,), (stretch.ts_ns, stretch.number), out)
            talk.began = 1 << Direction.TO_SERVER
            talk.parser = maker(talk.slot, talk.tx_id)
            self._register.parse(talk, True)
            self._parse(talk, stretch._replace(data=heard), out)
            return True
        return False

    def contradicted(self, slot: int, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Note that a server does not begin in its client's protocol; read the other one as well, where it is known."""
        talk = self._talks.by_id.get(int(self._flows.id[slot]))
        protocol = self._recogniser.stream(data[: self._probe_bytes], Direction.TO_CLIENT)
        own = talk is not None and protocol is talk.protocol
        if talk is not None:
            name = ONE_DIRECTION if protocol is None or own else MISMATCH
            self.sides.note(talk, Direction.TO_CLIENT, (name,), (ts_ns, number), out)
            if not own:
                self._rivals.suspect(talk, data)

    def _contradicts(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> bool:
        """Return whether the server of a flow that is parsed answers in another protocol that can be; until its first
        bytes are there, what the client says is kept besides.
        """
        side, data, gap = stretch.direction, stretch.data, stretch.gap
        said, answered = talk.prefix
        if side is Direction.TO_SERVER:
            if gap or talk.missed:
                talk.missed += gap + len(data)
            else:
                self._preludes.keep_client(talk, said, data, answered)
            return False
        first = (answered + data)[: self._probe_bytes]
        protocol = None if gap else self._recogniser.stream(first, Direction.TO_CLIENT)
        if self._recogniser.may_answer(talk.protocol, first):
            protocol = talk.protocol
        elif talk.rival is not None and self._recogniser.may_answer(talk.rival.protocol, first):
            protocol = self._believe_rival(talk)
        if protocol is not None and protocol is not talk.protocol and protocol.name in self._make_parser:
            return True
        if not gap:
            self.sides.compare(talk, side, first, (stretch.ts_ns, stretch.number), out, final=stretch.closed)
        if protocol is talk.protocol or self._recogniser.prelude_of(talk.protocol, first):
            self._talks.keep_line(talk, None)
        if protocol is None and not gap and len(first) < self._probe_bytes:
            self._talks.hold(talk, (said, first))
        else:
            talk.awaited, talk.missed = False, 0
            self._talks.hold(talk, NOTHING)
        return False

    def _believe_rival(self, talk: Talk) -> Protocol | None:
        """Take the other reading of a flow for the true one: its server answers so. Return its protocol."""
        rival, talk.rival = talk.rival, None
        if rival is not None and rival.parser is not None:
            if talk.parser is not None:
                talk.parser.release()
            talk.protocol, talk.parser = rival.protocol, rival.parser
            self._register.decide(talk, talk.protocol)
        return talk.protocol

    def _await_server(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Wait for the first bytes of a server, however they are cut; where a protocol with a parser shows in them, let
        its parser catch up with what the client said."""
        side, data, ts_ns, number, gap, closed = stretch
        said, answered = talk.prefix
        if side is Direction.TO_SERVER:
            if gap or talk.missed:
                talk.missed += gap + len(data)
            elif data:
                self._preludes.keep_client(talk, said, data, answered)
            return
        answered += data
        first, probe = answered[: self._probe_bytes], self._probe_bytes
        protocol = None if gap else self._recogniser.stream(first, Direction.TO_CLIENT)
        if protocol is None and not gap:
            first, limit = self._preludes.behind(answered, Direction.TO_CLIENT)
            protocol = self._recogniser.stream(first, Direction.TO_CLIENT)
            if protocol is None and len(first) < max(limit, probe) and not closed and self._preludes.fit(first):
                self._talks.hold(talk, (said, first))
                return
        if self._recogniser.may_answer(talk.protocol, first):
            protocol = talk.protocol
        talk.awaited = False
        self._talks.hold(talk, NOTHING)
        talk.heard |= bool(answered or gap) << Direction.TO_CLIENT
        if not gap:
            self.sides.compare(talk, Direction.TO_CLIENT, first, (ts_ns, number), out, final=True)
        maker = self._make_parser.get(protocol.name) if protocol is not None else None
        if protocol is not None and protocol is talk.protocol:
            talk.began |= 1 << Direction.TO_CLIENT
            self._talks.keep_line(talk, None)
        elif maker is not None:
            self._counters.add("app_layer.corrected")
            self._counters.add("app_layer.probe.missed_bytes", talk.missed)
            self._rivals.drop(talk)
            self._register.decide(talk, protocol)
            talk.began = 1 << Direction.TO_CLIENT
            talk.parser = maker(talk.slot, talk.tx_id)
            self._register.parse(talk, True)
            ended, talk.closed = bool(talk.closed >> Direction.TO_SERVER & 1), 0
            held = [Stretch(Direction.TO_SERVER, said, ts_ns, number, 0, ended and not talk.missed)]
            if talk.missed:
                held.append(Stretch(Direction.TO_SERVER, b"", ts_ns, number, talk.missed, ended))
            for one in (*held, stretch._replace(data=answered)):
                self._catch_up(talk, one, out)

    def _catch_up(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        """Take bytes that were held, whatever the flow has come to meanwhile."""
        side = stretch.direction
        if stretch.closed:
            talk.closed |= 1 << side
        if talk.parser is not None:
            self._parse(talk, stretch, out)
        elif talk.probing:
            self._probe(talk, stretch, out)
        elif not talk.heard >> side & 1:
            self._hear(talk, stretch, out)

    def _parse(self, talk: Talk, stretch: Stretch, out: list[Transaction]) -> None:
        assert talk.parser is not None
        before = len(out)
        try:
            handover = talk.parser.feed(stretch, out)
        except Exception:
            self._register.fail(talk)
        else:
            if talk.handovers:
                for row in out[before:]:
                    row.within = talk.handovers
            if handover is not None:
                for row in out[before:]:
                    row.last = row.complete
                self._hand_over(talk, handover, stretch.ts_ns, stretch.number, out)

    def _hand_over(self, talk: Talk, handover: Handover, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Probe the rest of the streams anew, unless it is known what they are."""
        talk.release()
        self._talks.hold(talk, NOTHING)
        self._register.parse(talk, False)
        talk.handovers += 1
        talk.handed = talk.handed + 1 if talk.handed_at == number else 1
        talk.handed_at = number
        talk.start_over(handover.tx_id)
        talk.expected = handover.expected
        self._talks.keep_line(talk, None)
        if talk.handed > MAX_HANDOVERS:
            self._counters.add("app_layer.handover.too_many")
            return
        self._register.write()  # the next parser may ask what the flow was before
        self._flows.app_orig[talk.slot] = self._flows.app_proto[talk.slot]
        if handover.to in self._make_parser:
            self._agree(talk, handover, ts_ns, number, out)
        ended, talk.closed = talk.closed, 0
        for side, rest in zip(_DIRECTIONS, handover.rest, strict=True):
            closed = bool(ended >> side & 1)
            if rest or closed:
                self._catch_up(talk, Stretch(side, rest, ts_ns, number, 0, closed), out)

    def _agree(self, talk: Talk, handover: Handover, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Begin to parse the protocol that both sides have agreed on."""
        protocol = self._by_name[str(handover.to)]
        talk.probing = False
        self._register.decide(talk, protocol)
        talk.parser = self._make_parser[protocol.name](talk.slot, talk.tx_id)
        self._register.parse(talk, True)
        take_over = getattr(talk.parser, "take_over", None)
        if handover.before is not None and take_over is not None:
            before = len(out)
            try:
                take_over(handover.before, ts_ns, number, out)
            except Exception:
                self._register.fail(talk)
            for row in out[before:]:
                row.within = talk.handovers
