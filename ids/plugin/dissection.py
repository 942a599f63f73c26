"""Finds tests on Scapy fields that no packet can pass: of layers and fields that Scapy does not have, or never so."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from ids.errors import RuleError
from ids.later import late_pattern
from ids.rules.model.buffers import TRANSPORT_PROTOCOLS, nearest, unrecognised
from ids.rules.model.rule import Rule, ScapyField, Traffic, leaves

_MAC = late_pattern(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_NUMBERS = frozenset("bBhHiIlLqQ")
"""Formats of `struct` that are numbers."""


TRANSPORTS = {"TCP": 6, "UDP": 17, "ICMP": 1, "SCTP": 132}
"""Layers that only packets of one IP protocol have, but for what is around a tunnel."""


def impossible_fields(rules: Iterable[Rule]) -> list[tuple[Rule, RuleError]]:
    """Return an error for each test on a Scapy field that can never hold, with its rule.

    Scapy takes a third of a second to import, so it is for rules with such a test alone.
    """
    rules = (rule for rule in rules if rule.needs_scapy)
    tests = [(rule, leaf) for rule in rules for leaf in leaves(rule.condition) if isinstance(leaf, ScapyField)]
    if not tests:
        return []
    layers = _layers()
    found = (
        (rule, test.place or rule.source, _refusal(test, layers) or _contradiction(test, rule.traffic))
        for rule, test in tests
    )
    return [
        (rule, RuleError(f"sid {rule.signature.sid}: {why[0]}", place, why[1])) for rule, place, why in found if why
    ]


def _layers() -> dict[str, dict[str, Any]]:
    """Return the fields of each layer that packets are dissected into, by the names that it answers to."""
    from scapy.config import conf
    from scapy.layers import all as _all  # noqa: F401  registers them

    layers: dict[str, dict[str, Any]] = {}
    for layer in conf.layers:
        for name in (layer.__name__, layer._name):
            layers.setdefault(str(name), {}).update({field.name: field for field in layer.fields_desc})
    return layers


def _refusal(test: ScapyField, layers: dict[str, dict[str, Any]]) -> tuple[str, str] | None:
    """Return why a test can never hold, and what to do."""
    fields = layers.get(test.layer)
    if fields is None:
        return f"Scapy has no layer {test.layer!r}: the rule can never match", nearest(test.layer, list(layers))
    if test.name not in fields:
        why = f"{test.layer} of Scapy has no field {test.name!r}: the rule can never match"
        return why, nearest(test.name, list(fields))
    remedy = _other_value(fields[test.name], test.value)
    if remedy is None:
        return None
    return f"{test.layer}.{test.name} of Scapy is never {test.value!r}: the rule can never match", remedy


def _contradiction(test: ScapyField, traffic: Traffic) -> tuple[str, str] | None:
    """Return why no packet of this traffic has the layer, and what to do."""
    number = TRANSPORTS.get(test.layer)
    if number is None:
        return None
    name = traffic.app_proto
    fits = traffic.carried_by(number) if name is None else unrecognised(name, number) is None
    if fits:
        return None
    carrier = test.layer.lower() if test.layer.lower() in TRANSPORT_PROTOCOLS else "ip"
    return (
        f"packets of {traffic.protocol} traffic have no layer {test.layer}: the rule can never match",
        f"write {carrier} in traffic, or ip where the packet around a tunnel is meant",
    )


def _other_value(field: Any, value: int | str) -> str | None:
    """Return what to write in place of a value that a field never has; None where it may have it, or nobody knows."""
    from scapy.fields import BitField, Field, FlagsField, IP6Field, IPField, MACField

    field = getattr(field, "fld", field)  # of one that is there under a condition
    if isinstance(field, FlagsField):
        return _other_flags(field, value)
    if isinstance(field, IPField | IP6Field):
        return None if _is_address(value, 6 if isinstance(field, IP6Field) else 4) else "write one address"
    if isinstance(field, MACField):
        good = isinstance(value, str) and _MAC.fullmatch(value)
        return None if good else "write it as 'aa:bb:cc:00:11:22', in lower case"
    if isinstance(field, BitField):
        return _other_number(field, value, abs(int(field.size)))
    if type(field).getfield is Field.getfield and field.fmt[-1:] in _NUMBERS:
        return _other_number(field, value, 8 * int(field.sz))
    return None


def _other_flags(field: Any, value: int | str) -> str | None:
    known = [str(name) for name in field.names if str(name).strip()]
    several = isinstance(field.names, list)  # of more than a letter
    if isinstance(value, int):
        return None if 0 <= value < 1 << abs(int(field.size)) else f"combine {', '.join(known)}"
    parts = value.split("+") if several else list(value)
    if parts and all(part in known for part in parts):
        return None
    together = "+".join(known[:2]) if several else "".join(known[:2])
    return f"write its flags as Scapy does: {', '.join(known)}; two of them are {together!r}"


def _other_number(field: Any, value: int | str, bits: int) -> str | None:
    if isinstance(value, str):
        named = getattr(field, "s2i", {}).get(value)
        if isinstance(named, int):
            return f"write {named}"
        if not value.isdecimal() or str(int(value)) != value:
            return "write a number"
        value = int(value)
    return None if -(1 << bits - 1) <= value < 1 << bits else f"it has {bits} bits"


def _is_address(value: int | str, version: int) -> bool:
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return address is not None and address.version == version and str(address) == value
