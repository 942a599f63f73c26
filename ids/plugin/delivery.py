"""What an output that waits for somebody else says of a delivery: what has become of events, or why nothing has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Refused(Exception):
    """The receiver wants none of it, and will not: to try again would be in vain.

    ``of_content``: for what is in it, perhaps in one event alone: the others are then tried apart from that.
    """

    def __init__(self, why: str, *, of_content: bool = False) -> None:
        super().__init__(why)
        self.of_content = of_content


class Settled(NamedTuple):
    """What has become of events: numbers by name of counter, of those just handed over or of earlier ones."""

    delivered: int = 0
    refused: int = 0
    """What is in them cannot be made a message, or is not wanted."""
    too_long: int = 0
    """For a datagram."""


Deliver = Callable[[Sequence[bytes]], Settled | None]
"""Delivers lines of JSON; None: all of them. Who keeps them returns later what has become of them.

Raises `OSError` where it is worth trying again, and `Refused`. Any other exception is taken for a fault in one of them.
"""
