"""Seeds of each parser: what it is fed when the stage reads captures, and conversations made by hand.

The engine's own way is taken once, from frames to the parsers; what each parser of each flow gets is kept, and so is
what some functions within are called with. Captures lie where `tests.fuzz.seeds` finds them; what was found of them is
kept under ``build/``, until a capture changes.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import Any
from unittest.mock import patch

from ids.capture import open_capture
from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.settings import DecodeSettings
from ids.errors import CaptureError
from ids.flow import FlowTable
from ids.flow.settings import FlowSettings
from ids.protocols import Protocols, ProtocolSettings
from ids.protocols.protocol import Protocol
from ids.protocols.registry import PROTOCOLS
from ids.protocols.stretch import Stretch
from ids.testing import make_datagrams, make_flow, make_streams
from ids.types import Datagram, Direction, FlowColumns, StreamChunk, Transaction
from tests.fuzz.cases import Case
from tests.fuzz.seeds import Conversation
from tests.shared import ROOT

CACHE = ROOT / "build" / "fuzz"
MOST_TURNS = 48
"""Of one case."""
MOST_BYTES = 24 * 1024
"""Of one case."""
MOST_CASES = 300
"""Of one parser, out of captures."""

Corpus = dict[str, list[Case]]
"""By name of a parser (``dns.udp``), or of a function."""

Hook = tuple[str, Callable[..., bytes]]
"""Where a function is looked up, and what of its arguments is the input."""


def corpus(paths: list[Path], hooks: dict[str, list[Hook]]) -> Corpus:
    """Return the cases that captures have for each parser, and for each function that is hooked."""
    signature = hashlib.sha256(repr([(str(path), path.stat().st_size) for path in paths]).encode())
    for source in (Path(__file__), *sorted((ROOT / "ids" / "protocols").rglob("*.py"))):
        signature.update(source.read_bytes())
    kept = CACHE / f"corpus-{signature.hexdigest()[:16]}.pickle"
    if kept.exists():
        loaded: Corpus = pickle.loads(kept.read_bytes())
        return loaded
    found: dict[str, dict[Case, None]] = defaultdict(dict)
    with _listening(hooks, found):
        for path in paths:
            _record_capture(path, found)
    made = {name: _chosen(list(cases)) for name, cases in sorted(found.items())}
    CACHE.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(pickle.dumps(made))
    return made


def by_hand(conversations: Iterable[Conversation], hooks: dict[str, list[Hook]]) -> Corpus:
    """Return the cases that conversations have for each parser, and for each function that is hooked."""
    found: dict[str, dict[Case, None]] = defaultdict(dict)
    with _listening(hooks, found):
        for conversation in conversations:
            _record_conversation(conversation, found)
    return {name: list(cases) for name, cases in found.items()}


def _chosen(cases: list[Case]) -> list[Case]:
    """Return up to `MOST_CASES`: of those that begin alike the shortest first."""
    cases.sort(key=lambda case: sum(len(said) for _, said in case))
    if len(cases) <= MOST_CASES:
        return cases
    kinds: dict[Any, Case] = {}
    for case in cases:
        kinds.setdefault(tuple((side, said[:6]) for side, said in case[:6]), case)
    chosen = list(kinds.values())[:MOST_CASES]
    rest = [case for case in cases if case not in set(chosen)]
    return chosen + Random(1).sample(rest, min(MOST_CASES - len(chosen), len(rest)))


class _Recorder:
    """Stands before a parser, and keeps what it is fed."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._turns: list[tuple[int, bytes]] = []
        self._bytes = 0

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Any:
        self._note(stretch.direction, stretch.data)
        return self._parser.feed(stretch, out)

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        self._note(direction, data)
        self._parser.datagram(direction, data, ts_ns, number, out)

    def _note(self, side: int, data: bytes) -> None:
        room = MOST_BYTES - self._bytes
        if data and room > 0 and len(self._turns) < MOST_TURNS:
            self._turns.append((int(side), bytes(data[:room])))
            self._bytes += len(data)

    @property
    def case(self) -> Case:
        return tuple(self._turns)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


def _recording(protocol: Protocol, recorders: list[tuple[str, _Recorder]]) -> Protocol:
    """Return a protocol whose parsers are recorded."""

    def wrapped(begin: Any, name: str) -> Any:
        def begun(setup: Any) -> Any:
            make = begin(setup)

            def made(*arguments: Any) -> _Recorder:
                recorder = _Recorder(make(*arguments))
                recorders.append((name, recorder))
                return recorder

            return made

        return None if begin is None else begun

    return replace(
        protocol,
        streams=wrapped(protocol.streams, f"{protocol.name}.tcp"),
        datagrams=wrapped(protocol.datagrams, f"{protocol.name}.udp"),
    )


def _recorded(columns: FlowColumns, found: dict[str, dict[Case, None]]) -> tuple[Protocols, Callable[[], None]]:
    """Return a stage whose parsers are recorded, and what keeps the records."""
    recorders: list[tuple[str, _Recorder]] = []
    protocols = [_recording(protocol, recorders) for protocol in PROTOCOLS]

    def keep() -> None:
        for name, recorder in recorders:
            if recorder.case:
                found[name][recorder.case] = None

    return Protocols(ProtocolSettings(), Counters(), columns, protocols=protocols), keep


def _record_capture(path: Path, found: dict[str, dict[Case, None]]) -> None:
    decoder = Decoder(DecodeSettings(checksums="none"), Counters())
    table = FlowTable(FlowSettings(), Counters(), parsers=True)
    stage, keep = _recorded(table.flows, found)
    try:
        with open_capture(path) as capture:
            for batch in capture:
                flows = table.process(decoder.decode(batch))
                _read(stage.feed(flows.streams, flows.datagrams))
    except CaptureError:
        pass
    keep()


def _record_conversation(conversation: Conversation, found: dict[str, dict[Case, None]]) -> None:
    columns = FlowColumns(4)
    stage, keep = _recorded(columns, found)
    flow = make_flow(columns=columns, proto=17 if conversation.datagrams else 6)
    for number, (side, data) in enumerate(conversation.turns, 1):
        stamp = number, number
        chunks, datagrams = [], []
        if conversation.datagrams:
            datagrams.append(Datagram(flow, Direction(side), data, *stamp))
        else:
            chunks.append(StreamChunk(flow, Direction(side), 0, data, *stamp))
        _read(stage.feed(make_streams(chunks), make_datagrams(datagrams)))
    keep()


def _read(transactions: Iterable[Transaction]) -> None:
    """Have all made that is made when it is asked for."""
    for transaction in transactions:
        dict(transaction.buffers)


@contextmanager
def _listening(hooks: dict[str, list[Hook]], found: dict[str, dict[Case, None]]) -> Iterator[None]:
    """Note what hooked functions are called with."""

    def spy(real: Any, name: str, taken: Callable[..., bytes]) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            data = taken(*arguments, **named)
            if data and len(found[name]) < 20 * MOST_CASES:
                found[name][((0, bytes(data[:MOST_BYTES])),)] = None
            return real(*arguments, **named)

        return called

    logging.disable(logging.ERROR)
    try:
        with ExitStack() as patched:
            for name, places in hooks.items():
                for place, taken in places:
                    owner, _, attribute = place.rpartition(".")
                    holder = resolve_name(owner)
                    real = getattr(holder, attribute)
                    patched.enter_context(patch.object(holder, attribute, spy(real, name, taken)))
            yield
    finally:
        logging.disable(logging.NOTSET)
