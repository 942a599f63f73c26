"""Events and changes as rows of the database.

Addresses are 16 bytes, IPv4 as ``::ffff:a.b.c.d``: a network of either family is a range of them, which an index finds.
What comes here was chosen by others (a plugin's signature, a file name in an event), so every value is made to fit.
"""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson

from ids.events import Event, spell
from ids.types import Change, IPNetwork

ALERT_COLUMNS = (
    "ts_ns", "sid", "gid", "rev", "src", "dest", "src_port", "dest_port", "proto", "flow_id",
    "action", "severity", "category", "signature", "event", "client",
)  # fmt: skip
CHANGE_COLUMNS = (
    "ts_ns", "kind", "first", "last", "network", "sid", "label", "mode", "until_ns", "flow_id", "packets", "bytes",
    "user", "uid", "command", "detail",
)  # fmt: skip

MAX_INT = (1 << 63) - 1
"""The largest number of the database's."""
_MAPPED = bytes(10) + b"\xff\xff"

Row = tuple[Any, ...]


def insertion(table: str) -> str:
    """Return the statement that inserts a row into ``alerts`` or ``changes``."""
    columns = {"alerts": ALERT_COLUMNS, "changes": CHANGE_COLUMNS}[table]
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def alert_row(line: bytes, now_ns: int) -> Row:
    """Return the row of an ``alert`` event given as a line of JSON; raises `ValueError` where it is none."""
    event: Event = orjson.loads(line)
    alert = event["alert"]
    ours = event.get("ids", {})
    return (
        _number(ours.get("packet_ts_ns", now_ns)), _number(alert.get("signature_id")), _number(alert.get("gid")),
        _number(alert.get("rev")), packed(event.get("src_ip")), packed(event.get("dest_ip")),
        _port(event.get("src_port")), _port(event.get("dest_port")), str(event.get("proto", "")),
        _number(event.get("flow_id")),
        str(alert.get("action", "")), _number(alert.get("severity")), str(alert.get("category") or ""),
        str(alert.get("signature") or ""), line.decode().rstrip("\n"),
        packed(ours.get("client", {}).get("ip")),
    )  # fmt: skip


def change_row(change: Change, user: str = "", uid: int | None = None, command: str = "") -> Row:
    """Return the row of a change, or of a change by hand, which has a user."""
    label = change.label.encode("utf-8", "replace").decode()
    return (
        _number(change.ts_ns), change.kind, *bounds_of(change.network), str(change.network or ""), _number(change.sid),
        label, change.mode.value if change.mode else "", _number(change.until_ns) if change.until_ns else None,
        _number(change.flow_id), _number(change.packets), _number(change.bytes), user, uid, command,
        spell(dict(change.detail)),
    )  # fmt: skip


def packed(address: Any) -> bytes | None:
    """Return an address, given as text, as 16 bytes; None for what is no address."""
    try:
        raw = ipaddress.ip_address(address).packed
    except ValueError:
        return None
    return _MAPPED + raw if len(raw) == 4 else raw


def bounds_of(network: IPNetwork | None) -> tuple[bytes | None, bytes | None]:
    """Return the first and the last address of a network, 16 bytes each."""
    if network is None:
        return None, None
    first, last = network.network_address.packed, network.broadcast_address.packed
    return (_MAPPED + first, _MAPPED + last) if network.version == 4 else (first, last)


def covering_starts(network: IPNetwork) -> list[bytes]:
    """Return the first addresses of all networks that can hold this one, itself included: 33 or 129 at most."""
    first = int(network.network_address)
    bits = network.max_prefixlen
    masked = {first >> (bits - length) << (bits - length) for length in range(network.prefixlen + 1)}
    raw = [number.to_bytes(bits // 8, "big") for number in masked]
    return [_MAPPED + start for start in raw] if bits == 32 else raw


def _port(value: Any) -> int | None:
    """Return a port; None for what is none."""
    return value if type(value) is int and 0 <= value <= 0xFFFF else None


def _number(value: Any) -> int:
    """Return a whole number that fits."""
    if not isinstance(value, int):
        return 0
    return max(-MAX_INT, min(MAX_INT, value))
