"""Blocklist feeds: the usual file formats become sets of addresses and prefixes, de-duplicated and aggregated.

Formats: ``plain`` (an address, prefix or range a line, comments after ``#`` or ``;``: netset, ipset, DROP text and most
others), ``json`` (objects with a ``cidr``, ``ip`` or ``network``, one a line or in a list: Spamhaus DROP JSON), ``csv``
(a named or numbered column). IPv4-mapped IPv6 addresses are IPv4. What cannot be read is collected with its line, never
skipped in silence.
"""

from __future__ import annotations

import csv
import io
import ipaddress
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ids.errors import Location, SourceError
from ids.types import IPAddress, IPNetwork, ascending, unmapped

MAX_ENTRIES = 4_000_000
"""Of one feed, usable or not; the largest in use have some hundred thousand. A feed is some tens of megabytes, which
as objects are gigabytes: whoever serves it must not use up the memory of the machine that guards."""

MAX_PROBLEMS = 20
"""Unreadable lines that are reported in full; the rest are counted."""

WIDEST = {4: 8, 6: 16}
"""Shortest prefix that a feed may hold, by IP version: anything wider is a mistake that would cut off a continent."""

FORMATS = ("auto", "plain", "json", "csv")
JSON_KEYS = ("cidr", "ip", "network", "address", "prefix")

_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""As `str.splitlines` has them."""

Interval = tuple[int, int]

_NOBODY = frozenset((bytes(4), bytes(16)))
"""The addresses of hosts that have none yet: of whoever asks for one by DHCP, or whether anybody has it (RFC 4862
section 5.4). To drop these cuts off everybody who is new. Lists of networks that nobody should come from hold them."""

_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4-mapped IPv6 address begins with; see `ids.types.unmapped`."""


@dataclass(slots=True)
class Feed:
    """The networks of one feed, aggregated: no network lies within another."""

    hosts4: np.ndarray[tuple[int], np.dtype[np.uint32]]
    """IPv4 addresses as numbers, sorted. They stay single: an exact entry is cheapest to look up, and counts apart."""
    prefixes4: list[tuple[int, int]]
    """IPv4 prefixes as (network number, length), adjacent ones merged."""
    hosts6: list[int]
    prefixes6: list[tuple[int, int]]
    read: int = 0
    """Entries that were read, before aggregation."""
    problems: list[SourceError] = field(default_factory=list)
    """The first `MAX_PROBLEMS` entries that could not be used."""
    refused: int = 0
    """Number of entries that could not be used."""

    def __len__(self) -> int:
        return len(self.hosts4) + len(self.prefixes4) + len(self.hosts6) + len(self.prefixes6)

    def covering(self, address: IPAddress) -> IPNetwork | None:
        """Return the network of this feed that holds an address, if any."""
        number = int(address)
        if address.version == 4:
            at = int(np.searchsorted(self.hosts4, number))
            if at < len(self.hosts4) and int(self.hosts4[at]) == number:
                return ipaddress.IPv4Network((number, 32))
            wide = [p for p in self.prefixes4 if p[0] <= number < p[0] + (1 << (32 - p[1]))]
            return ipaddress.IPv4Network(wide[0]) if wide else None
        wide = [p for p in self.prefixes6 if p[0] <= number < p[0] + (1 << (128 - p[1]))]
        wide += [(number, 128)] if number in self.hosts6 else []
        return ipaddress.IPv6Network(wide[0]) if wide else None

    def meeting(self, network: IPNetwork) -> IPNetwork | None:
        """Return a network of this feed that overlaps another one, if any."""
        first, last = int(network.network_address), int(network.broadcast_address)
        if network.version == 4:
            at = int(np.searchsorted(self.hosts4, first))
            if at < len(self.hosts4) and int(self.hosts4[at]) <= last:
                return ipaddress.IPv4Network((int(self.hosts4[at]), 32))
            wide4 = (p for p in self.prefixes4 if p[0] <= last and first < p[0] + (1 << (32 - p[1])))
            return next((ipaddress.IPv4Network(prefix) for prefix in wide4), None)
        wide6 = (p for p in self.prefixes6 if p[0] <= last and first < p[0] + (1 << (128 - p[1])))
        hosts6 = ((host, 128) for host in self.hosts6 if first <= host <= last)
        return next((ipaddress.IPv6Network(prefix) for found in (hosts6, wide6) for prefix in found), None)

    def networks(self) -> Iterator[IPNetwork]:
        """Yield all networks as `ipaddress` objects."""
        for number in self.hosts4.tolist():
            yield ipaddress.IPv4Network((number, 32))
        for number, length in self.prefixes4:
            yield ipaddress.IPv4Network((number, length))
        for number in self.hosts6:
            yield ipaddress.IPv6Network((number, 128))
        for number, length in self.prefixes6:
            yield ipaddress.IPv6Network((number, length))


