"""Writes events as EVE JSON, one object a line: to a file, to standard output, or to a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ids.plugin.datagram import sent
from ids.plugin.delivery import Settled
from ids.plugin.outlet import Outlet
from ids.plugin.output import Output, Prepared
from ids.plugin.writer import LineWriter
from ids.privacy import Privacy

if TYPE_CHECKING:
    from ids.plugin.context import EngineContext
    from ids.settings.respond import EveSettings

SEND_S = 10.0
"""How long a socket may take no more, until it counts as a failure."""


class SocketSender:
    """A Unix socket that somebody else listens at: a stream of lines, or a datagram for each."""

    def __init__(self, path: str, kind: socket.SocketKind) -> None:
        self._path, self._kind = path, kind
        self._socket: socket.socket | None = None

    def deliver(self, lines: Sequence[bytes]) -> Settled:
        """Send lines; raises `OSError`. What was sent before a failure is sent again.

        A line that is too long for a datagram always will be: it is left out.
        """
        too_long = 0
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, self._kind)
                self._socket.settimeout(SEND_S)
                self._socket.connect(self._path)
            if self._kind == socket.SOCK_STREAM:
                self._socket.sendall(b"".join(line + b"\n" for line in lines))
            else:
                for line in lines:
                    too_long += not sent(self._socket, line)
        except OSError:
            self.close()
            raise
        return Settled(len(lines) - too_long, too_long=too_long)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


class EveOutput(Output):
    """The output."""

    name = "eve"

    def prepare(self, context: EngineContext) -> Prepared | None:
        """Open the file, so that one that cannot be written is refused; a socket only once the settings are in force.

        Raises `UsageError`. A rotated log is followed, as the file is opened anew.
        """
        settings = context.config.eve
        if settings.path is None:
            return None
        privacy, types = Privacy(settings.privacy, "eve"), frozenset(settings.types)
        if settings.filetype != "regular" and settings.path != "-":
            return Prepared(partial(_socket, context, settings, settings.path, privacy), types)
        writer = LineWriter(
            settings.path, "eve", context.counters, patient=not context.live, shown=privacy.lines,
            behind=[sink for sink in (*self._retired, self._sink) if isinstance(sink, LineWriter)],
        )  # fmt: skip
        return Prepared(lambda: writer, types, discard=writer.close)


def _socket(context: EngineContext, settings: EveSettings, path: str, privacy: Privacy) -> Outlet:
    kind = socket.SOCK_STREAM if settings.filetype == "unix_stream" else socket.SOCK_DGRAM
    sender = SocketSender(path, kind)
    return Outlet(
        "eve", context.counters, sender.deliver, privacy=privacy, buffer_bytes=settings.buffer_bytes,
        patient=not context.live, close=sender.close,
    )  # fmt: skip


plugin = EveOutput
