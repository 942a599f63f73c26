"""A rule in the making: what its options have said so far, in order.

Contents are kept open (`Piece`) until the rule ends, because modifiers follow them. A `Part` is a chain in the making.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from ids.protocols.frame import INFIX
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.spelled import spelled
from ids.rules.model.buffers import CATALOGUE, PAYLOAD
from ids.rules.model.chain import DECODED, Chain, Content, DataAt, Expression, Length, Step, Value
from ids.rules.model.geoip import Countries
from ids.rules.model.header import HeaderTest
from ids.rules.model.lua import Trials
from ids.rules.model.reputation import Reputation
from ids.rules.model.rule import Instance, Node, base_of
from ids.rules.model.script import Script
from ids.rules.model.transforms import TransformError, spelt, transforms_of
from ids.types import Direction, Stores, Threshold
from ids.types.state import StateChange, StateTest


@dataclass(slots=True, eq=False)
class Piece:
    """A content, to which modifiers may still come."""

    value: bytes
    negated: bool
    part: Part
    nocase: bool = False
    offset: Value | None = None
    depth: Value | None = None
    distance: Value | None = None
    within: Value | None = None
    at_start: bool = False
    at_end: bool = False
    preferred: bool = False
    only: bool = False
    """It is for the prefilter alone (``fast_pattern:only``): where it stands does not matter."""

    def finished(self) -> Content:
        """Return the step that it comes to; raises `Malformed`."""
        placed = (self.offset, self.depth, self.distance, self.within) != (None, None, None, None)
        if self.only and (placed or self.negated):
            raise Malformed("a content with fast_pattern:only stands anywhere", "leave :only out")
        value = spelled(self.part.buffer, self.value, self.nocase)
        value = value.lower() if self.nocase else value
        offset, depth = (0, len(value)) if self.at_start else (self.offset, self.depth)
        return Content(
            value, self.nocase, self.negated, offset, depth, self.distance, self.within, self.at_end, self.preferred
        )


@dataclass(slots=True, eq=False)
class Part:
    """The tests on one buffer."""

    buffer: str
    steps: list[Piece | Step] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    """Those that are asked of what the steps hold of."""

    def check(self) -> None:
        """Raise `Malformed` where its steps contradict each other."""
        lengths = [step for step in self.steps if isinstance(step, Length) and not step.negated]
        for length in lengths:
            if length.most is not None:
                self.check_room(length.most)
        for before, step in pairwise([None, *self.steps]):
            near = isinstance(before, Piece) and before.only
            if _relative(step) and (near or (isinstance(step, Piece) and step.only)):
                raise Malformed("a content with fast_pattern:only has no place that others could be relative to")

    def check_room(self, size: int) -> None:
        """Raise `Malformed` where what must be there does not fit into a buffer of this size."""
        end, needed = 0, 0
        for step in self.steps:
            if not isinstance(step, Piece):
                end = 0  # it may have moved anywhere
            elif not step.negated:
                start = end + _least(step.distance) if _relative(step) else _least(step.offset)
                end = max(start, 0) + len(step.value)
                needed = max(needed, end)
        if needed > size:
            raise Malformed(f"contents that take {needed} bytes stand in no buffer of {size}")

    def finished(self) -> Chain | Instance:
        """Return the chain that they come to, and behind it the scripts; raises `Malformed`."""
        if not self.scripts:
            return self._chain()
        scripts = [replace(script, buffer=self.buffer) for script in self.scripts]
        return Instance(self.buffer, (*((self._chain(),) if self.steps else ()), *scripts))

    def _chain(self) -> Chain:
        if len(self.steps) > 1:
            self.check()
        return Chain(self.buffer, tuple(step.finished() if isinstance(step, Piece) else step for step in self.steps))


def _relative(step: Piece | Step | None) -> bool:
    if isinstance(step, Piece):
        return step.distance is not None or step.within is not None
    return isinstance(step, DataAt | Expression) and step.relative


def _least(value: Value | None) -> int:
    """Return what a place is at least: of what the traffic says nothing is known."""
    return value if isinstance(value, int) else 0


_SEVERAL = frozenset((
    "file.data", "file.name", "http.request_header", "http.response_header", "tls.certs", "tls.cert_subject",
    "http2.header", "http2.header_name", "tls.alpn", "tls.subjectaltname", "smtp.rcpt_to", "ftp.reply",
    "ftp.completion_code",
))  # fmt: skip


class Draft:
    """All that was said of one rule."""

    __slots__ = (
        "action", "alert", "announced", "attacked", "bypass", "classtype", "conditions", "countries", "decoded",
        "direction", "directory", "established", "fresh", "gid", "header_tests", "last", "latest", "metadata", "parts",
        "payload_of", "priority", "protocol", "references", "reputation", "rev", "scripts", "seen", "sid", "side",
        "silent", "state_changes", "state_tests", "stateless", "sticky", "stores", "threshold", "title", "trials",
        "unlogged", "variables", "version",
    )  # fmt: skip

    def __init__(self, action: str, protocol: str) -> None:
        self.action = action
        self.directory = Path()
        """Where its file is, from which it names others."""
        self.protocol = protocol
        self.countries: Callable[[], Countries] | None = None
        """Returns the countries of addresses; None: no file of them is named."""
        self.reputation = Reputation()
        self.trials = Trials()
        """Tries scripts; one for all rules of a load."""
        self.title = ""
        self.sid = 0
        self.rev = 0
        self.gid = 1
        self.priority: int | None = None
        self.classtype = ""
        self.attacked = ""
        self.announced = False
        self.references: list[tuple[str, str]] = []
        self.metadata: dict[str, list[str]] = {}
        self.established: bool | None = None
        self.stateless = False
        self.version = ""
        """The version of IP that an option asks for: ``ipv4`` or ``ipv6``."""
        self.direction: Direction | None = None
        self.side: Direction | None = None
        """The side that speaks, by what is looked at, where no option says it."""
        self.payload_of: str | None = None
        self.threshold: Threshold | None = None
        self.silent = action == "config"
        self.unlogged = False
        self.stores: Stores | None = None
        self.bypass = False
        self.state_tests: list[StateTest] = []
        self.state_changes: list[StateChange] = []
        self.header_tests: list[HeaderTest] = []
        self.conditions: list[Node] = []
        """Tests that are no chain on one buffer."""
        self.parts: list[Part] = []
        self.scripts: list[Script] = []
        """Those that are asked of no buffer."""
        self.sticky: str | None = None
        """The buffer that tests are on until another is named; None: the payload."""
        self.fresh = False
        """The next test begins a chain of its own, on whichever instance satisfies it."""
        self.last: Piece | None = None
        """The content that modifiers are about."""
        self.latest: Piece | Part | None = None
        """The test before, or the tests that it is one of."""
        self.variables: set[str] = set()
        """Names that a number of the traffic was given."""
        self.decoded = False
        """Base64 was decoded."""
        self.seen: set[str] = set()
        """Options that a rule has once."""

    def once(self, name: str) -> None:
        """Note an option that a rule may have once; raises `Malformed` at the second."""
        if name in self.seen:
            raise Malformed(f"{name} stands in it twice", "keep one of the two")
        self.seen.add(name)

    def part(self, buffer: str) -> Part:
        """Return the tests on a buffer, to add to them."""
        for part in self.parts:
            if part.buffer == buffer:
                return part
        part = Part(buffer)
        self.parts.append(part)
        return part

    def here(self) -> Part:
        """Return the tests on the buffer that is meant where nothing else is said."""
        if self.sticky is None:
            return self.part(PAYLOAD)
        if not self.fresh:
            return self.part_in_hand()
        self.fresh = False
        if several(self.sticky):
            part = Part(self.sticky)
            self.parts.append(part)
            return part
        return self.part(self.sticky)

    def part_in_hand(self) -> Part:
        """Return the part of the sticky buffer that was begun last."""
        for part in reversed(self.parts):
            if part.buffer == self.sticky:
                return part
        return self.part(self.sticky or PAYLOAD)

    def stick(self, buffer: str | None) -> None:
        """Let further tests be on a buffer; None: on the payload. Raises `Malformed`."""
        if self.fresh:
            raise Malformed(f"{self.sticky} is named, and nothing asked of it", "put a content behind it")
        if self.sticky == DECODED and buffer is not None:
            raise Malformed("behind base64_data no other buffer can be named", "put base64_data last")
        self.sticky = buffer
        self.fresh = buffer is not None
        self.last = None
        if buffer is not None:  # behind pkt_data, a relative test is still on the buffer of the one before it
            self.latest = None

    def transform(self, name: str, parameter: str = "") -> None:
        """Let further tests be on what a transform makes of the buffer; raises `Malformed`."""
        if self.sticky is None or not self.fresh:
            raise Malformed(
                "a transform stands behind the name of a buffer", "such as http.uri; to_lowercase; content:"
            )
        try:
            self.sticky = spelt(base_of(self.sticky), [*transforms_of(self.sticky), (name, parameter)])
        except TransformError as error:
            raise Malformed(str(error)) from None

    def add(self, step: Step, *, near: bool = False) -> None:
        """Add a test on the buffer that is meant: behind a sticky buffer on it, else on the payload.

        ``near``: else on that of the test before it, which it is relative to.
        """
        beside = self.latest
        if near and self.sticky is None and beside is not None:
            part = beside.part if isinstance(beside, Piece) else beside
        else:
            part = self.here()
        part.steps.append(step)
        self.latest = part

    def stand_in(
        self, buffer: str, value: bytes, negated: bool, *, whole: bool, ending: bool, nocase: bool = True
    ) -> None:
        """Add a content on a buffer without naming it for further tests."""
        part = Part(buffer)
        self.parts.append(part)
        piece = Piece(value, negated, part, nocase=nocase, at_start=whole, at_end=whole or ending)
        part.steps.append(piece)

    def content(self) -> Piece:
        """Return the content that a modifier is about; raises `Malformed`."""
        if self.last is None:
            raise Malformed("there is no content before it that it could be about")
        return self.last

    def move(self, buffer: str) -> None:
        """Let the last content be about another buffer (the old modifiers); raises `Malformed`."""
        payload = next((part for part in self.parts if part.buffer == PAYLOAD), None)
        steps = payload.steps if payload is not None else []
        piece = next((step for step in reversed(steps) if isinstance(step, Piece)), None)
        if self.sticky is not None:
            raise Malformed(
                f"it stands behind the sticky buffer {self.sticky}",
                "name buffers in one way, or put pkt_data; before it",
            )
        if payload is None or piece is None:
            raise Malformed("there is no content on the payload before it that it could be about")
        steps.remove(piece)
        if not steps and not payload.scripts:
            self.parts.remove(payload)
        piece.part = self.part(buffer)
        piece.part.steps.append(piece)


def several(buffer: str) -> bool:
    """Return whether Suricata takes a buffer as one of several, so that each naming asks for one of them."""
    name = base_of(buffer)
    return name in _SEVERAL or INFIX in name or (name.startswith("dns.") and CATALOGUE[name].several)
