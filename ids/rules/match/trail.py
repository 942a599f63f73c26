"""What is kept of one direction of a flow between batches: a window of its bytes, and the rules that wait there."""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.rules.match.window import Window
from ids.rules.model.rule import Identity


@dataclass(slots=True)
class Waiting:
    """A rule that may yet hold in this direction."""

    spent: int = 0
    """Bytes evaluated so far, and the price of each evaluation."""
    due: int = 0
    """Length of the stream from which on it is evaluated again."""
    since: int = 0
    """Stream offset from which on it looks: behind what it matched before."""
    anew: bool = False
    """It has matched before, and is judged span by span (`ids.rules.match.spans`)."""


@dataclass(slots=True)
class YaraWaiting:
    """The YARA rules that may yet hold in this direction; they are judged together."""

    rules: set[int] = field(default_factory=set)
    spent: int = 0
    due: int = 0
    judged: tuple[int, int, frozenset[int]] | None = None
    """Where the window began and ended when all of it was judged last, and for which rules: once is enough."""


class Trail(Window):
    """One direction of a flow. Rules go by their numbers in ``load``, the identities of those that it was judged by."""

    __slots__ = ("done", "load", "message_end", "next_due", "waiting", "yara")

    def __init__(self, load: tuple[Identity, ...], base: int) -> None:
        super().__init__(base)
        self.load = load
        self.waiting: dict[int, Waiting] = {}
        self.next_due = 0
        self.yara: YaraWaiting | None = None
        self.done: dict[int, int] = {}
        """Rules that matched here, and up to which stream offset: each does so once, or once in each span."""
        self.message_end = -1
        """Stream offset behind the last message that ended before the row that is judged; -1: none did."""

    def is_due(self, new: int, final: bool) -> bool:
        """Return whether rules that wait here are to be judged when ``new`` bytes more are there: YARA's always, others
        behind the ``final`` piece of a row.
        """
        if final and self.waiting and self.end + new >= self.next_due:
            return True
        return self.yara is not None and bool(self.yara.rules)

    @property
    def idle(self) -> bool:
        """No rule waits here."""
        return not self.waiting and (self.yara is None or not self.yara.rules)
