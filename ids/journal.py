"""What an operator reads in the engine's log: blocks, and the first alert of each rule. Events have everything."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ids.events import Event, Events
from ids.literal import literal
from ids.respond.gate import BlockOrder

log = logging.getLogger(__name__)

MAX_LINES = 30
"""Lines in `WINDOW_S`: an attack must not fill the disk by the log, nor hide other messages in it."""

WINDOW_S = 60.0

MAX_RULES = 65536
"""Rules whose first alert was logged; a plugin may make up signatures. Alerts of any further ones are not logged."""


class Journal:
    """Writes to the log, at level INFO, at most `MAX_LINES` a window; what was left out is logged as a number."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: set[tuple[int, int]] = set()
        self._window = clock()
        self._lines = 0
        self._left_out = 0

    def events(self, events: Events) -> None:
        """Take note of events: the first alert of each rule is logged."""
        if "alert" in events.counts:
            for event in events:
                if event["event_type"] == "alert":
                    self._alert(event)

    def _alert(self, event: Event) -> None:
        alert = event["alert"]
        rule = alert["gid"], alert["signature_id"]
        if rule in self._logged or len(self._logged) >= MAX_RULES:
            return
        self._logged.add(rule)
        ends = f"{event['src_ip']} to {event['dest_ip']}" if "src_ip" in event else "no IP header"
        self._say(f"first alert of sid {rule[1]}: {literal(alert['signature'])}; {ends}, {alert['action']}")

    def block(self, order: BlockOrder) -> None:
        """Take note of a block that the kernel has."""
        verb = "blocked" if order.mode.value == "enforce" else "counted only (shadow)"
        self._say(f"{order.network} {verb} for {order.ttl_s} s by sid {order.sid}")

    def tick(self) -> None:
        """Begin a new window when the last one is over; to be called now and then."""
        now = self._clock()
        if now - self._window < WINDOW_S:
            return
        if self._left_out:
            log.info("... and %d more blocks or first alerts in the last minute", self._left_out)
        self._window, self._lines, self._left_out = now, 0, 0

    def _say(self, line: str) -> None:
        self.tick()
        if self._lines >= MAX_LINES:
            self._left_out += 1
            return
        self._lines += 1
        log.info("%s", line)
