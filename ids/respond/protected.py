"""Addresses whose loss would cut this host off: its own, its gateways' and its resolvers'."""

from __future__ import annotations

import ipaddress
import json
import logging
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ids.later import late_pattern
from ids.types import IPAddress

log = logging.getLogger(__name__)

RESOLV_CONF = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""Where resolvers stand; systemd-resolved names but itself in the first, and those that it asks in the second."""
_INTERFACES = "addresses of interfaces"
_PATIENCE_S = 60.0
"""For all routes of a gateway: some hundred thousand take `ip` a few seconds."""
_HOP = late_pattern(rb"\bvia (?:inet6? )?([0-9A-Fa-f.:]+)")
_AT_ONCE = 64 * 1024
"""Bytes of routes that are looked through together, so that other threads have their turn."""


class Protected:
    """Knows these addresses. A part of them that cannot be read is logged and counted, and stays what it was."""

    def __init__(self, resolv_conf: Sequence[Path] = RESOLV_CONF) -> None:
        self._parts: dict[str, Callable[[], set[IPAddress]]] = {
            _INTERFACES: _of_interfaces,
            "next hops of IPv4": lambda: _hops("-4"),
            "next hops of IPv6": lambda: _hops("-6"),
            "resolvers": lambda: _resolvers(resolv_conf),
        }
        self._known: dict[str, set[IPAddress]] = {}
        self._reading: threading.Thread | None = None
        self.addresses: frozenset[IPAddress] = frozenset()
        """As they were read last."""
        self.failures = 0
        """Parts that could not be read so far, each time."""

    def read(self) -> frozenset[IPAddress]:
        """Read them all; return them."""
        for name, part in self._parts.items():
            try:
                self._known[name] = part()
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                self.failures += 1
                log.warning("what is protected from blocks is not known anew: %s: %s", name, error)
        self.addresses = frozenset().union(*self._known.values())
        return self.addresses

    @property
    def of_interfaces(self) -> set[IPAddress]:
        """This host's own addresses, as they were read last."""
        return set(self._known.get(_INTERFACES, ()))

    def refresh(self) -> None:
        """Read them in a thread, unless that is being done: a gateway with many routes takes seconds."""
        if self._reading is None or not self._reading.is_alive():
            self._reading = threading.Thread(target=self.read, name="protected", daemon=True)
            self._reading.start()

    def wait(self) -> None:
        """Wait until what is being read is known."""
        if self._reading is not None:
            self._reading.join()


def own_addresses(resolv_conf: Sequence[Path] = RESOLV_CONF) -> frozenset[IPAddress]:
    """Return the addresses of all interfaces, all next hops and all resolvers of this network namespace.

    What cannot be read is logged and left out.
    """
    return Protected(resolv_conf).read()


def interface_addresses() -> set[IPAddress]:
    """Return the addresses of all interfaces of this network namespace; none where they cannot be read, which is
    logged.
    """
    try:
        return _of_interfaces()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("addresses of interfaces cannot be read: %s", error)
        return set()


def _of_interfaces() -> set[IPAddress]:
    answer = subprocess.run(["ip", "-j", "address"], capture_output=True, timeout=_PATIENCE_S, check=True)
    links = json.loads(answer.stdout or b"[]")
    return {found for link in links for found in _addresses(info.get("local") for info in link.get("addr_info", []))}


def _hops(family: str) -> set[IPAddress]:
    """Return the next hops of all routes of a family, each once however many routes there are."""
    texts: set[bytes] = set()
    with subprocess.Popen(["ip", family, "route"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        watch = threading.Timer(_PATIENCE_S, process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            rest = b""
            while piece := process.stdout.read(_AT_ONCE):
                whole, _, rest = (rest + piece).rpartition(b"\n")
                texts.update(_HOP.findall(whole))
            texts.update(_HOP.findall(rest))
            if process.wait():
                raise OSError(f"ip {family} route: exit code {process.returncode}")
        finally:
            watch.cancel()
    return _addresses(text.decode() for text in texts)


def _resolvers(files: Sequence[Path]) -> set[IPAddress]:
    """Return the resolvers that some files name; the first of these has to be there."""
    found: set[IPAddress] = set()
    for number, file in enumerate(files):
        try:
            lines = file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            if not number:
                raise
            continue
        words = [line.split() for line in lines]
        found |= _addresses(of[1].partition("%")[0] for of in words if len(of) > 1 and of[0] == "nameserver")
    return found


def _addresses(texts: Iterable[str | None]) -> set[IPAddress]:
    found: set[IPAddress] = set()
    for text in texts:
        try:
            found.add(ipaddress.ip_address(text or ""))
        except ValueError:
            continue
    return found
