"""What is fuzzed one input at a time: the parsers, through the seam by which the stage feeds them.

A `Subject` executes an input, and settles now and then: then whatever it held is given back, and must be. Parsers have
the settings of an engine, those with all that can be switched on, or the least that each bound may be.
"""

from __future__ import annotations

import gc
import types
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from sys import getsizeof
from typing import Any

import annotated_types
from pydantic import BaseModel

import ids.protocols
from ids.counters import Counters
from ids.events import spell
from ids.protocols.expected import Expected
from ids.protocols.files import Files, FileSettings
from ids.protocols.frame import INFIX, Framed
from ids.protocols.framing import Pool
from ids.protocols.ftp.parser import Transfer
from ids.protocols.http.message import Memory
from ids.protocols.protocol import ODDITY, Protocol, Setup
from ids.protocols.registry import BUFFERS, PROTOCOLS
from ids.protocols.stretch import Stretch
from ids.testing import make_flow
from ids.types import Direction, FlowColumns, Transaction
from tests.fuzz.cases import Case, Step, varied

T0 = 1_700_000_000_000_000_000
KINDS = ("default", "most", "least")
"""Settings: those of an engine; with frames, and all that can be switched on; the least that each bound may be, and the
careful lane alone."""
ALIVE = 8
"""Parsers that live at once, so that what they share is shared."""
MOST_READ = 24
"""Transactions of one input of which all is made that is made when it is asked for, of every eighth input;"""
FEW_READ = 1
"""and of half of the others."""
SLACK = 64 * 1024
"""Bytes beyond a cap that the piece which reached it may take."""
HELD_BYTES = 8 << 20
"""What one parser may hold after a long input: more than all its limits allow."""
MOST_ITEMS = 20_000
"""What one container of a parser may have after a long input: more than any limit of a list allows."""
_PACKAGE = Path(ids.protocols.__file__).parent
_DIRECTIONS = tuple(Direction)


class PromiseBroken(AssertionError):
    """What must hold after a step does not."""


class Subject(ABC):
    """Something that takes inputs."""

    code: Sequence[Path] = ()
    """Files whose lines are to be reached."""
    long = True
    """It takes long inputs too."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = list(cases)
        self.seen: set[bytes] = set()
        """What was odd, and what was counted."""

    def vary(self, case: Case, other: Case, rng: Random) -> list[Step]:
        """Return an input that is made of a seed, and of another one."""
        return varied(case, other, rng)

    @abstractmethod
    def execute(self, steps: Sequence[Step]) -> int:
        """Take an input; return how many things were made of it. Raises what breaks a promise."""

    def close(self) -> None:  # noqa: B027 - most change nothing
        """Take back what the subject changed outside of itself."""

    def settle(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what is held; raise `PromiseBroken` where that is not all."""

    def again(self, kind: str) -> None:  # noqa: B027 - most keep nothing
        """Begin anew, with settings of one of `KINDS`."""

    def weigh(self) -> int:
        """Return the bytes that the last input left; raise `PromiseBroken` where they are too many."""
        return 0


class Parser(Subject):
    """The parser of one protocol over TCP or UDP."""

    def __init__(self, protocol: Protocol, cases: Sequence[Case], *, datagrams: bool) -> None:
        super().__init__(cases)
        begin = protocol.datagrams if datagrams else protocol.streams
        assert begin is not None
        self.protocol = protocol
        self.code = _code_of(begin)
        self._datagrams = datagrams
        self._begin = begin
        self._environments = [Environment(protocol, begin, kind) for kind in KINDS]
        self._now = self._environments[0]
        self._alive: deque[Any] = deque()
        self._number = self._executed = self._settled = 0

    def vary(self, case: Case, other: Case, rng: Random) -> list[Step]:
        return varied(case, other, rng, whole=self._datagrams)

    def execute(self, steps: Sequence[Step]) -> int:
        alive, now = self._alive, self._now
        if len(alive) >= ALIVE:
            alive.popleft().release()
        number = self._number
        parser = now.make(self._executed % ALIVE, self._executed)
        alive.append(parser)
        out: list[Transaction] = []
        if self._datagrams:
            take = parser.datagram
            for side, data, _, _ in steps:
                number += 1
                take(_DIRECTIONS[side], data, T0 + number, number, out)
        else:
            feed = parser.feed
            for side, data, gap, closed in steps:
                number += 1
                if feed(Stretch(_DIRECTIONS[side], data, T0 + number, number, gap, closed), out) is not None:
                    alive.pop().release()
                    break
        self._number = number
        self._executed += 1
        executed = self._executed
        if not executed & 1:
            for transaction in out[-FEW_READ if executed & 7 else -MOST_READ :]:
                self._look(transaction)
        made = len(out)
        out.clear()  # as the stage does: a parser may keep the list
        return made

    def _look(self, transaction: Transaction) -> None:
        """Ask a transaction for all that rules and events may ask it for."""
        buffers, executed = transaction.buffers, self._executed
        for name in getattr(buffers, "makers", buffers):
            if name == "file.magic" and executed & 63:
                continue  # a library's work, and slow
            value = buffers.get(name)
            if value is not None and type(value) is not bytes:
                raise PromiseBroken(f"{name} is {type(value).__name__}")
        for name, values in transaction.more.items():
            for value in values:
                if type(value) is not bytes:
                    raise PromiseBroken(f"one of {name} is {type(value).__name__}")
        odd = transaction.instances(ODDITY)
        if odd:
            self.seen.update(odd)
        transaction.head_as_sent()
        if transaction.complete:
            spell(transaction.fields)

    def weigh(self) -> int:
        if not self._alive:
            return 0
        held = 0
        for thing in within(self._alive[-1], self._now.common):
            held += getsizeof(thing)
            if isinstance(thing, (list, dict, set, deque)) and len(thing) > MOST_ITEMS:
                raise PromiseBroken(f"a {type(thing).__name__} of a parser has {len(thing)} items")
        if held > HELD_BYTES:
            raise PromiseBroken(f"a parser holds {held:,} bytes")
        return held

    def settle(self) -> None:
        self._now.check_caps()
        while self._alive:
            self._alive.pop().release()
        self._now.check_given_back()
        self.seen.update(f"#{name}".encode() for name, count in self._now.counters.values.items() if count)
        self._settled += 1
        self._now = self._environments[max(self._settled % 4 - 1, 0)]

    def again(self, kind: str) -> None:
        self._alive.clear()
        self._now = self._environments[KINDS.index(kind)] = Environment(self.protocol, self._begin, kind)


