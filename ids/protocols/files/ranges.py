"""Files that are fetched in ranges (RFC 9110 section 14), put together from several responses of any connections.

Who fetches a file in two ranges shows each rule half of it. So ranges of one file are joined: those that one client
gets of a host, by the path and the whole size. What a file would show that comes at once is looked at, no more: its
first bytes, up to the limit of a body. It is looked at as a run of bytes grows, and as a file when all of it has come.

Ranges may overlap. Where they differ, what came first counts, and each that came later makes another version, which is
looked at as well: which one the client keeps is not known.

All files together hold `files.range_memcap_bytes`, and one of which nothing comes for `files.range_timeout_s` is
forgotten; the one that was silent longest gives way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

from ids.counters import Counters
from ids.protocols.files.settings import FileSettings

FILE_BYTES = 1024
"""What a file counts for besides its bytes."""
MAX_SPANS = 256
"""Parts of one file with holes between them; clients fetch some at a time."""
SPAN_BYTES = 256
"""What each counts for besides its bytes."""
MAX_VERSIONS = 8
"""Ranges that differ from what came before, of one file."""
FREE_LOOKS_BYTES = 256 * 1024
"""Looked at of the runs of one file, whatever their size; beyond it, `LOOKS` times what has come."""
LOOKS = 4


class Key(NamedTuple):
    """What ranges of one file have in common."""

    client: tuple[int, int]
    """Its address."""
    host: bytes
    path: bytes
    size: int
    """Of the whole file."""


class Content(NamedTuple):
    """What ranges make together."""

    data: bytes
    at: int
    """Where in the file it begins."""
    whole: bool
    """All of the file has come; ``data`` is its first bytes, or all of them."""


class _Runs:
    """Bytes at their places, as runs with holes between them."""

    __slots__ = ("runs", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.runs: list[bytearray] = []

    def add(self, start: int, data: bytes) -> tuple[int, bool]:
        """Add bytes where there are none; return how many are new, and whether others differ from what is there."""
        stop = start + len(data)
        first = bisect_right(self.starts, start)
        if first and self.starts[first - 1] + len(self.runs[first - 1]) >= start:
            first -= 1
        last = bisect_right(self.starts, stop, first)
        if first == last:
            self.starts.insert(first, start)
            self.runs.insert(first, bytearray(data))
            return len(data), False
        begin, made, differs = self.starts[first], self.runs[first], False
        before = sum([len(run) for run in self.runs[first:last]])
        for at, run in zip(self.starts[first:last], self.runs[first:last], strict=True):
            low, high = max(at, start), min(at + len(run), stop)
            differs = differs or run[low - at : high - at] != data[low - start : high - start]
        if start < begin:
            begin, made = start, bytearray(data[: begin - start]) + made
        for at, run in zip(self.starts[first + 1 : last], self.runs[first + 1 : last], strict=True):
            made += data[begin + len(made) - start : at - start]
            made += run
        if begin + len(made) < stop:
            made += data[begin + len(made) - start :]
        self.starts[first:last], self.runs[first:last] = [begin], [made]
        return len(made) - before, differs

    def at(self, place: int) -> tuple[int, bytearray]:
        """Return where the run begins that has a place, and the run."""
        number = bisect_right(self.starts, place) - 1
        return self.starts[number], self.runs[number]


class _Ranged:
    """What has come of a file."""

    __slots__ = ("cost", "later", "looked", "runs", "seen", "spans", "until_ns", "whole")

    def __init__(self) -> None:
        self.runs = _Runs()
        self.spans: list[tuple[int, int]] = []
        """What has come of it, kept or not: places and those behind them, with holes between them."""
        self.seen = 0
        """Bytes of these."""
        self.later: list[tuple[int, bytes]] = []
        """Ranges that differ from what came before; at most `MAX_VERSIONS`."""
        self.cost = FILE_BYTES
        self.looked = 0
        """Bytes of runs that were looked at."""
        self.whole = False
        self.until_ns = 0

    def cover(self, start: int, stop: int) -> bool:
        """Note that a part of the file has come; return False where there are too many of them."""
        touched = [span for span in self.spans if span[1] >= start and span[0] <= stop]
        if not touched and len(self.spans) >= MAX_SPANS:
            return False
        apart = [span for span in self.spans if span[1] < start or span[0] > stop]
        joined = min([start, *(span[0] for span in touched)]), max([stop, *(span[1] for span in touched)])
        self.spans = sorted([*apart, joined])
        self.seen = sum([high - low for low, high in self.spans])
        return True

    def versions(self, start: int, data: bytes, *, latest: bool) -> list[bytes]:
        """Return a run as it came first, with each range that differs, and with all of these; or only those with the
        ``latest``.
        """
        stop = start + len(data)
        made, all_of_them = [data], bytearray(data)
        for at, of in self.later:
            if at >= start and at + len(of) <= stop:
                made.append(data[: at - start] + of + data[at - start + len(of) :])
                all_of_them[at - start : at - start + len(of)] = of
        return list(dict.fromkeys((*(made[-1:] if latest else made), bytes(all_of_them))))


class Ranges:
    """The files of which ranges have come."""

    def __init__(self, settings: FileSettings, counters: Counters) -> None:
        self.settings = settings
        self._counters = counters
        self._files: OrderedDict[Key, _Ranged] = OrderedDict()
        """The one that was silent longest first."""
        self.held = 0

    def __len__(self) -> int:
        return len(self._files)

    def take(
        self, key: Key, start: int, data: bytes, size: int, limit: int, ts_ns: int, *, final: bool = True
    ) -> list[Content]:
        """Take ``size`` bytes of a file, of which ``data`` are the first ones; return what is to be looked at now.

        Of the whole file its first ``limit`` bytes are kept. The same range may be taken again as it grows. ``final``:
        of what it makes whole an event is written, so nothing else is to make it whole once more.
        """
        self._expire(ts_ns)
        stop = min(start + size, key.size)
        if start >= stop:
            return []
        ranged = self._files.get(key)
        if ranged is None:
            ranged = self._files[key] = _Ranged()
            self.held += FILE_BYTES
        self._files.move_to_end(key)
        ranged.until_ns = ts_ns + int(self.settings.range_timeout_s * 1e9)
        before = len(ranged.spans)
        if not ranged.cover(start, stop):
            self._counters.add("files.ranges_left_out")
            return []
        self._hold(ranged, SPAN_BYTES * (len(ranged.spans) - before))
        if key not in self._files:
            return []
        data = data[: max(min(stop, limit) - start, 0)]
        differs = bool(data) and self._keep(ranged, start, data)
        found = self._look(ranged, key, start, data, differs, final)
        if found:
            self._counters.add("files.ranges_joined")
        return found

    def _look(self, ranged: _Ranged, key: Key, start: int, data: bytes, differs: bool, final: bool) -> list[Content]:
        """Return what has become whole by a range, or else the run that it is in, if that is longer."""
        if key not in self._files:
            return []
        whole = ranged.seen == key.size
        if whole and (differs or not ranged.whole):
            run = ranged.runs.at(0)[1] if ranged.runs.starts[:1] == [0] else bytearray()
            made = ranged.versions(0, bytes(run), latest=ranged.whole)
            ranged.whole = ranged.whole or final
            return [Content(one, 0, True) for one in made]
        if ranged.whole or not data:
            return []
        begin, run = ranged.runs.at(start)
        if len(run) == len(data) and not differs:
            return []
        made = ranged.versions(begin, bytes(run), latest=True) if differs else [bytes(run)]
        ranged.looked += sum(map(len, made))
        if ranged.looked > FREE_LOOKS_BYTES + LOOKS * ranged.cost:
            ranged.looked -= sum(map(len, made))
            return []
        return [Content(one, begin, False) for one in made]

    def _keep(self, ranged: _Ranged, start: int, data: bytes) -> bool:
        """Keep bytes of a file; return whether they make another version of it."""
        new, differs = ranged.runs.add(start, data)
        if differs and (start, data) in ranged.later:
            differs = False
        elif differs and len(ranged.later) >= MAX_VERSIONS:
            self._counters.add("files.ranges_versions")
            differs = False
        elif differs:
            ranged.later.append((start, data))
            new += len(data)
        self._hold(ranged, new)
        return differs

    def _hold(self, ranged: _Ranged, size: int) -> None:
        """Let a file hold so many bytes more; others give way, or it does itself."""
        ranged.cost += size
        self.held += size
        while self.held > self.settings.range_memcap_bytes and self._files:
            self._counters.add("files.ranges_evicted")
            self._forget(next(iter(self._files)))

    def _expire(self, ts_ns: int) -> None:
        while self._files:
            oldest = next(iter(self._files))
            if self._files[oldest].until_ns > ts_ns:
                return
            self._forget(oldest)

    def _forget(self, key: Key) -> None:
        self.held -= self._files.pop(key).cost

    def clear(self) -> None:
        """Forget all: what comes is other traffic."""
        self._files.clear()
        self.held = 0
