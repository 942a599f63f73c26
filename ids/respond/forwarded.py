"""Whom a reverse proxy speaks for: the address in a header of the latest request of each connection.

Anybody can write such a header. It is shown, in the place of an address only where the settings say so, and decides
nothing: blocks are for the address that the packets came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from ids.respond.settings import EveSettings
from ids.types import Direction, Flow, FlowColumns, Transaction

MAX_VALUE_BYTES = 1024
"""Of the header; of a longer one, whose addresses nobody added by hand, nothing is taken."""


class Forwarded:
    """Remembers an address of each connection over HTTP, as long as that lives, where the settings ask for it."""

    def __init__(self, flows: FlowColumns) -> None:
        self._kept = flows.place(list[str])
        self._header = b""
        self._last = True

    def configure(self, settings: EveSettings) -> None:
        """Go on by these settings."""
        self._header = settings.xff_header.lower().encode("latin-1", "replace") if settings.xff != "off" else b""
        self._last = settings.xff_deployment == "reverse"

    @property
    def wanted(self) -> bool:
        """The settings ask for it."""
        return bool(self._header)

    def note(self, transactions: Iterable[Transaction]) -> None:
        """Take the requests of a batch."""
        for row in transactions:
            if row.protocol == "http" and row.direction == Direction.TO_SERVER:
                address = self._address(row)
                if address or row.flow.id in self._kept.by_id:
                    self._kept.of(row.flow)[:] = [address]

    def of(self, flow: Flow) -> str:
        """Return the address of the latest request; empty where it named none."""
        kept = self._kept.get(flow)
        return kept[0] if kept else ""

    def _address(self, request: Transaction) -> str:
        for line in request.instances("http.request_header"):
            name, _, value = line.partition(b":")
            if name.lower() == self._header and len(value) <= MAX_VALUE_BYTES:
                return address_of(value, last=self._last)
        return ""


def address_of(value: bytes, *, last: bool) -> str:
    """Return the first or the last address of a list with commas, without its port; empty where it is none."""
    words = value.decode("latin-1").split(",")
    word = words[-1 if last else 0].strip().strip('"')
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    if "%" in word:
        return ""
    try:
        return str(ip_address(word))
    except ValueError:
        return ""
