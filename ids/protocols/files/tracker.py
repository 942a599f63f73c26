"""All files of all flows: what is wanted of them, what they hold, and which of them ended in this batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from ids.counters import Counters
from ids.protocols.files.file import COST, FILE_BUFFERS, FieldsOf, File, State
from ids.protocols.files.ranges import Ranges
from ids.protocols.files.settings import HASHES, FileSettings
from ids.types import Direction, FlowColumns, Transaction

PLAIN = ("file.data", "file.name")
"""Buffers that HTTP gives of a message without a `File`."""
_RARE = set(FILE_BUFFERS) - set(PLAIN)
_OF_DIGESTS = {f"file.{name}": name for name in HASHES}
MAX_NAME_BYTES = 4096
"""Kept of a name: no file system has longer paths."""
_NOTHING: Mapping[str, bytes] = {}


class Body(NamedTuple):
    """A complete file that is the whole body of a message."""

    row: Transaction
    name: bytes
    size: int


class Files:
    """What all parsers share of files; one for each inspection."""

    def __init__(self, settings: FileSettings, counters: Counters, flows: FlowColumns) -> None:
        self.settings = settings
        self.flows = flows
        self._counters = counters
        self.ranges = Ranges(settings, counters)
        self.held = 0
        """Bytes of open files, as `File.held` counts them."""
        self.ended: list[File] = []
        """Files that ended in this batch, where somebody is to hear of it; taken by `take`,"""
        self.due: list[File] = []
        """and those whose events are to be written."""
        self.bodies: list[Body] = []
        """Of `plain` files, what their events say."""
        self._closed = self._truncated = 0
        """How many did, until they are counted."""
        self.logged = False
        """Events of files are written."""
        self.plain = False
        """Nobody wants more of files than events without digests and types: a whole body needs no `File` then, and is
        handed over as `Body`."""
        self.asked = True
        """Rules ask for buffers of files."""
        self.tracked = True
        """Somebody wants more of files than parsers of whole messages give without (`PLAIN`)."""
        self.storing = False
        """Files may have to be stored, so that their content is kept."""
        self._streamed: tuple[str, ...] = ()
        self.want(None, logged=False)

    def configure(self, settings: FileSettings) -> None:
        """Go on by these settings; `want` has to follow."""
        self.settings = self.ranges.settings = settings

    def want(self, buffers: Collection[str] | None, *, logged: bool, storing: bool = False) -> None:
        """Say what is wanted: by rules, the buffers of these names (None: it is not known); by outputs, events."""
        self.asked = buffers is None or not set(FILE_BUFFERS).isdisjoint(buffers)
        self.logged, self.storing = logged, storing
        rare = buffers is None or not _RARE.isdisjoint(buffers)
        self.tracked = logged or storing or rare
        self.plain = logged and not (storing or rare or self.settings.hashes or self.settings.magic)
        asked = {name for buffer, name in _OF_DIGESTS.items() if buffers is None or buffer in buffers}
        said = set(self.settings.hashes) if logged else set()
        self._streamed = tuple(sorted(asked | said | ({"sha256"} if storing else set())))

    @property
    def active(self) -> bool:
        """Somebody wants files."""
        return self.asked or self.logged or self.storing

    def streamed(self) -> tuple[str, ...]:
        """Return the digests that are brought up to date with each piece of a file too large to be kept."""
        return self._streamed

    def open(
        self,
        slot: int,
        protocol: str,
        tx_id: int,
        direction: Direction,
        *,
        name: bytes = b"",
        fields: FieldsOf = _NOTHING,
        beside: Mapping[str, bytes] = _NOTHING,
    ) -> File:
        """Begin a file of a flow, by its slot; see the package for what the arguments are."""
        file = File(self, slot, protocol, tx_id, direction, name[:MAX_NAME_BYTES], fields)
        file.beside = beside
        self.held += COST
        return file

    def whole(
        self,
        slot: int,
        protocol: str,
        tx_id: int,
        direction: Direction,
        content: bytes,
        *,
        name: bytes = b"",
        fields: FieldsOf = _NOTHING,
        beside: Mapping[str, bytes] = _NOTHING,
    ) -> File:
        """Return a file all of whose bytes are there; it is open until it is closed, and its parser accounts for it."""
        file = self.open(slot, protocol, tx_id, direction, name=name, fields=fields, beside=beside)
        file._kept, file.size = content, len(content)
        return file

    def room(self, file: File, size: int) -> int:
        """Return how many further bytes of a file are kept, and hold as many."""
        if not self.active:
            return 0
        limit = self.settings.inspect_bytes
        if self.storing:
            limit = max(limit, self.settings.store_file_bytes)
        room = min(size, max(limit - file.kept, 0))
        if self.held + room > self.settings.memcap_bytes:
            self._counters.add("files.memcap")
            return 0
        self.held += room
        return room

    def end(self, file: File) -> None:
        """Take a file that has ended."""
        self.held -= file.held
        if file.state is State.TRUNCATED:
            self._truncated += 1
        else:
            self._closed += 1
        if self.logged or self.storing:
            self.ended.append(file)
            if file.reported:
                self.due.append(file)

    def report(self, file: File) -> None:
        """Take a file that ended before and whose event is to be written now."""
        if self.logged:
            self.due.append(file)

    def forget(self, file: File) -> None:
        """Take back what a file held that nobody will hear of."""
        self.held -= file.held
        self._counters.add("files.released")

    def take(self) -> tuple[list[File], list[File]]:
        """Return the files that ended since this was last asked, and those whose events are to be written; what is in
        ``bodies`` has been read."""
        if self._closed or self._truncated:
            self._counters.add("files.closed", self._closed)
            self._counters.add("files.truncated", self._truncated)
            self._closed = self._truncated = 0
        if self.bodies:
            self._counters.add("files.closed", len(self.bodies))
            self.bodies = []
        taken = self.ended, self.due
        self.ended, self.due = [], []
        return taken
