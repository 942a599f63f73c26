"""Lists from files that a buffer is looked up in: strings, domains, digests and addresses, millions of them.

A list keeps no strings. Of each entry it has a keyed digest of eight bytes, in one sorted array: a million entries take
8 MB, and a look-up a binary search. Two different strings have the same digest with a probability of 2**-64, so that of
a list of a million entries one look-up in 10**13 is wrong; the key is drawn anew by each process, and nobody can look
for such strings beforehand. Addresses are kept as ranges of 2 * 16 bytes.

Files have an entry a line. ``plain`` is the entry itself; empty lines and those that begin with ``#`` are skipped.
``dataset`` is Suricata's: strings in base64, digests in hexadecimal, addresses as text. ``reputation`` is the same with
a comma and a number behind it (``datarep``); who loads it says which numbers count. ``sums`` is what ``sha256sum`` and
the like write: a digest, and perhaps a name behind it.

A list that rules learn (`Learned`) belongs to the process: a reload finds it as it was, and nothing is written.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import operator
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np

from ids.errors import Location, RuleError
from ids.later import late_pattern
from ids.types import U64, Bool, ascending

KINDS = ("string", "domain", "md5", "sha1", "sha256", "ip")
FORMATS = ("plain", "dataset", "reputation", "sums")

MAX_ENTRIES = 16_000_000
"""Entries of one list: 128 MB, or 512 MB of addresses."""

MAX_ENTRY_BYTES = 8192
"""Bytes of one line; a longer one is no entry of any list."""

MAX_LABELS = 127
"""Labels of a name in DNS (RFC 1035: 255 bytes)."""

_DIGEST_BYTES = 8
_RANGE = 32
_KEY = os.urandom(16)
_NO_DOMAIN = late_pattern(rb"[\s/*:|]")
"""What is in addresses of pages and in patterns, and never in a name of a domain."""

_HEX = {"md5": 16, "sha1": 20, "sha256": 32}
_MAPPED = bytes(10) + b"\xff\xff"

Reputation: TypeAlias = tuple[str, int]
"""Which numbers count: ``>``, ``<`` or ``==``, and a number."""

_COMPARE = {">": operator.gt, "<": operator.lt, "==": operator.eq}

MAX_LEARNED = 1_000_000
"""Entries that one list learns; what comes beyond them is not put in. Each takes some 100 bytes."""

MAX_SETS = 256
"""Lists that rules learn."""


class Members:
    """The entries of one list. ``data in members`` asks for the whole content of a buffer."""

    def __init__(self, kind: str, entries: bytes | bytearray, source: tuple[Any, ...] = ()) -> None:
        """Take what `encoded` made of each entry, one behind the other; ``source`` is what `shared_list` was asked."""
        self.kind = kind
        self.source = source
        self._hexadecimal = kind in _HEX and source[2:3] not in (("dataset",), ("reputation",))
        self._digests: U64 = np.zeros(0, np.uint64)
        self._ranges = b""
        if kind == "ip":
            each = (bytes(entries[at : at + _RANGE]) for at in range(0, len(entries), _RANGE))
            self._ranges = b"".join(_merged(sorted(each)))
        else:
            self._digests = ascending(np.frombuffer(bytes(entries), np.uint64))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be kept by its file, which is read again."""
        if not self.source:
            raise TypeError("a list that was read from no file cannot be kept")
        return shared_list, self.source

    def __len__(self) -> int:
        return len(self._ranges) // _RANGE if self.kind == "ip" else len(self._digests)

    def __contains__(self, data: object) -> bool:
        """Look up a buffer: an address has 4 or 16 bytes, a digest those of `hashlib` or, but for Suricata's
        lists, twice as many hexadecimal digits (``file.md5``), a domain is text.

        A domain is listed where it, or one that it lies in, is.
        """
        if not isinstance(data, bytes):
            return False
        if self.kind == "ip":
            return self._has_address(data)
        if self._hexadecimal and len(data) == 2 * _HEX[self.kind]:
            with contextlib.suppress(ValueError):
                data = binascii.unhexlify(data)
        if self.kind != "domain":
            return self._has(data)
        labels = data.lower().rstrip(b".").split(b".")
        return len(labels) <= MAX_LABELS and any(self._has(b".".join(labels[at:])) for at in range(len(labels)))

    def among(self, addresses: U64) -> Bool:
        """Return which addresses, shape (n, 2), are in a list of addresses."""
        ranges = np.frombuffer(self._ranges, "S16").reshape(-1, 2)
        if not len(ranges):
            return np.zeros(len(addresses), np.bool_)
        spelt = np.ascontiguousarray(addresses.astype(">u8")).view("S16").ravel()
        at = np.searchsorted(ranges[:, 0], spelt, "right") - 1
        found: Bool = (at >= 0) & (spelt <= ranges[np.maximum(at, 0), 1])
        return found

    def _has(self, data: bytes) -> bool:
        digests = self._digests
        wanted = np.frombuffer(digest(data), np.uint64)[0]
        at = int(digests.searchsorted(wanted))
        return at < len(digests) and bool(digests[at] == wanted)

    def _has_address(self, data: bytes) -> bool:
        address = _MAPPED + data if len(data) == 4 else data
        if len(address) != 16:
            return False
        ranges = self._ranges
        low, high = 0, len(ranges) // _RANGE
        while low < high:
            middle = (low + high) // 2
            if ranges[middle * _RANGE : middle * _RANGE + 16] <= address:
                low = middle + 1
            else:
                high = middle
        return low > 0 and address <= ranges[low * _RANGE - 16 : low * _RANGE]


