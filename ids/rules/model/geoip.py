"""In which country an address is, by a file in MaxMind's format (GeoLite2 Country and the like).

Source: the specification of the MaxMind DB file format, version 2.0. A file has a binary tree over the bits of
addresses, whose leaves point into a section of records. The tree is read as an array, so that all addresses of a batch
go down it together, a bit a step; a record is read once.

The library `maxminddb` (tried: 3.2.0) is not used. It answers one address at a time, given as text: that takes its
extension 0.8 µs of processor time, its reader in Python 11 µs, and us a statement for each, where a batch here takes
0.1 to 0.15 µs an address. Its extension maps the file, so that one that is shortened in place, as by an update with
`cp`, ends the engine with SIGBUS; here the file is read once. Of torn files it raises what it does not name
(`UnicodeDecodeError`, and its reader in Python `TypeError`).
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from ids.errors import Location, RuleError
from ids.types import I64, U64, Bool

MARKER = b"\xab\xcd\xefMaxMind.com"
METADATA_BYTES = 128 << 10
"""How far before its end a file says what is in it."""
MAX_FILE_BYTES = 1 << 30
MAX_DEPTH = 16
"""Of values within values; records have four."""
MAX_VALUES = 2000
"""Of one record, and of what a file says of itself; a record has a hundred. A few pointers to each other would spell
billions."""
MAX_RECORDS = 65_536
"""Records whose country is remembered; there are some hundreds."""

_SEPARATOR = 16
_RECORD_BITS = (24, 28, 32)
_POINTER, _TEXT, _DOUBLE, _BYTES, _U16, _U32, _MAP, _I32, _U64, _U128, _ARRAY = range(1, 12)
_BOOLEAN, _FLOAT = 14, 15
_UNKNOWN = -1
_MAPPED_HIGH = np.uint64(0xFFFF)


class Countries:
    """The countries of addresses. Raises ValueError where the file is none of this format."""

    def __init__(self, data: bytes) -> None:
        at = data.rfind(MARKER, max(0, len(data) - METADATA_BYTES))
        if at < 0:
            raise ValueError("it is no MaxMind DB file")
        metadata, _ = _Values(data[at + len(MARKER) :]).read(0)
        if not isinstance(metadata, dict):
            raise ValueError("its metadata cannot be read")
        nodes, bits, version = (metadata.get(key) for key in ("node_count", "record_size", "ip_version"))
        if not isinstance(nodes, int) or bits not in _RECORD_BITS or version not in (4, 6):
            raise ValueError("its metadata says nothing sensible")
        size = nodes * bits // 4
        if nodes < 1 or size + _SEPARATOR > at:
            raise ValueError("it ends before its tree does")
        self._tree = _tree(np.frombuffer(data, np.uint8, size).reshape(nodes, bits // 4), bits)
        self._records = data[size + _SEPARATOR : at]
        self._six = version == 6
        self._known: dict[int, int] = {}

    @cached_property
    def _root_of_four(self) -> int:
        """Where the addresses of IPv4 begin."""
        node = 0
        for _ in range(96 if self._six else 0):
            if node >= len(self._tree):
                break
            node = int(self._tree[node, 0])
        return node

    def of(self, addresses: U64) -> I64:
        """Return the country of each address, shape (n, 2), as the number of its two letters; -1: it is not known."""
        four = (addresses[:, 0] == 0) & (addresses[:, 1] >> np.uint64(32) == _MAPPED_HIGH)
        leaves = np.full(len(addresses), len(self._tree), np.int64)
        rows = np.flatnonzero(four)
        leaves[rows] = self._walk(np.full(len(rows), self._root_of_four), addresses[rows], 96)
        if self._six and len(rows) < len(addresses):
            rows = np.flatnonzero(~four)
            leaves[rows] = self._walk(np.zeros(len(rows), np.int64), addresses[rows], 0)
        found, place = np.unique(leaves, return_inverse=True)
        codes = np.array([self._country(leaf) for leaf in found.tolist()], np.int64)
        result: I64 = codes[place] if len(found) else found
        return result

    def _walk(self, node: I64, addresses: U64, first: int) -> I64:
        """Go down the tree, from the bit ``first`` on; return where each address came to."""
        count = len(self._tree)
        for bit in range(first, 128):
            going = np.flatnonzero(node < count)
            if not len(going):
                break
            half = addresses[going, bit // 64]
            way = (half >> np.uint64(63 - bit % 64) & np.uint64(1)).astype(np.int64)
            node[going] = self._tree[node[going], way]
        return node

    def _country(self, leaf: int) -> int:
        at = leaf - len(self._tree) - _SEPARATOR
        if not 0 <= at < len(self._records):
            return _UNKNOWN
        known = self._known.get(at)
        if known is None:
            known = self._read(at)
            if len(self._known) < MAX_RECORDS:
                self._known[at] = known
        return known

    def _read(self, at: int) -> int:
        try:
            record, _ = _Values(self._records).read(at)
        except ValueError:
            return _UNKNOWN
        country = record.get("country") if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else None
        return number_of(code) if isinstance(code, str) and len(code) == 2 and code.isascii() else _UNKNOWN


class InCountries:
    """The addresses that are in one of some countries, or with ``negated`` in none of them; not the unknown ones."""

    def __init__(self, countries: Countries, codes: frozenset[str], negated: bool) -> None:
        self._countries = countries
        self._wanted = np.array(sorted(map(number_of, codes)), np.int64)
        self._negated = negated

    def among(self, addresses: U64) -> Bool:
        """Return which addresses, shape (n, 2), are."""
        found = self._countries.of(addresses)
        inside: Bool = (found != _UNKNOWN) & (np.isin(found, self._wanted) != self._negated)
        return inside


def number_of(code: str) -> int:
    """Return the number of a country's two letters."""
    return ord(code[0]) << 8 | ord(code[1])


