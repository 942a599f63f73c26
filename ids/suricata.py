"""The settings of a Suricata installation as settings of ours: its ``suricata.yaml``, and its names behind ``--set``.

What has a counterpart here is taken over; what has none is named once in the log, and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

log = logging.getLogger(__name__)

Assigned: TypeAlias = dict[str, Any]
"""Settings of ours by their dotted names."""

TOP_KEYS = frozenset((
    "%YAML", "action-order", "af-packet", "af-xdp", "app-layer", "asn1-max-frames", "capture", "classification-file",
    "coredump", "datasets", "decoder", "default-log-dir", "default-packet-size", "default-rule-path", "defrag",
    "detect", "engine-analysis", "exception-policy", "host", "host-mode", "host-os-policy", "include", "ippair",
    "legacy", "livedev", "logging", "max-pending-packets", "mpm-algo", "multi-detect", "netmap", "nfq", "nflog",
    "outputs", "packet-alert-max", "pcap", "pcap-file", "pcre", "profiling", "reference-config-file",
    "rule-files", "run-as", "runmode", "security", "spm-algo", "stats", "suricata-version", "threading",
    "threshold-file", "unix-command", "vlan",
))  # fmt: skip
"""Settings on the top level that Suricata has and we have not."""

_POLICIES = {"old-linux": "old-linux", "oldlinux": "old-linux", "bsd-right": "bsd-right", "bsdright": "bsd-right"}
_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_UNLIMITED = 1 << 40


def is_suricatas(data: object) -> bool:
    """Return whether a YAML document is a ``suricata.yaml``."""
    return isinstance(data, dict) and not TOP_KEYS.isdisjoint(data)


def settings_of(data: Mapping[str, Any], path: str) -> Assigned:
    """Return what a ``suricata.yaml`` says of what there is here."""
    assigned: Assigned = {}
    left: list[str] = []
    home = Path(path).parent
    for key, value in _leaves(data):
        taken = setting_of(key, value, home)
        if taken is None:
            left.append(key)
        else:
            assigned.update(taken)
    rules = data.get("rule-files")
    if isinstance(rules, list):
        base = Path(str(data.get("default-rule-path") or home))
        assigned["rules.paths"] = [str(base / str(name)) for name in rules]
    if left:
        names = ", ".join(sorted({".".join(name.split(".")[:2]) for name in left}))
        log.info("%s: these settings of Suricata have no counterpart here and change nothing: %s", path, names)
    return assigned


def setting_of(key: str, value: Any, home: Path = Path()) -> Assigned | None:
    """Return one setting of Suricata, by its dotted name, as settings of ours; None where there is none.

    ``home``: the directory from which names of files count.
    """
    for prefix, group in (("vars.address-groups.", "vars."), ("vars.port-groups.", "vars.")):
        if key.startswith(prefix):
            members = [str(one) for one in value] if isinstance(value, list) else str(value)
            return {group + key.removeprefix(prefix): members}
    known = _TAKEN.get(key)
    if known is not None:
        return known(value, home)
    return None


def is_suricatas_name(key: str) -> bool:
    """Return whether a dotted name behind ``--set`` is Suricata's, and none of ours."""
    return key in _TAKEN or key.partition(".")[0] in TOP_KEYS or key.startswith(_IN_OUR_GROUPS)


_IN_OUR_GROUPS = (
    "flow.hash-size", "flow.managers", "flow.prealloc", "flow.recyclers", "stream.async-oneside", "stream.bypass",
    "stream.inline", "stream.max-syn", "stream.midstream-policy", "stream.prealloc", "stream.reassembly.",
    "vars.address-groups.", "vars.port-groups.",
)  # fmt: skip
"""Beginnings of Suricata's names in groups that we have too."""


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in _TAKEN:
            yield from _leaves(value, f"{key}.")
        elif key not in ("default-rule-path", "rule-files"):
            yield key, value


def _bytes(value: Any) -> int:
    """Read a size as Suricata spells it: ``100kb``, ``1mb``, a number."""
    text = str(value).strip().lower().replace(" ", "")
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text.removesuffix("b"))


def _true(value: Any) -> bool:
    return str(value).lower() in ("yes", "true", "on", "1")


def _depth(value: Any, _home: Path) -> Assigned:
    return {"stream.depth_bytes": min(_bytes(value), _UNLIMITED) or _UNLIMITED}


def _policies(value: Any, _home: Path) -> Assigned:
    taken: Assigned = {}
    networks: dict[str, str] = {}
    for name, members in (value or {}).items():
        for network in members or ():
            if str(network) in ("0.0.0.0/0", "::/0", "::0/0"):
                taken["stream.policy"] = _POLICIES.get(name, name)
            else:
                networks[str(network)] = _POLICIES.get(name, name)
    return {**taken, **({"stream.policies": networks} if networks else {})}


def _file(setting: str) -> Callable[[Any, Path], Assigned]:
    """Return what takes a file over; one that is not there is no fault, as to Suricata it is none."""

    def taken(value: Any, home: Path) -> Assigned:
        path = home / str(value)
        if path.is_file():
            return {setting: str(path)}
        log.warning("%s is not there, so %s stays as it is", path, setting)
        return {}

    return taken


_TAKEN: dict[str, Callable[[Any, Path], Assigned]] = {
    "stream.midstream": lambda value, _: {"stream.midstream": _true(value)},
    "stream.checksum-validation": lambda value, _: {"decode.checksums": "all" if _true(value) else "none"},
    "stream.reassembly.depth": _depth,
    "stream.memcap": lambda value, _: {"stream.memcap_bytes": _bytes(value)},
    "defrag.memcap": lambda value, _: {"decode.defrag.memcap_bytes": _bytes(value)},
    "host-os-policy": _policies,
    "threshold-file": _file("rules.threshold_file"),
    "classification-file": _file("rules.classification_file"),
    "reference-config-file": _file("rules.reference_file"),
    "stream.inline": lambda value, _: {"respond.mode": "enforce"} if _true(value) else {},
}
