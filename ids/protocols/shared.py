"""What the parsers of all flows of a protocol share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar
from typing import Protocol as Interface

from ids.protocols.framing import Pool
from ids.protocols.protocol import Setup


class Limits(Interface):
    """The settings of a protocol."""

    @property
    def memcap_bytes(self) -> int:
        """Bytes that all its flows together may hold."""


LimitsT = TypeVar("LimitsT", bound=Limits)


class Shared(Generic[LimitsT]):
    """Of one protocol, as long as the stage lives: its limits, its memory, and where things are counted and kept."""

    def __init__(self, protocol: str, setup: Setup) -> None:
        self.protocol = protocol
        """Its name."""
        self.flows = setup.flows
        self.counters = setup.counters
        self.files = setup.files
        self.expected = setup.expected
        self.framed = setup.framed
        self.settings: LimitsT = setup.settings
        self.pool = Pool(protocol, self.settings.memcap_bytes, setup.counters)


def parsing(
    protocol: str, parser: Callable[[Any, int, int], Any], shared: Callable[[str, Setup], object] = Shared
) -> Callable[[Setup], Any]:
    """Return what `ids.protocols.protocol.Protocol.streams` or ``datagrams`` is for a class of parsers.

    A parser is made of what all of them share (``shared``), the slot of its flow, and the id of its first transaction.
    """
    return partial(_begin, protocol, parser, shared)


def _begin(
    protocol: str, parser: Callable[[Any, int, int], Any], shared: Callable[[str, Setup], object], setup: Setup
) -> Callable[[int, int], Any]:
    return partial(parser, shared(protocol, setup))
