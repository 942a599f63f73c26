"""How a server of MySQL answers: one object for each command, which takes the packets of its reply in their order.

    first ── OK, error ───────────────────────────► end
      │                                              ▲
      ├── columns ── (end of them) ── rows ── end ───┤   a result set; where more of them follow: first again
      ├── definitions ───────────────────────────────┤   of what was prepared
      └── a file is asked for ── first ──────────────┘   the client sends it (LOAD DATA LOCAL)

Rows are counted, not kept. Where both sides agreed not to mark the end of columns (`Capability.DEPRECATE_EOF`), the
first row comes right behind them, and what ends rows is an OK in another dress.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ids.protocols.rare.mysql_packets import Capability, Cut, Reader
from ids.protocols.spelling import text

_OK, _MORE, _FILE, _END, _ERROR = 0x00, 0x01, 0xFB, 0xFE, 0xFF
"""First bytes of packets."""
_MORE_RESULTS, _CURSOR = 0x08, 0x40
"""Bits of a server's status: another result set follows; rows come when they are fetched."""
_PROGRESS = 0xFFFF
"""The number of an error that is none: MariaDB reports so how far a long command is."""
_MAX_END = 9
"""A packet that begins as the end of rows and has as many bytes is a row with a long value."""
LARGEST = 0xFFFFFF
"""Bytes of a packet, behind which another one goes on."""

UNANSWERED = frozenset({"quit", "stmt_close", "stmt_send_long_data"})
"""Commands that have no reply."""
ENDLESS = frozenset({"binlog_dump", "binlog_dump_gtid", "table_dump", "clone", "subscribe_group_replication_stream"})
"""Commands whose reply is an error, or a stream of its own, which is not read."""
_RESULTS = frozenset({"query", "stmt_execute", "stmt_bulk_execute", "process_info", "multi"})


class State(Enum):
    """What comes next."""

    FIRST = "first"
    DEFINITIONS = "definitions"
    COLUMNS = "columns"
    END_OF_COLUMNS = "end of columns"
    ROWS = "rows"
    LISTED = "listed"
    LOGIN = "login"
    DONE = "done"


