"""Files that save the next start a compilation: each kept under a digest of what it was made from.

What comes out of a cache goes into native code or into the kernel, so nobody else may have put it there. A directory or
a file that belongs to another user, or that others may write, is left alone; directory and file are judged by the
descriptors that are then read, so that neither can be exchanged in between. A file begins with a digest of its own
content: one that is torn or damaged is as good as none. Nothing here raises for a cache that cannot be used: then
nothing is kept, and every start compiles.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ids.later import late_pattern
from ids.whole import replacing

MAX_BYTES = 256 << 20
"""Of all files in one directory; beyond that the ones that were used longest ago go. The rules that ship need two
megabytes, some ten thousand of others' a hundred."""

MAX_FILE_BYTES = MAX_BYTES // 2
"""Of one file; a larger one is neither kept nor read."""

DIRECTORIES = 16
"""Of so many a process remembers about what they hold, so that it looks through each but once; it writes to one or two.
Beyond that it forgets all."""

TOUCH_S = 86_400.0
"""A file that is used counts as new again, at most this often: reading a cache should not write to the disk."""

_DIGEST_BYTES = 32
_BLOCK_BYTES = 4096
"""What a small file takes on most file systems, counted for each."""
_OURS = late_pattern(r"[0-9a-f]{64}\.[a-z]+|\.new-[0-9a-f]{16}")
_held_bytes: dict[Path, int] = {}
"""About what directories hold, of those to which this process has written."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_home(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the directory of this engine's caches, by the XDG base directory specification; None for a homeless user.

    A relative ``XDG_CACHE_HOME`` is ignored, as the specification asks.
    """
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "ids"
    try:
        return Path("~/.cache/ids").expanduser()
    except RuntimeError:
        return None


def digest_of(parts: Iterable[bytes | str]) -> str:
    """Return the key of what is made from these parts; no two lists of parts have the same."""
    key = hashlib.sha256()
    for part in parts:
        raw = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        key.update(b"%d " % len(raw) + raw)
    return key.hexdigest()


class Cache:
    """The files of one kind in a directory, which several kinds may share."""

    def __init__(self, directory: Path | None, suffix: str) -> None:
        """``directory`` is made when something is first kept; None keeps nothing. ``suffix`` is in lower case."""
        self._directory = directory
        self._suffix = suffix

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key of `digest_of`; None where there is nothing that can be trusted."""
        try:
            with self._opened() as directory:
                raw = _read(directory, f"{key}.{self._suffix}")
        except OSError:
            return None
        digest, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        return body if hashlib.sha256(body).digest() == digest else None

    def put(self, key: str, body: bytes) -> None:
        """Keep ``body`` under a key, in place of what was there; where that is not possible, do nothing."""
        if self._directory is None or len(body) > MAX_FILE_BYTES - _DIGEST_BYTES:
            return
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._opened() as directory:
                with replacing(f"{key}.{self._suffix}", directory, unfinished=f".new-{secrets.token_hex(8)}") as file:
                    file.write(hashlib.sha256(body).digest() + body)
                _make_room(self._directory, directory, len(body))

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the directory; raises `OSError` where there is none that only this user can write."""
        if self._directory is None:
            raise FileNotFoundError
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _require_private(os.fstat(directory))
            yield directory
        finally:
            os.close(directory)


def _make_room(path: Path, directory: int, added: int) -> None:
    """Delete the least used files once there are too many bytes, down to three quarters: not at each write."""
    held = _held_bytes.get(path)
    if held is None or held + added + _BLOCK_BYTES > MAX_BYTES:
        found = _files(directory)
        held = sum(size for _, _, size in found)
        if held > MAX_BYTES:
            held = _deleted_down(directory, sorted(found), held)
    else:
        held += added + _BLOCK_BYTES
    if len(_held_bytes) >= DIRECTORIES:
        _held_bytes.clear()
    _held_bytes[path] = held


def _deleted_down(directory: int, found: Sequence[tuple[float, str, int]], held: int) -> int:
    """Delete the first files until the rest has three quarters of the limit; return what that is."""
    for _, name, size in found:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
        held -= size
        if held <= MAX_BYTES * 3 // 4:
            break
    return held


def _require_private(status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_WRITE:
        raise PermissionError("others can write it")


def _read(directory: int, name: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # neither a link nor a pipe that blocks
    with open(os.open(name, flags, dir_fd=directory), "rb") as file:
        status = os.fstat(file.fileno())
        _require_private(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise OSError("no file of a cache")
        if time.time() - status.st_mtime > TOUCH_S:
            with contextlib.suppress(OSError):  # a file system that is mounted read-only
                os.utime(file.fileno())
        return file.read(MAX_FILE_BYTES)


def _files(directory: int) -> list[tuple[float, str, int]]:
    """Return when each file of ours was last used, its name, and about what it takes; other files are not ours."""
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, entry.name, status.st_size + _BLOCK_BYTES))
    return found
