"""The events of a batch, on their way to the outputs: EVE objects, and the same as lines of JSON, made once for all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson

Event: TypeAlias = dict[str, Any]
"""One EVE object, ready for any JSON writer."""

_OPTIONS = orjson.OPT_NON_STR_KEYS
_LINE = orjson.OPT_APPEND_NEWLINE | _OPTIONS


class Lines(NamedTuple):
    """Events of one type as JSON: an object a line, each with its line feed."""

    event_type: str
    data: bytes
    events: int
    """How many."""


class Events(Sequence[Event]):
    """Events in the order in which they happened. They may have come as lines, and are then parsed when looked at."""

    def __init__(self, rows: Sequence[Event] | None = None, lines: Sequence[Lines] = ()) -> None:
        """Take events as objects, or else as lines."""
        self._rows = rows
        self._lines = lines if rows is None else None

    @property
    def counts(self) -> dict[str, int]:
        """How many events there are of each ``event_type``."""
        found: Counter[str] = Counter()
        if self._rows is not None:
            found.update(event["event_type"] for event in self._rows)
        else:
            for event_type, _, events in self._lines or ():
                found[event_type] += events
        return found

    @property
    def rows(self) -> Sequence[Event]:
        """The events as objects."""
        if self._rows is None:
            self._rows = [orjson.loads(line) for lines in self._lines or () for line in lines.data.splitlines()]
        return self._rows

    def lines(self, types: Collection[str] | None = None) -> list[Lines]:
        """Return the events as JSON; only those of some types where that is asked."""
        if self._lines is None:
            self._lines = _spell(self._rows or ())
        return [lines for lines in self._lines if types is None or lines.event_type in types]

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the events travel to another process as lines: they are written there, and seldom looked at."""
        return Events, (None, self.lines())

    def __len__(self) -> int:
        return len(self._rows) if self._rows is not None else sum(lines.events for lines in self._lines or ())

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    @classmethod
    def joined(cls, parts: Iterable[Events]) -> Events:
        """Return the events of several parts as one, as lines."""
        return cls(lines=[lines for part in parts for lines in part.lines()])


def _spell(rows: Sequence[Event]) -> list[Lines]:
    """Return objects as lines; neighbours of one type together.

    (A line by itself is not kept: orjson leaves room for several kilobytes behind each.)
    """
    made: list[Lines] = []
    start = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and rows[end]["event_type"] == rows[start]["event_type"]:
            continue
        try:
            data = b"".join([orjson.dumps(event, option=_LINE) for event in rows[start:end]])
        except TypeError:
            data = b"".join(spell(event).encode() + b"\n" for event in rows[start:end])
        made.append(Lines(rows[start]["event_type"], data, end - start))
        start = end
    return made


def spell(value: Any) -> str:
    """Return a value as JSON, whatever is in it: a file's name that is no UTF-8, a plugin's own kind of value."""
    try:
        return orjson.dumps(value, option=_OPTIONS).decode()
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, default=str)
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