MAX_REFUSED_SHARE = 0.1
"""Share of unusable entries above which a file is no feed: an error page must not take the place of a blocklist."""

MAX_ADDRESSES = {4: 1 << 31, 6: 1 << 124}
"""Addresses that all networks of a feed may have together, by IP version: half of all (of IPv6: of those that are given
out, 2000::/3). Networks that are each narrow enough would cut off the world as well."""


def refuse_nonsense(feed: Feed, name: str) -> None:
    """Raise `SourceError` where a file is no feed: nothing in it, or too much that cannot be used."""
    remedy = "nothing was changed; --force takes it all the same"
    if not len(feed):
        raise SourceError("holds no network at all", Location(name), remedy)
    if feed.refused > MAX_REFUSED_SHARE * feed.read:
        first = feed.problems[0]
        raise SourceError(
            f"{feed.refused} of {feed.read} entries cannot be used, the first: {first.message}", first.location, remedy
        )
    for version, prefixes, bits in ((4, feed.prefixes4, 32), (6, feed.prefixes6, 128)):
        if sum(1 << bits - length for _, length in prefixes) > MAX_ADDRESSES[version]:
            raise SourceError(f"covers more than half of all IPv{version} addresses", Location(name), remedy)


def parse_feed(data: bytes, name: str, form: str = "auto", column: str | None = None) -> Feed:
    """Read one feed called ``name``.

    ``column`` names (by header or 1-based number) the column of a CSV file. Raises `SourceError` where the file as a
    whole makes no sense: a CSV without the column, JSON that is none, more than `MAX_ENTRIES`.
    """
    text = data.decode("utf-8-sig", errors="replace")
    if form == "auto":
        form = "csv" if column is not None else "json" if text.lstrip()[:1] in ("{", "[") else "plain"
    _refuse_too_many(text, form, name)
    entries: dict[str, Callable[[], Iterable[tuple[int, str]]]] = {
        "plain": lambda: _plain(text),
        "json": lambda: _json(text, name),
        "csv": lambda: _csv(text, name, column),
    }
    try:
        return _collect(entries[form](), name)
    except csv.Error as error:
        raise SourceError(f"is not CSV: {error}", Location(name)) from error


def _refuse_too_many(text: str, form: str, name: str) -> None:
    """Raise `SourceError` where there are more entries than are read, before any of them is an object."""
    rows = sum(text.count(end) for end in _LINE_ENDS) - text.count("\r\n")
    values = sum(text.count(mark) for mark in ",[{") // 4 if form == "json" else 0  # an entry has some keys
    if max(rows, values) > MAX_ENTRIES:
        raise SourceError(f"has more than {MAX_ENTRIES:,} entries", Location(name), "it is no feed of a blocklist")


def _plain(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        entry = line.split("#", 1)[0].split(";", 1)[0].strip()
        if entry:
            yield number, entry


def _json(text: str, name: str) -> Iterator[tuple[int, str]]:
    if text.lstrip().startswith("["):
        try:
            rows = list(enumerate(json.loads(text), 1))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"is not JSON: {error}", Location(name)) from error
    else:
        rows = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                rows.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise SourceError(f"is not JSON: {error}", Location(name, number)) from error
    for number, row in rows:
        if isinstance(row, str):
            yield number, row
        elif isinstance(row, dict) and row.get("type") != "metadata":  # the last line of Spamhaus DROP
            yield number, str(next((row[key] for key in JSON_KEYS if key in row), row))


def _csv(text: str, name: str, column: str | None) -> Iterator[tuple[int, str]]:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if column is None:
        raise SourceError("which column of the CSV holds the address?", Location(name), "name it with --column")
    if not lines:
        return
    header = next(csv.reader([lines[0][1]]))
    names = [field.strip().lower() for field in header]
    if column.isdigit() and int(column) >= 1:
        index = int(column) - 1
    elif column.lower() in names:
        index = names.index(column.lower())
        lines = lines[1:]
    else:
        raise SourceError(f"no column {column!r}", Location(name, lines[0][0]), f"columns: {', '.join(header)}")
    for (number, _), row in zip(lines, csv.reader(io.StringIO("\n".join(line for _, line in lines))), strict=False):
        yield number, row[index].strip() if index < len(row) else ""


