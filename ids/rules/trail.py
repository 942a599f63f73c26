"""What is kept of one direction of a flow between batches: a window of its bytes, and the rules that wait there."""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.rules.window import Window


@dataclass(slots=True)
class Waiting:
    """A rule that may yet hold in this direction."""

    spent: int = 0
    """Bytes evaluated so far, and the price of each evaluation."""
    due: int = 0
    """Length of the stream from which on it is evaluated again."""


@dataclass(slots=True)
class YaraWaiting:
    """The YARA rules that may yet hold in this direction; they are judged together."""

    rules: set[int] = field(default_factory=set)
    spent: int = 0
    due: int = 0
    judged: tuple[int, int, frozenset[int]] | None = None
    """Where the window began and ended when all of it was judged last, and for which rules: once is enough."""


@dataclass(slots=True, eq=False)
class Trail:
    """One direction of a flow. Rules go by their numbers in ``load``."""

    load: object
    window: Window = field(default_factory=Window)
    waiting: dict[int, Waiting] = field(default_factory=dict)
    next_due: int = 0
    yara: YaraWaiting | None = None
    done: set[int] = field(default_factory=set)
    """Rules that matched here: each does so once."""
    unscanned: bool = False
    """The rules are new: what the window holds has not been searched for their needles."""

    def forget(self) -> None:
        """Let the window go; what comes next is judged by itself."""
        self.window.restart(self.window.end)

    @property
    def idle(self) -> bool:
        """No rule waits here."""
        return not self.waiting and (self.yara is None or not self.yara.rules)
