"""What can be read of a broken file of settings, for the commands that an operator needs all the same.

A start refuses such a file. To unblock somebody, or to take the gate down, it is enough to know which engine is meant;
so what is whole counts, the rest has its default, and every fault is returned to be shown. Where a fault may hide which
engine is meant, the command is refused: it would act on another one.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ids.config import Config, assigned, checked, load_config
from ids.errors import IdsError, Location, SourceError, UsageError
from ids.source import MAX_PROBLEMS, Document, InvalidDocument, Key, known_keys, parse_yaml, read_bytes

IDENTITY = ("instance", "engine.runtime_dir", "engine.state_dir", "fastpath.pin_dir")
"""Settings that say which engine is meant, and where its lists and its memory are."""

MAX_ROUNDS = 8
"""Of leaving out what does not fit: a group may show a fault once its parts fit. Then `IDENTITY` alone counts."""

MAX_BYTES = 1 << 20
MAX_PARTS = 4096
"""Of a file that is salvaged. A file of settings has some hundred lines; what is larger is something else."""

MAX_LEVELS = 4
"""Nesting of settings, below which a part that cannot be read is left out as a whole."""

_HEAD = re.compile(rb"[ ]*([\w-]+):[ \t]*(#.*)?$")
"""A line that begins a group."""

_GONE = object()


def salvage(path: str | Path | None, overrides: Sequence[str]) -> tuple[Config, list[SourceError]]:
    """Return the settings as far as they can be read, and the faults of the file; none where it is good.

    Raises as `load_config` where the file cannot be opened, nothing of it can be read or an override is wrong, and
    `UsageError` where the engine that is meant is in doubt.
    """
    try:
        return load_config(path, overrides), []
    except UsageError:
        raise
    except IdsError as error:
        if path is None or _of_an_override(error):
            raise
        return _Salvage(str(path), overrides).settings(error)


def _of_an_override(error: IdsError) -> bool:
    errors = error.errors if isinstance(error, InvalidDocument) else [error]
    return any(isinstance(one, SourceError) and one.location.path.startswith("--set ") for one in errors)


class _Salvage:
    """One file, and what is wrong with it."""

    def __init__(self, path: str, overrides: Sequence[str]) -> None:
        self._path = path
        self._overrides = overrides
        self._parts = 0
        self._faults: list[SourceError] = []
        self._doubts: set[str] = set()
        self._data: dict[str, Any] = {}
        self._places: dict[tuple[Key, ...], Location] = {}

    def settings(self, refused: IdsError) -> tuple[Config, list[SourceError]]:
        """Return what `salvage` does; ``refused`` is what the whole file was refused with."""
        raw = read_bytes(self._path)
        if len(raw) > MAX_BYTES:
            raise refused
        try:
            document = parse_yaml(raw, self._path)
        except SourceError as error:
            self._read_parts(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 0, ())
            if not self._data or self._parts > MAX_PARTS:
                raise refused from None
            if not self._faults:
                self._report(error)
            document = Document(self._path, self._data, self._places)
        config = self._fitting(assigned(document, self._overrides))
        given = {override.partition("=")[0] for override in self._overrides}
        if doubts := [name for name in IDENTITY if name in self._doubts and name not in given]:
            options = " ".join(f"--set {name}=..." for name in doubts)
            raise UsageError(f"{refused}\nWhich engine is meant cannot be read there; name it: {options}")
        return config, self._faults

    def _read_parts(self, lines: Sequence[bytes], first: int, at: tuple[str, ...]) -> None:
        """Read a group of settings, each by itself; ``first``: lines of the file before it."""
        for start, part in _parts(lines):
            self._parts += 1
            if self._parts > MAX_PARTS:
                return
            try:
                self._take(parse_yaml(b"\n".join(part), self._path), first + start, at)
            except SourceError as error:
                head = _HEAD.match(part[0])
                if head is not None and len(part) > 1 and len(at) < MAX_LEVELS:
                    self._read_parts(part[1:], first + start + 1, (*at, head[1].decode("ascii", "replace")))
                    continue
                self._report(SourceError(error.message, _moved(error.location, first + start), error.remedy))
                self._doubt_words(b"\n".join(part))

    def _take(self, document: Document, lines_before: int, at: tuple[str, ...]) -> None:
        """Put what was read of a part in its place; raises `SourceError` where it is no setting, or there already."""
        if document.data is None:
            return
        if not isinstance(document.data, dict):
            raise SourceError("is no setting", document.locate(), "write `name: value`")
        group = self._data
        for key in at:
            group = group.setdefault(key, {})
            if not isinstance(group, dict):
                raise SourceError(f"{'.'.join(at)} is given twice", document.locate())
        for key, value in document.data.items():
            if key in group:
                raise SourceError(f"key {key} is given twice", document.locate((key,)), "keep one of the two")
            group[key] = value
        self._places |= {(*at, *keys): _moved(place, lines_before) for keys, place in document.places.items() if keys}

    def _fitting(self, document: Document) -> Config:
        """Return what of the data fits; what does not is left out, and reported."""
        for _ in range(MAX_ROUNDS):
            try:
                return checked(document)
            except InvalidDocument as error:
                for fault in error.errors:
                    self._report(fault)
                for path in error.paths:
                    self._leave_out(document.data, path)
                document = Document(document.path, _whole(document.data), document.places)
        chosen = {name: value for name in IDENTITY if (value := _value_at(document.data, name)) is not None}
        return load_config(None, [f"{name}={json.dumps(value, default=str)}" for name, value in chosen.items()])

    def _leave_out(self, data: Any, path: tuple[Key, ...]) -> None:
        """Mark the deepest part of the data that a fault's path leads to as gone."""
        parent: Any = None
        at = list[Any]()
        for key in path:  # some are of the checker's own, or name what is missing
            known = _key_in(data, key)
            if known is not None:
                parent, data = data, data[known]
                at.append(known)
        if data is _GONE:
            return
        if at:
            parent[at[-1]] = _GONE
        misspelt = bool(at) and at[-1] not in known_keys(Config, at[:-1])
        for name in IDENTITY:
            *group, leaf = name.split(".")[: len(at)] or [""]
            near = misspelt and difflib.get_close_matches(str(at[-1]), [leaf], n=1)
            if not at or (at[:-1] == group and (near or at[-1] == leaf)):
                self._doubts.add(name)

    def _doubt_words(self, text: bytes) -> None:
        for name in IDENTITY:
            if name.rpartition(".")[2].encode() in text:
                self._doubts.add(name)

    def _report(self, fault: SourceError) -> None:
        if len(self._faults) < MAX_PROBLEMS:
            self._faults.append(fault)