def _collect(entries: Iterable[tuple[int, str]], name: str) -> Feed:
    hosts4: list[bytes] = []
    hosts6: set[int] = set()
    wide: dict[int, list[Interval]] = {4: [], 6: []}
    problems: list[SourceError] = []
    read = refused = 0
    pton, inet, inet6 = socket.inet_pton, socket.AF_INET, socket.AF_INET6
    for number, entry in entries:
        read += 1
        try:
            if "/" not in entry and "-" not in entry:  # the common case, and the one that has to be quick
                packed = pton(inet6 if ":" in entry else inet, entry)
                if packed.startswith(_MAPPED):
                    packed = packed[len(_MAPPED) :]
                if packed in _NOBODY:
                    raise _Unfit("that of hosts without an address")
                if len(packed) == 4:
                    hosts4.append(packed)
                else:
                    hosts6.add(int.from_bytes(packed, "big"))
                continue
            version, interval = _interval(entry)
        except (OSError, ValueError) as error:
            refused += 1
            if len(problems) < MAX_PROBLEMS:
                reason = str(error) if isinstance(error, _Unfit) else "expected an address, a prefix or a range a-b"
                problems.append(SourceError(f"{entry[:60]!r} is not usable", Location(name, number), reason))
            continue
        if interval[0] == interval[1]:
            if version == 4:
                hosts4.append(interval[0].to_bytes(4, "big"))
            else:
                hosts6.add(interval[0])
        else:
            wide[version].append(interval)
    merged4, merged6 = _merge(wide[4]), _merge(wide[6])
    numbers4 = ascending(np.frombuffer(b"".join(hosts4), ">u4").astype(np.uint32))
    return Feed(
        hosts4=numbers4[~_covered(numbers4, merged4)],
        prefixes4=[p for interval in merged4 for p in _prefixes(interval, 32)],
        hosts6=_uncovered(sorted(hosts6), merged6),
        prefixes6=[p for interval in merged6 for p in _prefixes(interval, 128)],
        read=read, problems=problems, refused=refused,
    )  # fmt: skip


class _Unfit(ValueError):
    """What can be read, and is not to be blocked."""


def _interval(entry: str) -> tuple[int, Interval]:
    """Return the IP version and the first and last number of a prefix or range, the address of nobody left out; raises
    ValueError."""
    if "-" in entry:
        ends = (unmapped(ipaddress.ip_network(ipaddress.ip_address(part.strip()))) for part in entry.split("-", 1))
        first, last = (end.network_address for end in ends)
        if first.version != last.version or int(first) > int(last):
            raise ValueError("no range")
        version, interval = first.version, (int(first), int(last))
    else:
        network = unmapped(ipaddress.ip_network(entry, strict=False))
        version, interval = network.version, (int(network.network_address), int(network.broadcast_address))
    bits = 32 if version == 4 else 128
    if interval[1] - interval[0] >= 1 << (bits - WIDEST[version]):
        raise _Unfit(f"wider than /{WIDEST[version]}: a mistake in a feed must not cut off a continent")
    if not interval[1]:
        raise _Unfit("that of hosts without an address")
    return version, (max(interval[0], 1), interval[1])


def _merge(intervals: list[Interval]) -> list[Interval]:
    """Return the union of intervals, sorted, adjacent ones joined."""
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return merged


def _prefixes(interval: Interval, bits: int) -> list[tuple[int, int]]:
    """Split an interval into the fewest prefixes, as (number, length)."""
    first, last = interval
    found = []
    while first <= last:
        size = (first & -first) or 1 << bits
        while size > last - first + 1:
            size >>= 1
        found.append((first, bits - size.bit_length() + 1))
        first += size
    return found


def _covered(
    numbers: np.ndarray[tuple[int], np.dtype[np.uint32]], intervals: list[Interval]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if not intervals:
        return np.zeros(len(numbers), np.bool_)
    firsts, lasts = np.array(intervals, np.uint64).T
    at = np.searchsorted(firsts, numbers, side="right") - 1
    covered: np.ndarray[tuple[int], np.dtype[np.bool_]] = (at >= 0) & (numbers <= lasts[np.maximum(at, 0)])
    return covered


def _uncovered(numbers: list[int], intervals: list[Interval]) -> list[int]:
    """Return the sorted numbers that lie in none of the sorted intervals."""
    kept = []
    position = 0
    for number in numbers:
        while position < len(intervals) and intervals[position][1] < number:
            position += 1
        if position == len(intervals) or number < intervals[position][0]:
            kept.append(number)
    return kept