class Reply:
    """What was answered so far."""

    __slots__ = (
        "_capabilities", "_command", "_left", "asked_file", "begun", "columns", "error", "info", "plugin", "rows",
        "state", "statement", "status",
    )  # fmt: skip

    def __init__(self, command: str, capabilities: int) -> None:
        """``capabilities`` are those that both sides have."""
        self._command = command
        self._capabilities = capabilities
        self._left = 0
        """Packets to come that say nothing."""
        self.begun = False
        """A packet of it has come."""
        self.state = State.FIRST
        if command in ("login", "change_user"):
            self.state = State.LOGIN
        elif command == "stmt_fetch":
            self.state = State.ROWS
        elif command == "field_list":
            self.state = State.LISTED
        self.status = ""
        """What came of it: ``ok``, ``error``, ``rows``, ``prepared``; empty before."""
        self.columns: int | None = None
        """Of the last result set."""
        self.rows: int | None = None
        """Of all result sets."""
        self.info: dict[str, Any] = {}
        """Numbers and the message of the last OK."""
        self.error: tuple[int, bytes, bytes] | None = None
        """Code, state (five letters, or none), message."""
        self.plugin: bytes | None = None
        """The way to prove a name that the server asks the client to change to."""
        self.asked_file: bytes | None = None
        """Name of the client's file that the server asked for last."""
        self.statement: int | None = None
        """Number of what was prepared."""

    @property
    def done(self) -> bool:
        """The reply is whole."""
        return self.state is State.DONE

    def take(self, payload: bytes, size: int) -> None:
        """Take the next packet, which has ``size`` bytes in all; its first ones will do."""
        self.begun = True
        if self.state is State.ROWS:
            self._take_row(payload, size)
        elif self.state is State.COLUMNS or self.state is State.DEFINITIONS:
            self._take_definition(payload)
        elif not payload:
            self.state = State.DONE
        elif payload[0] == _ERROR and self.state is not State.END_OF_COLUMNS:
            self._take_error(payload)
        elif self.state is State.LOGIN:
            self._take_login(payload)
        elif self.state is State.END_OF_COLUMNS:
            self._take_end_of_columns(payload, size)
        elif self.state is State.LISTED:
            self.columns = (self.columns or 0) + (payload[0] != _END)
            if payload[0] == _END:
                self._end("rows", _MORE_RESULTS)
        elif self.state is State.FIRST:
            self._take_first(payload, size)

    @property
    def _marks_ends(self) -> bool:
        return not self._capabilities & Capability.DEPRECATE_EOF

    def _end(self, status: str, bits: int = 0) -> None:
        """End a result; another one may follow."""
        self.status = status
        more = bits & _MORE_RESULTS and self._command in _RESULTS
        self.state = State.FIRST if more else State.DONE

    def _take_first(self, payload: bytes, size: int) -> None:
        kind = payload[0]
        if self._command in ENDLESS:
            self.state = State.DONE
        elif self._command == "statistics":
            self.info = {"message": text(payload)}
            self._end("ok")
        elif self._command == "stmt_prepare" and kind == _OK:
            self._take_prepared(payload)
        elif self._command not in _RESULTS:
            self._end("ok", self._take_ok(payload, size))
        elif kind == _FILE:
            self.asked_file = payload[1:]
        elif kind == _END or (kind == _OK and size >= 7):
            self._end("ok", self._take_ok(payload, size))
        else:
            self._begin_rows(payload)

    def _take_ok(self, payload: bytes, size: int) -> int:
        """Read numbers and message of an OK; return the bits of the server's status."""
        reader, info = Reader(payload, 1), self.info
        try:
            if payload[0] == _END and (self._marks_ends or size < 7):
                info["warnings"] = reader.number(2)
                return reader.number(2)
            info["affected_rows"] = reader.length()
            last = reader.length()
            if last:
                info["last_insert_id"] = last
            if not self._capabilities & Capability.PROTOCOL_41:
                return reader.number(2)
            status = reader.number(2)
            info["warnings"] = reader.number(2)
            message = self._message(reader)
            if message:
                info["message"] = text(message)
            return status
        except Cut:
            return 0

    def _message(self, reader: Reader) -> bytes:
        """Return what an OK says behind its numbers; what else changed in the session is behind that."""
        if not self._capabilities & Capability.SESSION_TRACK:
            return reader.rest()
        try:
            return reader.string()
        except Cut:
            return b""

    def _take_error(self, payload: bytes) -> None:
        code, message = int.from_bytes(payload[1:3], "little"), payload[3:]
        if code == _PROGRESS and len(payload) > 4:
            return
        state = b""
        if message[:1] == b"#" and len(message) >= 6:
            state, message = message[1:6], message[6:]
        self.error = code, state, message
        self.status, self.state = "error", State.DONE

    def _take_login(self, payload: bytes) -> None:
        if payload[0] == _OK:
            self._take_ok(payload, len(payload))
            self._end("ok")
        elif payload[0] == _END:
            self.plugin = payload[1:].partition(b"\0")[0] or b"mysql_old_password"
        elif payload[0] != _MORE:
            self.state = State.DONE

    def _take_prepared(self, payload: bytes) -> None:
        self.statement = int.from_bytes(payload[1:5], "little")
        columns, parameters = (int.from_bytes(payload[at : at + 2], "little") for at in (5, 7))
        self.columns = columns
        self.info = {"parameters": parameters}
        marks = (columns > 0) + (parameters > 0) if self._marks_ends else 0
        self._left = columns + parameters + marks
        self.status = "prepared"
        self.state = State.DEFINITIONS if self._left else State.DONE

    def _begin_rows(self, payload: bytes) -> None:
        reader, described = Reader(payload), True
        try:
            if self._capabilities & Capability.OPTIONAL_METADATA:
                described = reader.number(1) != 0
            self.columns = self._left = reader.length()
            if self._capabilities & Capability.CACHED_METADATA and reader.at < len(payload):
                described = reader.number(1) != 0
        except Cut:
            self.state = State.DONE
            return
        self.rows = self.rows or 0
        self.status = "rows"
        if not (described and self._left):
            self._left = 1
            self._take_definition(b"")
        else:
            self.state = State.COLUMNS

    def _take_definition(self, payload: bytes) -> None:
        """Count a definition; read an error in their place."""
        if payload[:1] == b"\xff":
            self._take_error(payload)
            return
        self._left -= 1
        if self._left > 0:
            return
        if self.state is State.DEFINITIONS:
            self.state = State.DONE
        else:
            self.state = State.END_OF_COLUMNS if self._marks_ends else State.ROWS

    def _take_end_of_columns(self, payload: bytes, size: int) -> None:
        self.state = State.ROWS
        if payload[0] != _END or size >= _MAX_END:
            self._take_row(payload, size)
        elif self._command == "stmt_execute" and self._take_ok(payload, size) & _CURSOR:
            self.state = State.DONE

    def _take_row(self, payload: bytes, size: int) -> None:
        first = payload[:1]
        if first == b"\xff":
            self._take_error(payload)
        elif first == b"\xfe" and size < (_MAX_END if self._marks_ends else LARGEST):
            self.rows = self.rows or 0
            self._end("rows", self._take_ok(payload, size))
        else:
            self.rows = (self.rows or 0) + 1
