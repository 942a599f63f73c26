"""Sends events to syslog, in the form of RFC 5424: over the host's socket, UDP, TCP or TLS."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlsplit

import orjson

from ids.errors import UsageError
from ids.later import Later
from ids.plugin.datagram import sent
from ids.plugin.delivery import Settled
from ids.plugin.outlet import Outlet
from ids.plugin.output import Output, Prepared
from ids.privacy import PAYLOAD_KEYS, Privacy
from ids.settings.outputs import Facility, SyslogSettings

if TYPE_CHECKING:
    import ssl

    from ids.plugin.context import EngineContext
else:
    ssl = Later("ssl")

PORTS = {"udp": 514, "tcp": 601, "tls": 6514}

_LEVELS = {1: 2, 2: 4, 3: 5}
"""Severities of syslog by that of an alert: critical, warning, notice; of everything else: informational."""
_INFORMATIONAL = 6
_FACILITIES = get_args(Facility)

_ESSENTIAL = ("timestamp", "flow_id", "event_type", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "in_iface")
_ESSENTIAL_OF_ALERT = ("action", "gid", "signature_id", "rev", "signature", "severity")


class Message:
    """Spells messages."""

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._facility = _FACILITIES.index(settings.facility) << 3
        host = settings.hostname or socket.gethostname()
        self._about = f"{host[:255] or '-'} {settings.identity} {os.getpid()}"

    def of(self, line: bytes) -> bytes:
        """Return an event, given as a line of JSON, as a message."""
        event = orjson.loads(line)
        level = _LEVELS.get((event.get("alert") or {}).get("severity", 0), _INFORMATIONAL)
        time, kind = _time(str(event.get("timestamp", ""))), str(event.get("event_type", "-"))
        head = f"<{self._facility | level}>1 {time} {self._about} {kind[:32]} - ".encode()
        return head + self._shortened(event, line, self._settings.message_bytes - len(head))

    @staticmethod
    def _shortened(event: dict[str, Any], line: bytes, room: int) -> bytes:
        if len(line) <= room:
            return line
        ours = {key: value for key, value in (event.get("ids") or {}).items() if key != "evidence"}
        event = {key: value for key, value in event.items() if key not in PAYLOAD_KEYS} | {"ids": ours}
        for shorter in (event, _essential(event)):
            data = orjson.dumps(shorter)
            if len(data) <= room:
                return data
        return data[:room]


def _essential(event: dict[str, Any]) -> dict[str, Any]:
    made = {key: event[key] for key in _ESSENTIAL if key in event}
    if event.get("alert"):
        alert = {key: event["alert"].get(key) for key in _ESSENTIAL_OF_ALERT}
        made["alert"] = alert | {"signature": str(alert["signature"])[:200]}
    return made


def _time(text: str) -> str:
    """Return EVE's time as RFC 3339 has it: with a colon in the offset."""
    return f"{text[:-2]}:{text[-2:]}" if len(text) > 25 and text[-5] in "+-" else "-"


class Sender:
    """A connection to the receiver, made when it is needed, and anew after a failure."""

    def __init__(self, settings: SyslogSettings, address: str) -> None:
        self._settings = settings
        self._kind, _, rest = address.partition("://")
        self._path = rest
        self._framed = self._kind in ("tcp", "tls")
        self._ends = ("", 0) if self._kind == "unix" else _host_and_port(address, self._kind)
        self._message = Message(settings)
        self._tls = _trusting(settings) if self._kind == "tls" else None
        self._socket: socket.socket | None = None

    def deliver(self, lines: Sequence[bytes]) -> Settled:
        """Send events; raises `OSError`. What was sent before a failure is sent again.

        Raises any other exception before anything is sent.
        """
        messages = [self._message.of(line) for line in lines]
        too_long = 0
        try:
            if self._socket is not None and self._framed and _hung_up(self._socket):
                self.close()
            if self._socket is None:
                self._socket = self._connected()
            if self._framed:
                self._socket.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
            else:
                for message in messages:
                    too_long += not sent(self._socket, message)
        except OSError:
            self.close()
            raise
        return Settled(len(lines) - too_long, too_long=too_long)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        settings = self._settings
        if self._kind == "unix":
            return self._local()
        if self._kind == "udp":
            found = socket.getaddrinfo(*self._ends, type=socket.SOCK_DGRAM)
            made = socket.socket(found[0][0], socket.SOCK_DGRAM)
            made.settimeout(settings.timeout_s)
            made.connect(found[0][4])
            return made
        plain = socket.create_connection(self._ends, settings.timeout_s)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self._ends[0])
        except BaseException:
            plain.close()
            raise

    def _local(self) -> socket.socket:
        """Connect to the host's own socket, which takes datagrams, or else a stream."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            made = socket.socket(socket.AF_UNIX, kind)
            made.settimeout(self._settings.timeout_s)
            try:
                made.connect(self._path)
            except OSError:
                made.close()
                if kind == socket.SOCK_STREAM:
                    raise
            else:
                self._framed = kind == socket.SOCK_STREAM
                return made
        raise AssertionError


def _trusting(settings: SyslogSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"syslog.ca_file {settings.ca_file}: {error}") from error


def _hung_up(connection: socket.socket) -> bool:
    """Return whether the receiver has closed the connection, which what is sent into it would not show."""
    patience = connection.gettimeout()
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    finally:
        connection.settimeout(patience)


def _host_and_port(address: str, kind: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        if parts.hostname:
            return parts.hostname, parts.port or PORTS[kind]
    except ValueError:
        pass
    raise UsageError(f"syslog.address {address}: expected {kind}://HOST:PORT")


class Syslog(Output):
    """The output."""

    name = "syslog"

    def prepare(self, context: EngineContext) -> Prepared | None:
        """Check the settings."""
        settings = context.config.syslog
        if settings.address is None:
            return None
        sender, privacy = Sender(settings, settings.address), Privacy(settings.privacy, "syslog")

        def made() -> Outlet:
            return Outlet(
                "syslog", context.counters, sender.deliver, privacy=privacy, severity=settings.severity,
                buffer_bytes=settings.buffer_bytes, patient=not context.live, close=sender.close,
            )  # fmt: skip

        return Prepared(made, frozenset(settings.types))


plugin = Syslog