@dataclass(frozen=True, slots=True)
class ListedAddresses:
    """The addresses of a list, as conditions ask for them: ``(high, low) in listed``."""

    name: str
    members: Members = field(compare=False, repr=False)

    def among(self, addresses: U64) -> Bool:
        """Return which addresses, shape (n, 2), are in it."""
        return self.members.among(addresses)

    def __contains__(self, address: tuple[int, int]) -> bool:
        high, low = address
        return (high << 64 | low).to_bytes(16, "big") in self.members


def digest(data: bytes) -> bytes:
    """Return the keyed digest of an entry."""
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=_KEY).digest()


class Learned:
    """A list that rules put buffers in and take them out of, beside what a file has. Not of addresses."""

    def __init__(self, name: str, kind: str, known: Members | None = None) -> None:
        self.name = name
        self.kind = kind
        self._known = known
        self._added: set[bytes] = set()
        self._removed: set[bytes] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be kept by its name."""
        return learned_list, (self.name, self.kind, self._known)

    def __len__(self) -> int:
        return (len(self._known) if self._known is not None else 0) + len(self._added) - len(self._removed)

    def __contains__(self, data: object) -> bool:
        if not isinstance(data, bytes) or digest(data) in self._removed:
            return False
        return digest(data) in self._added or (self._known is not None and data in self._known)

    def add(self, data: bytes) -> bool:
        """Put a buffer in; return whether it is new."""
        if data in self or len(data) != _HEX.get(self.kind, len(data)):
            return False
        key = digest(data)
        if key in self._removed:
            self._removed.discard(key)
            return True
        if len(self._added) >= MAX_LEARNED:
            return False
        self._added.add(key)
        return True

    def remove(self, data: bytes) -> bool:
        """Take a buffer out; return whether it was in."""
        if data not in self:
            return False
        key = digest(data)
        if key in self._added:
            self._added.discard(key)
        elif len(self._removed) < MAX_LEARNED:
            self._removed.add(key)
        return True


LEARNED: dict[tuple[str, str], Learned] = {}
"""What rules have learnt, by name and kind: it outlives every reload. `MAX_SETS` at most."""
_shared: WeakValueDictionary[tuple[Any, ...], Members] = WeakValueDictionary()


def learned_list(name: str, kind: str, known: Members | None = None) -> Learned:
    """Return the list of this name, which a load before may have made; raises ValueError beyond `MAX_SETS`."""
    found = LEARNED.get((name, kind))
    if found is None:
        if len(LEARNED) >= MAX_SETS:
            raise ValueError(f"more than {MAX_SETS} lists that rules learn")
        found = LEARNED[name, kind] = Learned(name, kind, known)
    return found


def learned_kind(name: str) -> str:
    """Return the kind of the list of this name; empty where there is none."""
    return next((kind for known, kind in LEARNED if known == name), "")


def shared_list(path: str, kind: str, form: str = "plain", keep: Reputation | None = None) -> Members:
    """Return a list as `load_list` does; a file that has not changed is read once for all rules and reloads."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise RuleError(f"the list cannot be read: {error.strerror}", Location(path)) from None
    key = path, status.st_mtime_ns, status.st_size, kind, form, keep
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = load_list(Path(path), kind, form, keep)
    return found


