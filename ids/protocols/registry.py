"""Give each TCP flow the parser of its protocol, once its first bytes are known; take it away from one that fails.

State lives in ``flow.storage`` and goes with the flow. A parser reads hostile bytes: should one raise, that is counted,
the flow goes on without a parser, and rules on the raw stream still see every byte.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ids.counters import Counters
from ids.protocols.detect import FAILED, recognise
from ids.protocols.http import HttpParser
from ids.protocols.message import Memory
from ids.protocols.settings import ProtocolSettings
from ids.types import Direction, Flow, StreamChunk, Transaction

_STORAGE = "protocols"
_log = logging.getLogger(__name__)


class Parser(Protocol):
    """What the registry asks of a parser: chunks in, transactions out."""

    def feed(self, chunk: StreamChunk) -> list[Transaction]:
        """Take the next bytes of a direction; return the transactions whose buffers they completed."""
        ...

    def release(self) -> None:
        """Give back what the parser took from limits that all flows share; it is used no more."""
        ...


class _State:
    """What is known of one flow."""

    __slots__ = ("closed", "parser", "prefix", "probing")

    def __init__(self) -> None:
        self.probing = True
        self.prefix = [b"", b""]
        """First bytes by `Direction`, while the protocol is unknown; fewer than ``probe_bytes`` each."""
        self.closed = [False, False]
        self.parser: Parser | None = None


class Parsers:
    """Protocol recognition and parsing for all flows."""

    def __init__(self, settings: ProtocolSettings, counters: Counters) -> None:
        self._probe_bytes = settings.probe_bytes
        self._counters = counters
        http_memory = Memory(settings.http.memcap_bytes)
        self._makers: dict[str, Callable[[Flow], Parser]] = {
            "http": lambda flow: HttpParser(flow, settings.http, counters, http_memory),
        }

    def feed(self, chunk: StreamChunk) -> list[Transaction]:
        """Take the next chunk of a flow; return the transactions that it completed. Never raises on what it reads."""
        storage = chunk.flow.storage
        state: _State | None = storage.get(_STORAGE)
        if state is None:
            state = storage[_STORAGE] = _State()
        if state.probing:
            return self._probe(state, chunk)
        return self._parse(state, chunk) if state.parser is not None else []

    def _probe(self, state: _State, chunk: StreamChunk) -> list[Transaction]:
        """Look whether the flow's protocol shows now; if so, let its parser catch up."""
        direction = chunk.direction
        known = state.prefix[direction]
        prefix = known + chunk.data[: self._probe_bytes - len(known)]
        name = recognise(prefix, direction) if prefix else None
        state.closed[direction] |= chunk.closed
        if name is None and len(prefix) < self._probe_bytes and not chunk.gap and not all(state.closed):
            state.prefix[direction] = prefix
            return []
        self._decide(state, chunk.flow, name)
        if state.parser is None:
            return []
        earlier = [replace(chunk, offset=chunk.offset - len(known), data=known + chunk.data)]
        other = Direction(1 - direction)
        if state.prefix[other] or state.closed[other]:
            data, closed = state.prefix[other], state.closed[other]
            held = replace(chunk, direction=other, offset=0, data=data, gap=0, conflict=False, closed=closed)
            earlier.insert(other, held)  # the client's bytes came first
        state.prefix = [b"", b""]
        return [transaction for piece in earlier for transaction in self._parse(state, piece)]

    def _decide(self, state: _State, flow: Flow, name: str | None) -> None:
        state.probing = False
        if name is None and not any(state.prefix) and all(state.closed):
            return  # nobody said anything
        flow.app_proto = name or FAILED
        self._counters.add(f"app_layer.flow.{flow.app_proto}")
        maker = self._makers.get(flow.app_proto)
        if maker is not None:
            state.parser = maker(flow)

    def _parse(self, state: _State, chunk: StreamChunk) -> list[Transaction]:
        if state.parser is None:
            return []
        try:
            return state.parser.feed(chunk)
        except Exception:
            _log.exception(
                "parser of %s failed on flow %d; the flow goes on without it", chunk.flow.app_proto, chunk.flow.id
            )
            self._counters.add(f"app_layer.error.{chunk.flow.app_proto}.internal")
            state.parser.release()
            state.parser = None
            return []
