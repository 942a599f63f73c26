"""The events of a batch, on their way to the outputs: EVE objects, and the same as lines of JSON, made once for all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

import orjson

Event: TypeAlias = dict[str, Any]
"""One EVE object, ready for any JSON writer."""

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS


class Events(Sequence[Event]):
    """Events in the order in which they happened. They may have come as lines, and are then parsed when looked at."""

    def __init__(self, rows: Sequence[Event] | None = None, lines: Sequence[tuple[str, bytes]] = ()) -> None:
        """Take events as objects, or else as lines, each with its ``event_type``."""
        self._rows = rows
        self._lines = lines if rows is None else None

    @property
    def types(self) -> list[str]:
        """The ``event_type`` of each event."""
        if self._rows is None:
            return [kind for kind, _ in self._lines or ()]
        return [event["event_type"] for event in self._rows]

    @property
    def rows(self) -> Sequence[Event]:
        """The events as objects."""
        if self._rows is None:
            self._rows = [orjson.loads(line) for _, line in self._lines or ()]
        return self._rows

    def lines(self, types: Collection[str] | None = None) -> list[bytes]:
        """Return the events as JSON, a line each with its line feed; only those of some types where that is asked."""
        return [line for kind, line in self.typed_lines() if types is None or kind in types]

    def typed_lines(self) -> Sequence[tuple[str, bytes]]:
        """Return the events as JSON, each line with its ``event_type``."""
        if self._lines is None:
            rows = self._rows or ()
            self._lines = [(event["event_type"], orjson.dumps(event, option=_OPTIONS)) for event in rows]
        return self._lines

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the events travel to another process as lines: they are written there, and seldom looked at."""
        return Events, (None, self.typed_lines())

    def __len__(self) -> int:
        return len(self._rows if self._rows is not None else self._lines or ())

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    @classmethod
    def joined(cls, parts: Iterable[Sequence[Event]]) -> Events:
        """Return the events of several parts as one."""
        return cls([event for part in parts for event in part])
