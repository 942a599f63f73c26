"""CIP in EtherNet/IP (CIP Networks Library, volume 1): which service is asked of which class, instance, attribute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_SERVICES = 64
"""Services of one message that are read; Suricata reads 33. Every further one in a packet of several is passed over."""
MAX_SEGMENTS = 32
"""Segments of a path that are read: one to a device is a handful."""
MAX_ATTRIBUTES = 128
"""Attributes of a list that are read."""
_ANSWERS = 0x80
"""Bit of a service: it is the answer to one."""
_LISTS, _SET_LIST = (3, 4), 4
_SEVERAL, _UNCONNECTED = 0x0A, 0x52
_SERVICES = {
    1: "Get Attributes All", 2: "Set Attributes All", 3: "Get Attribute List", 4: "Set Attribute List", 5: "Reset",
    6: "Start", 7: "Stop", 8: "Create", 9: "Delete", 10: "Multiple Service Packet", 13: "Apply Attributes",
    14: "Get Attribute Single", 16: "Set Attribute Single", 17: "Find Next Object Instance", 21: "Restore",
    22: "Save", 23: "No Operation", 24: "Get Member", 25: "Set Member", 26: "Insert Member", 27: "Remove Member",
    28: "Group Sync",
}  # fmt: skip
_OF_CONNECTIONS = {0x4E: "Forward Close", 0x52: "Unconnected Send", 0x54: "Forward Open", 0x5B: "Large Forward Open"}
_CLASSES = {
    1: "Identity", 2: "Message Router", 3: "DeviceNet", 4: "Assembly", 5: "Connection", 6: "Connection Manager",
    0x0F: "Parameter", 0x37: "File", 0x43: "Time Sync", 0x47: "Device Level Ring", 0xF5: "TCP/IP Interface",
    0xF6: "Ethernet Link",
}  # fmt: skip
_CONNECTION_MANAGER = 6
_SEGMENTS = ("class", "instance", "member", "connection_point", "attribute", "special", "service_id", "extended")
_STATUSES = {
    0: "Success", 1: "Connection failure", 2: "Resource unavailable", 3: "Invalid parameter value",
    4: "Path segment error", 5: "Path destination unknown", 6: "Partial transfer", 8: "Service not supported",
    9: "Invalid attribute value", 12: "Object state conflict", 14: "Attribute not settable", 15: "Privilege violation",
    16: "Device state conflict", 19: "Not enough data", 20: "Attribute not supported", 22: "Object does not exist",
    30: "Embedded service error",
}  # fmt: skip


@dataclass(slots=True)
class Service:
    """A service that is asked for, or answered."""

    code: int
    answers: bool
    path: list[tuple[str, int]] = field(default_factory=list)
    """Kinds of segments and their values."""
    attributes: list[int] = field(default_factory=list)
    status: int = 0
    inner: list[Service] = field(default_factory=list)
    """Those within a packet of several, or within one that is passed on."""

    def first(self, kind: str) -> int | None:
        """Return the value of the first segment of a kind."""
        return next((value for name, value in self.path if name == kind), None)

    def all(self) -> Iterator[Service]:
        """Yield it, and those within it."""
        yield self
        for one in self.inner:
            yield from one.all()

    def asked(self) -> Iterator[bytes]:
        """Yield what rules test: ``service``, ``service,class`` and ``service,class,attribute``, decimal."""
        if self.answers:
            return
        yield b"%d" % self.code
        of = self.first("class")
        if of is None:
            return
        yield b"%d,%d" % (self.code, of)
        named = self.first("attribute")
        for attribute in self.attributes if named is None else (named, *self.attributes):
            yield b"%d,%d,%d" % (self.code, of, attribute)

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs."""
        of = self.first("class")
        names = {**_SERVICES, **_OF_CONNECTIONS} if of in (None, _CONNECTION_MANAGER) else _SERVICES
        said: dict[str, Any] = {"service": names.get(self.code, f"Unknown-{self.code}")}
        if self.answers:
            said["status"] = _STATUSES.get(self.status, f"Unknown-{self.status}")
        if self.path:
            said["path"] = [{"segment_type": kind, "value": value} for kind, value in self.path]
        if of in _CLASSES:
            said["class_name"] = _CLASSES[of]
        return said

    def logged(self) -> dict[str, Any]:
        """Return what EVE logs of it and of those within it."""
        said = self.fields()
        if self.inner:
            said["multiple"] = [one.fields() for of in self.inner for one in of.all()]
        return said


class Budget:
    """How many more services of one message are read."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_SERVICES


def service(data: bytes, budget: Budget) -> Service | None:
    """Read a service with all that is within it; None of nothing."""
    if len(data) < 2 or not budget.left:
        return None
    budget.left -= 1
    if data[0] & _ANSWERS:
        found = Service(data[0] & ~_ANSWERS, True, status=data[2] if len(data) > 2 else 0)
        body = data[4 + 2 * data[3] :] if len(data) > 3 else b""
    else:
        end = 2 + 2 * data[1]
        found, body = Service(data[0], False, list(_segments(data[2:end]))), data[end:]
        found.attributes = _attributes(found.code, body)
    if found.code == _SEVERAL:
        found.inner = list(_several(body, budget))
    elif found.code == _UNCONNECTED and not found.answers and found.first("class") == _CONNECTION_MANAGER:
        passed_on = service(body[4 : 4 + int.from_bytes(body[2:4], "little")], budget)
        found.inner = [] if passed_on is None else [passed_on]
    return found


def _several(body: bytes, budget: Budget) -> Iterator[Service]:
    """Yield the services of a packet of several: their number, where each begins, and they."""
    count = min(int.from_bytes(body[:2], "little"), MAX_SERVICES, max(len(body) // 2 - 1, 0))
    starts = [int.from_bytes(body[2 + 2 * at : 4 + 2 * at], "little") for at in range(count)]
    for start, end in zip(starts, [*starts[1:], len(body)], strict=False):
        one = service(body[start : end if end > start else len(body)], budget) if start >= 2 + 2 * count else None
        if one is not None:
            yield one


def _attributes(code: int, body: bytes) -> list[int]:
    """Return the attributes that a list names; of those that are set the first: nobody says how long its value is."""
    if code not in _LISTS:
        return []
    most = 1 if code == _SET_LIST else MAX_ATTRIBUTES
    count = min(int.from_bytes(body[:2], "little"), most, max(len(body) // 2 - 1, 0))
    return [int.from_bytes(body[at : at + 2], "little") for at in range(2, 2 + 2 * count, 2)]


def _segments(path: bytes) -> Iterator[tuple[str, int]]:
    """Yield the logical segments of a path, padded as in messages; ports and symbols between them are passed over."""
    at = 0
    for _ in range(MAX_SEGMENTS):
        if at + 1 >= len(path):
            return
        kind = path[at]
        if kind >> 5 == 1:  # logical
            size = (1, 2, 4, 0)[kind & 3]
            start = at + (1 if size == 1 else 2)
            if not size or start + size > len(path):
                return
            yield _SEGMENTS[kind >> 2 & 7], int.from_bytes(path[start : start + size], "little")
            at = start + size
        elif kind >> 5 == 0:  # a port, and the address of a link
            length = path[at + 1] if kind & 0x10 else 1
            at += (2 if kind & 0x10 else 1) + (2 if kind & 15 == 15 else 0) + length
            at += at & 1
        elif kind == 0x91:  # a symbol
            at += 2 + path[at + 1]
            at += at & 1
        else:
            return
