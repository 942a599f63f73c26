"""What a service shows systemd over its notification socket: sd_notify(3), which is a datagram of ``NAME=value`` lines.

A sign of life comes from the engine's own loop, once a second: a loop that hangs sends none, and `WatchdogSec` of the
unit ends the process and starts it again. The gate and its blocks are in the kernel meanwhile.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

log = logging.getLogger(__name__)

BEAT_S = 1.0
"""Shortest time between two signs of life."""
STATUS_S = 10.0
"""Shortest time between two lines of status that differ."""
PATIENCE_S = 1.0
"""How long a change of state waits for room in the receiver's queue: it comes once, and signs of life come again."""
MAX_STATUS = 400
"""Characters of a status: systemd keeps it for one line of `systemctl status`."""


class Notifier:
    """The way to whoever supervises this process; without one, everything here does nothing.

    A message that does not arrive is no failure of the engine: the supervisor may be starting again itself.
    """

    def __init__(self, address: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """``address`` is a socket's path, or a name of the abstract kind that begins with ``@``."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._beaten = self._stated = float("-inf")
        self._status = ""
        self._failed = False
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Take the socket that systemd named, and hide it from programs that this one starts."""
        address = environment.pop("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else "")

    @property
    def supervised(self) -> bool:
        """Whether somebody is to be shown anything."""
        return self._socket is not None

    def ready(self, status: str = "") -> None:
        """Report that packets are being inspected, at the start or again after `reloading`."""
        self._send("READY=1", *self._worded(status), patience_s=PATIENCE_S)
        self.beat()

    def beat(self, status: str = "") -> None:
        """Show that the loop goes on; as often as one likes."""
        now = self._clock()
        if now - self._beaten >= BEAT_S:
            self._beaten = now
            self._send("WATCHDOG=1")
        if status and status != self._status and now - self._stated >= STATUS_S:
            self._send(*self._worded(status))

    def reloading(self) -> None:
        """Report the beginning of a reload; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(
            "RELOADING=1",
            f"MONOTONIC_USEC={now_us}",
            "STATUS=loading rules and settings",
            patience_s=PATIENCE_S,
        )

    def stopping(self, status: str = "stopping") -> None:
        """Report that the end has begun."""
        self._send("STOPPING=1", *self._worded(status), patience_s=PATIENCE_S)

    def status(self, status: str) -> None:
        """Say in one line what is going on."""
        self._send(*self._worded(status))

    def close(self) -> None:
        """Close the socket: nothing more is shown."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _worded(self, status: str) -> list[str]:
        if not status:
            return []
        self._status, self._stated = status, self._clock()
        return ["STATUS=" + " ".join(status.split())[:MAX_STATUS]]

    def _send(self, *lines: str, patience_s: float = 0.0) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.settimeout(patience_s)  # the queue takes some ten messages; packets do not wait for it
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd cannot be notified: %s", error.strerror or error)
            self._failed = True
        else:
            self._failed = False