_shared: WeakValueDictionary[tuple[Any, ...], Countries] = WeakValueDictionary()


def countries_of(path: Path) -> Countries:
    """Return what a file says, read once for all rules and reloads; raises `RuleError`."""
    try:
        status = os.stat(path)
        key = str(path), status.st_mtime_ns, status.st_size
        found = _shared.get(key)
        if found is None:
            if status.st_size > MAX_FILE_BYTES:
                raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes")
            found = _shared[key] = Countries(path.read_bytes())
    except OSError as error:
        raise RuleError(f"the countries cannot be read: {error.strerror}", Location(str(path))) from None
    except ValueError as error:
        raise RuleError(f"the countries cannot be read: {error}", Location(str(path))) from None
    return found


def _tree(raw: np.ndarray, bits: int) -> I64:
    """Return the two children of each node."""
    tree = np.empty((len(raw), 2), np.int64)
    wide = raw.astype(np.int64)
    size = bits // 8
    for side, start in ((0, 0), (1, raw.shape[1] - size)):
        value = np.zeros(len(raw), np.int64)
        for column in range(start, start + size):
            value = value << 8 | wide[:, column]
        tree[:, side] = value
    if bits == 28:  # four more bits of each are in the middle byte
        tree[:, 0] |= (wide[:, 3] >> 4) << 24
        tree[:, 1] |= (wide[:, 3] & 15) << 24
    return tree


class _Values:
    """Reads values of a section, up to `MAX_VALUES`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_VALUES

    def read(self, at: int, depth: int = 0) -> tuple[Any, int]:
        """Read the value at ``at``; return it and where it ends. Raises ValueError."""
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise ValueError("too many values, or too deep in each other")
        kind, size, at = _control(self._data, at)
        if kind == _POINTER:
            return self.read(size, depth + 1)[0], at
        if kind == _MAP:
            found = {}
            for _ in range(size):
                key, at = self.read(at, depth + 1)
                found[str(key)], at = self.read(at, depth + 1)
            return found, at
        if kind == _ARRAY:
            items = []
            for _ in range(size):
                item, at = self.read(at, depth + 1)
                items.append(item)
            return items, at
        if kind == _BOOLEAN:
            return bool(size), at
        raw = self._data[at : at + size]
        if len(raw) < size:
            raise ValueError("a value is cut off")
        if kind == _TEXT:
            return raw.decode("utf-8", "replace"), at + size
        if kind in (_U16, _U32, _U64, _U128):
            return int.from_bytes(raw, "big"), at + size
        return raw, at + size  # of no use here: numbers with a point, bytes


def _control(data: bytes, at: int) -> tuple[int, int, int]:
    """Return type and size of a value, and where it begins; of a pointer, where it leads to instead of its size."""
    try:
        first = data[at]
        kind, at = first >> 5, at + 1
        if kind == _POINTER:
            length = (first >> 3 & 3) + 1
            raw = data[at : at + length]
            if len(raw) < length:
                raise ValueError("a pointer is cut off")
            base = int.from_bytes(raw, "big") | ((first & 7) << 8 * length if length < 4 else 0)
            return _POINTER, base + (0, 2048, 526_336, 0)[length - 1], at + length
        if kind == 0:
            kind, at = data[at] + 7, at + 1
        size = first & 31
        if size >= 29:
            length = size - 28
            size = int.from_bytes(data[at : at + length], "big") + (29, 285, 65_821)[length - 1]
            at += length
    except IndexError:
        raise ValueError("a value is cut off") from None
    return kind, size, at
