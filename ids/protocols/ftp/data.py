"""An FTP data connection: what comes over it is a file, or a list of names."""

from __future__ import annotations

from typing import Any

from ids.protocols.files import File
from ids.protocols.ftp.parser import LISTS, TRANSFERS, Transfer
from ids.protocols.protocol import Setup
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction


class SharedData:
    """What the parsers of all flows share; makes them."""

    def __init__(self, setup: Setup) -> None:
        self.flows = setup.flows
        self.files = setup.files

    def __call__(self, slot: int, tx_id: int, about: Any = None) -> FtpData:
        """Return the parser of a flow; ``about`` is what was announced of it."""
        return FtpData(self, slot, tx_id, about if isinstance(about, Transfer) else Transfer())


class FtpData:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = ("_done", "_file", "_reported", "_shared", "_slot", "_transfer", "_tx_id")

    def __init__(self, shared: SharedData, slot: int, tx_id: int, transfer: Transfer) -> None:
        self._shared = shared
        self._slot = slot
        self._tx_id = tx_id
        self._transfer = transfer
        self._file: File | None = None
        self._reported = self._done = False

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        if self._done or self._transfer.command in LISTS:
            return
        if data and self._file is None:
            self._file = self._open(direction)
        file = self._file
        if file is None or file.direction is not direction:
            return
        if not self._reported:
            self._reported = True
            self._emit(direction, ts_ns, number, out)
        file.gap(gap)
        file.append(data, ts_ns, number, out)
        if closed:
            self._done = True
            file.close(ts_ns, number, out)
            self._emit(direction, ts_ns, number, out, complete=self._transfer.command in TRANSFERS)

    @property
    def asked(self) -> bool:
        """A command has asked for what comes over it."""
        return bool(self._transfer.command)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        if self._file is not None:
            self._file.release()

    def _open(self, direction: Direction) -> File:
        transfer = self._transfer
        return self._shared.files.open(
            self._slot, "ftp-data", self._tx_id, direction, name=transfer.name, fields=self._fields,
            beside=self._buffers(),
        )  # fmt: skip

    def _buffers(self) -> dict[str, bytes]:
        return {"ftpdata.command": self._transfer.command} if self._transfer.command else {}

    def _emit(
        self, direction: Direction, ts_ns: int, number: int, out: list[Transaction], complete: bool = False
    ) -> None:
        buffers = {} if complete else self._buffers()
        out.append(
            Transaction(
                self._shared.flows, self._slot, "ftp-data", self._tx_id, direction, buffers, self._fields, ts_ns,
                number, complete,
            )
        )  # fmt: skip

    def _fields(self) -> dict[str, Any]:
        """Return what EVE logs of it."""
        logged = {}
        if self._transfer.name:
            logged["filename"] = text(self._transfer.name)
        if self._transfer.command:
            logged["command"] = text(self._transfer.command)
        return logged