def _parts(lines: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the settings of a group, each as its first line's number and its lines; remarks are not theirs."""
    indent = next((_indent(line) for line in lines if _says_something(line) and not _tabbed(line)), 1)
    start, part = 0, list[bytes]()
    for number, line in enumerate(lines):
        said = _says_something(line)
        if said and (_indent(line) <= indent or (indent and _tabbed(line))) and not line.lstrip().startswith(b"-"):
            if part:
                yield start, part
            start, part = number, [line]
        elif part:
            part.append(line if said else b"")
    if part:
        yield start, part


def _says_something(line: bytes) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith((b"#", b"%YAML", b"---"))


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip())


def _tabbed(line: bytes) -> bool:
    """Return whether tabs indent a line, which YAML does not take, so that its depth is not known."""
    return b"\t" in line[: _indent(line)]


def _moved(place: Location, lines: int) -> Location:
    return Location(place.path, place.line + lines, place.column) if place.line else place


def _key_in(data: Any, wanted: Key) -> Any:
    """Return the key or the place of a collection that a fault's path names; None where it has none of this name."""
    if isinstance(data, dict):
        if wanted not in data and isinstance(wanted, str) and wanted.removeprefix("-").isdecimal():
            wanted = int(wanted)  # the checker spells numbers
        return wanted if wanted in data else None
    return wanted if isinstance(data, list) and isinstance(wanted, int) and 0 <= wanted < len(data) else None


def _whole(data: Any) -> Any:
    """Return data without what is marked as gone."""
    if isinstance(data, dict):
        return {key: _whole(value) for key, value in data.items() if value is not _GONE}
    if isinstance(data, list):
        return [_whole(value) for value in data if value is not _GONE]
    return data


def _value_at(data: Any, name: str) -> Any:
    for key in name.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return data


def warnings_of(faults: Iterable[SourceError], path: str | None, most: int = 10) -> Iterator[str]:
    """Yield what to show of the faults: the first of them, each with its place, and what follows from them."""
    found = list(faults)
    yield from (str(fault) for fault in found[:most])
    if found:
        more = f"and {len(found) - most} more; " if len(found) > most else ""
        yield f"{path}: {more}a start and a reload would refuse this file; here the rest of it counts"