class Environment:
    """What all parsers of a protocol share, as the stage has it."""

    def __init__(self, protocol: Protocol, begin: Callable[[Setup], Any], kind: str) -> None:
        least = kind == "least"
        self.columns = FlowColumns(ALIVE)
        for slot in range(ALIVE):
            make_flow(columns=self.columns, sport=40000 + slot, dport=21 if protocol.name == "ftp" else 80)
        self.counters = Counters()
        self.files = Files(FileSettings(), self.counters, self.columns)
        self.files.want(None, logged=True)
        framed = Framed()
        if kind == "most":
            framed.want([name for name in BUFFERS if INFIX in name])
        settings = None
        if protocol.settings is not None:
            settings = protocol.settings.model_validate(
                {"default": {}, "most": switched_on(protocol.settings), "least": least_of(protocol.settings)}[kind]
            )
        setup = Setup(self.columns, settings, self.counters, not least, self.files, Expected(self.counters), framed)
        self._memcap = getattr(settings, "memcap_bytes", None)
        self._make = begin(setup)
        self._announced = protocol.announced
        self._common = [setup, self._make, self.columns, self.files]
        self.accounts = [thing for thing in within(self._make, set()) if _account(thing) is not None]
        self.common = {id(thing) for thing in self._common} | {id(thing) for thing in within(self._make, set())}

    def make(self, slot: int, number: int) -> Any:
        """Return a parser of a flow."""
        if not self._announced:
            return self._make(slot, 0)
        return self._make(slot, 0, Transfer((b"", b"RETR", b"STOR", b"LIST")[number & 3], b"a.bin"))

    def check_caps(self) -> None:
        """Hold what is accounted for to the cap."""
        for one in self.accounts:
            held = _account(one)
            if held is not None and self._memcap is not None and held > self._memcap + SLACK:
                raise PromiseBroken(f"{type(one).__name__} holds {held:,} bytes of {self._memcap:,}")
        if self.files.held > self.files.settings.memcap_bytes + SLACK:
            raise PromiseBroken(f"files hold {self.files.held:,} bytes")

    def check_given_back(self) -> None:
        """Hold what is accounted for to nothing: no parser lives."""
        for one in self.accounts:
            if _account(one):
                raise PromiseBroken(f"{type(one).__name__} holds {_account(one):,} bytes of no flow")
        if self.files.held:
            raise PromiseBroken(f"files hold {self.files.held:,} bytes of no flow")
        self.files.take()


def _account(thing: object) -> int | None:
    """Return how many bytes something counts that all flows share; None where it counts none."""
    if isinstance(thing, Pool):
        return thing.held
    if isinstance(thing, Memory):
        return thing.used
    if type(thing).__name__.startswith("Shared"):
        held = getattr(thing, "held", None)
        return held if isinstance(held, int) else None
    return None


def least_of(settings: type[BaseModel]) -> dict[str, Any]:
    """Return the least that each number of some settings may be."""
    found = {}
    for name, field in settings.model_fields.items():
        for bound in field.metadata:
            if isinstance(bound, annotated_types.Ge) and isinstance(field.default, int):
                found[name] = bound.ge
    return found


def switched_on(settings: type[BaseModel]) -> dict[str, bool]:
    """Return all switches of some settings, on."""
    return {name: True for name, field in settings.model_fields.items() if isinstance(field.default, bool)}


def within(root: object, known: Iterable[int]) -> Iterator[Any]:
    """Yield an object and all that it refers to, but for code and what is known."""
    seen = set(known)
    rest = [root]
    while rest:
        thing = rest.pop()
        if id(thing) in seen or isinstance(thing, _CODE):
            continue
        seen.add(id(thing))
        yield thing
        rest += gc.get_referents(thing)


_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType, FlowColumns)


def _code_of(begin: object) -> list[Path]:
    """Return the files that have a parser: its package, without those in which another of the package begins, or its
    module."""
    own = _modules_of(begin)
    others = {
        module
        for one in PROTOCOLS
        for other in (one.streams, one.datagrams)
        if other is not None
        for module in _modules_of(other)
    } - own
    files: set[Path] = set()
    for module in own:
        *_, package, name = module.split(".")
        files.update((_PACKAGE / package).glob(f"{name}*.py" if package == "rare" else "*.py"))
    return sorted(files - {_PACKAGE.joinpath(*module.split(".")[2:]).with_suffix(".py") for module in others})


def _modules_of(begin: object) -> set[str]:
    """Return the modules of a protocol's own package that what makes its parsers is made of."""
    said = [getattr(thing, "__module__", None) or "" for thing in (begin, *getattr(begin, "args", ()))]
    return {module for module in said if module.startswith("ids.protocols.") and module.count(".") == 3}
