"""Writes events as EVE JSON, one object a line: to a file, to standard output, or to a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ids import hookimpl
from ids.plugin.outlet import Outlet
from ids.plugin.writer import LineWriter
from ids.privacy import Privacy

if TYPE_CHECKING:
    from ids.events import Events
    from ids.plugin.context import EngineContext
    from ids.respond.settings import EveSettings

SEND_S = 10.0
"""How long a socket may take no more, until it counts as a failure."""


class SocketSender:
    """A Unix socket that somebody else listens at: a stream of lines, or a datagram for each."""

    def __init__(self, path: str, kind: socket.SocketKind) -> None:
        self._path, self._kind = path, kind
        self._socket: socket.socket | None = None

    def deliver(self, lines: Sequence[bytes]) -> None:
        """Send lines; raises `OSError`. What was sent before a failure is sent again."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, self._kind)
                self._socket.settimeout(SEND_S)
                self._socket.connect(self._path)
            if self._kind == socket.SOCK_STREAM:
                self._socket.sendall(b"".join(line + b"\n" for line in lines))
            else:
                for line in lines:
                    self._socket.send(line)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


class EveOutput:
    """The output."""

    def __init__(self) -> None:
        self._writer: LineWriter | Outlet | None = None
        self._next: LineWriter | Outlet | None = None
        """Opened for a reload that is not in force, and may never be: another plugin may refuse it."""
        self._retired: list[Outlet] = []
        """Sockets before a reload, which still deliver."""
        self._types: frozenset[str] = frozenset()

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Open the file; a path that cannot be written stops the engine."""
        self._writer, self._types = _open(context), frozenset(context.config.eve.types)

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Open the file again, so that a rotated log is followed."""
        self._drop_next()
        self._next, types = _open(context), frozenset(context.config.eve.types)

        def commit() -> None:
            writer, self._next = self._next, None
            if isinstance(self._writer, Outlet):  # packets do not wait for whoever listens
                self._writer.retire()
                self._retired.append(self._writer)
                self._writer = None
            self._close()
            self._writer, self._types = writer, types

        return commit

    @hookimpl
    def ids_event_types(self) -> set[str]:
        """Return the types that the settings name; none without a file."""
        return set(self._types) if self._writer is not None else set()

    @hookimpl
    def ids_events(self, events: Events) -> None:
        """Hand the wanted events to the writer."""
        if self._retired:
            self._retired = [outlet for outlet in self._retired if not outlet.retired()]
        if self._writer is not None:
            self._writer.put(events.lines(self._types))

    @hookimpl
    def ids_stop(self) -> None:
        """Close the file."""
        for outlet in self._retired:
            outlet.close()
        self._retired.clear()
        self._close()

    def _close(self) -> None:
        self._drop_next()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.close()
            self._next = None


def _open(context: EngineContext) -> LineWriter | Outlet | None:
    """Open the output; raises `UsageError` where it cannot be written."""
    settings = context.config.eve
    if settings.path is None or not context.outputs:
        return None
    privacy = Privacy(settings.privacy, "eve")
    if settings.filetype == "regular" or settings.path == "-":
        return LineWriter(settings.path, "eve", context.counters, patient=not context.live, shown=privacy.lines)
    return _socket(context, settings, settings.path, privacy)


def _socket(context: EngineContext, settings: EveSettings, path: str, privacy: Privacy) -> Outlet:
    kind = socket.SOCK_STREAM if settings.filetype == "unix_stream" else socket.SOCK_DGRAM
    sender = SocketSender(path, kind)
    return Outlet(
        "eve", context.counters, sender.deliver, privacy=privacy, buffer_bytes=settings.buffer_bytes,
        patient=not context.live, close=sender.close,
    )  # fmt: skip


plugin = EveOutput
