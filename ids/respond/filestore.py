"""Writes files that rules ask for into a directory: by digest, bounded, and never by a name that traffic has.

A file is named by the SHA-256 of its bytes, in a folder of its first two digits, as Suricata's second format has it: so
one that comes a thousand times is there once. It is written under another name and then renamed, so that nobody reads
half of it. Folders are 0700 and files 0600. No link is followed: what stands in the way is an error, and is counted.

How much is there, `USED` has: number and bytes, under a lock, for several workers and engines may share a store. It is
counted anew where that file is missing; whoever removes files removes it as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ids.counters import Counters
from ids.protocols.files import File, FileSettings
from ids.types import FlowColumns, Match
from ids.whole import replacing

log = logging.getLogger(__name__)

USED = ".used"
"""In the store: how many files are there, how many bytes, and how many were ever stored."""

MAX_MARKS = 1024
"""Exchanges of one flow whose files are to be stored; beyond them the flow's are."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HEX = frozenset("0123456789abcdef")


class Refused(Exception):
    """A file is not stored; says why, as counters do."""


class Store:
    """The directory. Every method may raise `OSError`; `put` also `Refused`."""

    def __init__(self, path: str, settings: FileSettings) -> None:
        self._path = path
        self._settings = settings

    def put(self, content: bytes) -> int:
        """Store a file; return its number, which grows with each that is stored."""
        if len(content) > self._settings.store_file_bytes:
            raise Refused("too_large")
        name = hashlib.sha256(content).hexdigest()
        with _folder(self._path) as store, _locked(store) as used:
            files, size, ever = _read(used, store)
            with _folder(name[:2], store) as folder:
                if not _exists(name, folder):
                    if files >= self._settings.store_files or size + len(content) > self._settings.store_quota_bytes:
                        raise Refused("quota")
                    with replacing(name, folder) as file:
                        file.write(content)
                    files, size = files + 1, size + len(content)
            os.pwrite(used, b"%020d %020d %020d\n" % (files, size, ever + 1), 0)
            return ever + 1


class Marks:
    """What of one flow is to be stored: exchanges and sides, each with the rules that ask for it."""

    __slots__ = ("by_exchange",)

    def __init__(self) -> None:
        self.by_exchange: dict[tuple[str, int, int], tuple[int, ...]] = {}
        """By protocol, exchange and side; of the whole flow, under an empty name and 0."""

    def add(self, protocol: str, tx_id: int, side: int, sid: int) -> None:
        """Mark the files of one side of an exchange."""
        key = (protocol, tx_id, side)
        if key not in self.by_exchange and len(self.by_exchange) >= MAX_MARKS:
            key = ("", 0, side)
        known = self.by_exchange.get(key, ())
        if sid not in known:
            self.by_exchange[key] = (*known, sid)

    def of(self, file: File) -> tuple[int, ...]:
        """Return the rules that ask for a file."""
        marks, side = self.by_exchange, int(file.direction)
        return (*marks.get((file.protocol, file.tx_id, side), ()), *marks.get(("", 0, side), ()))


class FileStore:
    """Notes which files rules ask for, and stores them when they have ended."""

    def __init__(
        self, settings: FileSettings, flows: FlowColumns, counters: Counters, eve_path: str | None = None
    ) -> None:
        """``eve_path``: where events go, beside which a relative directory is."""
        self._counters = counters
        self._flows = flows
        self._marks = flows.place(Marks)
        self.configure(settings, eve_path)

    def configure(self, settings: FileSettings, eve_path: str | None = None) -> None:
        """Go on by these settings."""
        self._settings = settings
        directory = settings.store_dir
        if directory is not None and not Path(directory).is_absolute():
            directory = str(Path(eve_path).parent / directory) if eve_path not in (None, "-") else None
        self._store = Store(directory, settings) if directory is not None else None
        self._warned = False

    @property
    def at_work(self) -> bool:
        """There is a directory to store files in."""
        return self._store is not None

    @property
    def takes_all(self) -> bool:
        """Every file is stored."""
        return self._store is not None and self._settings.store_all

    def note(self, matches: list[Match]) -> None:
        """Note which files these matches ask for."""
        for match in matches:
            asked, row = match.signature.stores, match.transaction
            if asked is None:
                continue
            sides = {"request": (0,), "response": (1,), "both": (0, 1)}.get(asked.side, (int(match.direction),))
            if asked.scope == "file" and row is not None and row.files:
                for file in row.files:
                    if int(file.direction) in sides or not asked.side:
                        file.store_for((match.signature.sid,))
                continue
            marks = self._marks.of(match.flow)
            for side in sides:
                if asked.scope == "flow" or row is None:
                    marks.add("", 0, side, match.signature.sid)
                else:
                    marks.add(row.protocol, row.tx_id, side, match.signature.sid)

    def take(self, ended: list[File]) -> None:
        """Store those of the files that ended which somebody asks for."""
        marks = self._marks.by_id
        for file in ended:
            if marks and (known := marks.get(int(self._flows.id[file.slot]))) is not None:
                file.store_for(known.of(file))
            if self.takes_all:
                file.store = True
            if file.store:
                self._put(file)
                file.store = file.stored

    def _put(self, file: File) -> None:
        if self._store is None:
            self._counters.add("files.store.no_directory")
            if not self._warned:
                self._warned = True
                log.warning("a rule asks for files to be stored, and files.store_dir names no directory: none is")
            return
        if not file.whole:
            self._counters.add("files.store.too_large")
            return
        try:
            file.file_id = self._store.put(file.content)
        except Refused as refused:
            self._counters.add(f"files.store.{refused}")
        except (OSError, ValueError) as error:
            self._counters.add("files.store.error")
            if not self._warned:
                self._warned = True
                log.error(
                    "a file was not stored in %s: %s; further ones are counted only", self._settings.store_dir, error
                )
        else:
            file.stored = True
            self._counters.add("files.store.stored")


@contextlib.contextmanager
def _folder(name: str, within: int | None = None) -> Iterator[int]:
    """Open a folder of ours, made now if it is not there; raises `OSError` where it is a link, or somebody else's."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=within)
    folder = os.open(name, _FOLDER, dir_fd=within)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"{name} is another user's")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(folder, 0o700)
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(store: int) -> Iterator[int]:
    """Open `USED`, and let nobody else have it meanwhile."""
    used = os.open(USED, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=store)
    try:
        fcntl.flock(used, fcntl.LOCK_EX)
        yield used
    finally:
        os.close(used)


def _read(used: int, store: int) -> tuple[int, int, int]:
    """Return how many files are there, how many bytes, and how many were ever stored."""
    words = os.pread(used, 128, 0).split()
    if len(words) == 3 and all(word.isdigit() for word in words):
        return int(words[0]), int(words[1]), int(words[2])
    files = size = 0
    for folder in os.listdir(store):
        if len(folder) != 2 or not _HEX.issuperset(folder):
            continue
        with _folder(folder, store) as inside:
            for name in os.listdir(inside):
                files, size = files + 1, size + os.stat(name, dir_fd=inside, follow_symlinks=False).st_size
    return files, size, files


def _exists(name: str, folder: int) -> bool:
    """Return whether a file is there; raises `FileExistsError` where something else is."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(f"{name} is no file")
    return True