def load_list(path: Path, kind: str, form: str = "plain", keep: Reputation | None = None) -> Members:
    """Read a list; raises `RuleError`, with the line, where an entry is none of its kind.

    ``keep`` says which entries of a ``reputation`` file are members.
    """
    entries = bytearray()
    size = 0
    for number, line in _lines(path):
        text = line.strip()
        if not text or (form in ("plain", "sums") and text.startswith(b"#")):
            continue
        try:
            if form == "reputation":
                text, _, last = text.rpartition(b",")
                value = int(last)
                if keep is not None and not _COMPARE[keep[0]](value, keep[1]):
                    continue
            entries += encoded(text, kind, form)
        except (ValueError, OSError) as error:
            place = Location(str(path), number)
            raise RuleError(f"no entry of a list of kind {kind}: {error}", place, _REMEDIES[form]) from None
        size += 1
        if size > MAX_ENTRIES:
            raise RuleError(f"more than {MAX_ENTRIES:,} entries", Location(str(path), number), "make two lists of it")
    return Members(kind, entries, (str(path), kind, form, keep))


_REMEDIES = {
    "plain": "write one entry a line as it is; a list of Suricata's has the format dataset",
    "dataset": "write strings in base64, digests in hexadecimal",
    "sums": "write a digest in hexadecimal at the start of each line",
    "reputation": "write the entry, a comma and a number",
}


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RuleError("the list is no file that ends", Location(str(path)), "name a plain file")
            for number, line in enumerate(iter(lambda: file.readline(MAX_ENTRY_BYTES), b""), 1):
                if len(line) == MAX_ENTRY_BYTES and not line.endswith(b"\n"):
                    raise RuleError(f"a line of more than {MAX_ENTRY_BYTES:,} bytes", Location(str(path), number))
                yield number, line
    except OSError as error:
        raise RuleError(f"the list cannot be read: {error.strerror}", Location(str(path))) from None


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe at once, also one that nobody writes to: a rule could name it."""
    return os.open(path, flags | os.O_NONBLOCK)


def encoded(text: bytes, kind: str, form: str = "plain") -> bytes:
    """Return what a list keeps of an entry; raises ValueError where it is none of its kind."""
    if kind == "ip":
        return b"".join(_range(text.decode("ascii")))
    if kind in _HEX:
        if form == "sums":
            text = text.split(None, 1)[0]
        raw = binascii.unhexlify(text)
        if len(raw) != _HEX[kind]:
            raise ValueError(f"{2 * _HEX[kind]} hexadecimal digits expected")
        return digest(raw)
    if form != "plain":
        text = base64.b64decode(text, validate=True)
    if kind != "domain":
        return digest(text)
    if _NO_DOMAIN.search(text) is not None:
        raise ValueError("a name is expected, such as example.com, which stands for all below it as well")
    return digest(text.lower().strip(b"."))


def _range(text: str) -> tuple[bytes, bytes]:
    """Return the first and the last address of ``192.0.2.1``, ``2001:db8::/32`` or ``192.0.2.1-192.0.2.9``."""
    first, dash, last = text.partition("-")
    if dash:
        ends = _address(first.strip()), _address(last.strip())
        if ends[0] > ends[1]:
            raise ValueError("the range ends before it begins")
        return ends
    base, slash, length = text.partition("/")
    address = _address(base)
    if not slash:
        return address, address
    if not length.isdecimal():
        raise ValueError("a length is expected behind the slash")
    whole = 32 if ":" not in base else 128
    if int(length) > whole:
        raise ValueError(f"a prefix has at most {whole} bits")
    rest = (1 << (whole - int(length))) - 1
    value = int.from_bytes(address, "big")
    return (value & ~rest).to_bytes(16, "big"), (value | rest).to_bytes(16, "big")


def _address(text: str) -> bytes:
    try:
        return (
            socket.inet_pton(socket.AF_INET6, text) if ":" in text else _MAPPED + socket.inet_pton(socket.AF_INET, text)
        )
    except OSError:
        raise ValueError(f"{text!r} is no address") from None


def _merged(ranges: list[bytes]) -> list[bytes]:
    """Return sorted ranges without those that begin in another."""
    kept: list[bytes] = []
    for one in ranges:
        if kept and one[:16] <= kept[-1][16:]:
            kept[-1] = kept[-1][:16] + max(kept[-1][16:], one[16:])
        else:
            kept.append(one)
    return kept
