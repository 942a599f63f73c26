"""Addresses whose loss would cut this host off: its own, its gateways' and its resolvers'."""

from __future__ import annotations

import ipaddress
import json
import logging
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ids.types import IPAddress

log = logging.getLogger(__name__)


def own_addresses(resolv_conf: Path = Path("/etc/resolv.conf")) -> frozenset[IPAddress]:
    """Return the addresses of all interfaces, all next hops and all resolvers of this network namespace.

    What cannot be read is logged and left out; it is read again at the next refresh.
    """
    found = interface_addresses()
    for family in ("-4", "-6"):
        for route in _ip(family, "route"):
            hops = [route, *route.get("nexthops", [])]
            found.update(_addresses(hop.get("gateway") for hop in hops))
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
        found.update(_addresses(line.split()[1].split("%")[0] for line in lines if line.startswith("nameserver ")))
    except (OSError, IndexError) as error:
        log.warning("resolvers are not protected from blocks: %s cannot be read: %s", resolv_conf, error)
    return frozenset(found)


def interface_addresses() -> set[IPAddress]:
    """Return the addresses of all interfaces of this network namespace."""
    links = _ip("address")
    return {found for link in links for found in _addresses(info.get("local") for info in link.get("addr_info", []))}


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        answer = subprocess.run(["ip", "-j", *words], capture_output=True, timeout=5, check=True)
        parsed: list[dict[str, Any]] = json.loads(answer.stdout or b"[]")
        return parsed
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        log.warning("own addresses are not protected from blocks: ip -j %s: %s", " ".join(words), error)
        return []


def _addresses(texts: Iterable[Any]) -> set[IPAddress]:
    found: set[IPAddress] = set()
    for text in texts:
        try:
            found.add(ipaddress.ip_address(text))
        except ValueError:
            continue
    return found
