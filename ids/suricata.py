"""The settings of a Suricata installation as settings of ours: its ``suricata.yaml``, and its names behind ``--set``.

What has a counterpart here is taken over; what has none is named once, in a warning, and changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

from ids.protocols.http.settings import HttpSettings
from ids.protocols.tls.settings import Logged
from ids.settings.respond import EVENT_TYPES, ExceptionPolicy

log = logging.getLogger(__name__)

Assigned: TypeAlias = dict[str, Any]
"""Settings of ours by their dotted names."""

TOP_KEYS = frozenset((
    "%YAML", "action-order", "af-packet", "af-xdp", "app-layer", "asn1-max-frames", "capture", "classification-file",
    "coredump", "datasets", "decoder", "default-log-dir", "default-packet-size", "default-reputation-path",
    "default-rule-path", "defrag", "detect", "engine-analysis", "exception-policy", "geoip-database", "host",
    "host-mode", "host-os-policy", "include", "ippair", "legacy", "livedev", "logging", "max-pending-packets",
    "mpm-algo", "multi-detect", "netmap", "nfq", "nflog", "outputs", "packet-alert-max", "pcap", "pcap-file", "pcre",
    "profiling", "reference-config-file", "reputation-categories-file", "reputation-files", "rule-files", "run-as",
    "runmode", "security", "spm-algo", "stats", "suricata-version", "threading", "threshold-file", "unix-command",
    "vlan",
))  # fmt: skip
"""Settings on the top level that Suricata has and we have not."""

_ALERTS = 15
"""Of one packet, where nothing is said."""

_PASSIVE: Assigned = {
    "respond.mode": "off", "protocols.ike.record": 1, "eve.full_ipv6": True,
    "eve.community_id_turned": True, "respond.alerts_per_packet": _ALERTS,
}  # fmt: skip
"""Suricata drops nothing, and says so in its events, unless it stands in the way of the packets. Its `ike` events are
those of version 7, and its events spell addresses with all their zeros; of two ends with one address it orders the
ports otherwise than others do."""

INLINE: Assigned = {"respond.mode": "enforce", "respond.inspect_dropped": False, "respond.drop_packets": True}
"""Suricata inspects nothing more of a flow that it drops, and drops single packets too."""

_EVENT_TYPES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in EVENT_TYPES if name not in ("fileinfo", "packet")},
    "ftp": ("ftp", "ftp_data"), "http2": ("http",), "files": ("fileinfo",), "bittorrent-dht": ("bittorrent_dht",),
}  # fmt: skip
_OF_PROTOCOLS = {
    "dhcp": ("extended", "extended"), "mqtt": ("passwords", "passwords"), "quic": ("ja4", "ja4_in_events"),
    "pgsql": ("passwords", "passwords"), "tls": ("ja4", "ja4_in_events"),
}  # fmt: skip
"""By event type: an option of it, and our setting under ``protocols``."""
ALL_ANOMALIES = 1_000_000
"""Of a kind in a second: more packets than there are."""

_DROP_FLOWS = {"all": "all", "start": "start"}

_POLICIES = {"old-linux": "old-linux", "oldlinux": "old-linux", "bsd-right": "bsd-right", "bsdright": "bsd-right"}
_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_UNLIMITED = 1 << 40
_MOST_BODY = 1 << 30
_HASHES = ("md5", "sha1", "sha256")
_BYTERANGE = "app-layer.protocols.http.byterange."
_LIBHTP = "app-layer.protocols.http.libhtp.default-config."


def is_suricatas(data: object) -> bool:
    """Return whether a YAML document is a ``suricata.yaml``."""
    return isinstance(data, dict) and not TOP_KEYS.isdisjoint(data)


def settings_of(data: Mapping[str, Any], path: str) -> Assigned:
    """Return what a ``suricata.yaml`` says of what there is here."""
    assigned: Assigned = dict(_PASSIVE)
    left: list[str] = []
    home = Path(path).parent
    for key, value in _leaves(data):
        taken = setting_of(key, value, home)
        if taken is None:
            left.append(key)
        else:
            assigned.update(taken)
    if "files.store_file_bytes" in assigned:  # what a stream is read to, is stored
        depth = min(assigned.get("stream.depth_bytes", 0), _MOST_BODY)
        if depth < _MOST_BODY:
            assigned["files.store_file_bytes"] = max(assigned["files.store_file_bytes"], depth)
    if assigned.get("files.store_all") and "files.store_file_bytes" in assigned:
        for side in ("request", "response"):  # of what is stored, its own limit counts
            name = f"protocols.http.{side}_body_bytes"
            assigned[name] = max(assigned.get(name, 0), assigned["files.store_file_bytes"])
    rules = data.get("rule-files")
    if isinstance(rules, list):
        base = Path(str(data.get("default-rule-path") or home))
        assigned["rules.paths"] = [str(base / str(name)) for name in rules]
    lists = data.get("reputation-files")
    if isinstance(lists, list):
        base = home / str(data.get("default-reputation-path") or "")
        assigned["rules.reputation_files"] = [str(base / str(name)) for name in lists]
    if left:
        names = ", ".join(sorted({".".join(name.split(".")[:2]) for name in left}))
        log.warning("%s: these settings of Suricata have no counterpart here and change nothing: %s", path, names)
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
    "flow.hash-size", "flow.managers", "flow.prealloc", "flow.recyclers", "stream.bypass",
    "stream.inline", "stream.max-syn", "stream.prealloc", "stream.reassembly.",
    "vars.address-groups.", "vars.port-groups.",
)  # fmt: skip
"""Beginnings of Suricata's names in groups that we have too."""


_TOGETHER = ("default-rule-path", "rule-files", "default-reputation-path", "reputation-files")
"""Names of files, and where these are."""


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in _TAKEN:
            yield from _leaves(value, f"{key}.")
        elif key not in _TOGETHER:
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


def _outputs(value: Any, _home: Path) -> Assigned:
    """Take over which events are written, and what is in them; of several EVE outputs, what one of them has."""
    taken: Assigned = {}
    types: list[str] = []
    for output in value if isinstance(value, list) else ():
        store = output.get("file-store") if isinstance(output, Mapping) else None
        if isinstance(store, Mapping) and _true(store.get("enabled", "yes")):
            taken |= _store(store)
        eve = output.get("eve-log") if isinstance(output, Mapping) else None
        if not isinstance(eve, Mapping) or not _true(eve.get("enabled", "yes")):
            continue
        taken |= _forwarded(eve.get("xff"))
        if _true(eve.get("ethernet")):
            taken["eve.ethernet"] = True
        if "community-id-seed" in eve:
            taken |= _seed(eve["community-id-seed"])
        for name, options in _named(eve.get("types")):
            types += _EVENT_TYPES.get(name, ())
            if not _true(options.get("enabled", "yes")):
                types = [kind for kind in types if kind not in _EVENT_TYPES.get(name, ())]
            elif name == "alert":
                taken |= _alerts(options)
            elif name == "http":
                taken |= _http(options)
            elif name in _OF_PROTOCOLS:
                taken |= _of_protocol(name, options)
            elif name == "drop":
                taken |= _drops(options)
            elif name == "anomaly":
                taken |= _anomalies(options)
            elif name == "files":
                taken |= _files(options)
            elif name == "dns":
                taken |= _dns(options)
    if "files.store_dir" in taken:
        named = taken.get("files.hashes", [])
        taken["files.hashes"] = [name for name in _HASHES if name in named or name == "sha256"]
    if taken.get("eve.tagged_packets"):
        types.append("packet")
    return taken | ({"eve.types": list(dict.fromkeys(types))} if types else {})


def _of_protocol(name: str, options: Mapping[str, Any]) -> Assigned:
    """Return what is said of a protocol's events."""
    theirs, ours = _OF_PROTOCOLS[name]
    taken: Assigned = {f"protocols.{name}.{ours}": _true(options[theirs])} if theirs in options else {}
    wanted = options.get("custom")
    if name == "tls" and isinstance(wanted, list):
        taken["protocols.tls.logged"] = [one for one in map(str, wanted) if one in get_args(Logged)]
    return taken


def _named(types: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the event types of an output, each with its options."""
    for entry in types if isinstance(types, list) else ():
        if isinstance(entry, Mapping):
            for name, options in entry.items():
                yield str(name), options if isinstance(options, Mapping) else {}
        else:
            yield str(entry), {}


def _anomalies(options: Mapping[str, Any]) -> Assigned:
    """Return which anomalies are reported, and of each kind of odd packet how many, if that is said."""
    kinds = options.get("types")
    if not isinstance(kinds, Mapping):
        return {"eve.anomalies": ["applayer"]}
    taken: Assigned = {"eve.anomalies": [kind for kind in ("stream", "applayer") if _true(kinds.get(kind))]}
    return taken | (
        {"eve.packet_anomalies": ALL_ANOMALIES if _true(kinds["decode"]) else 0} if "decode" in kinds else {}
    )


def _alerts(options: Mapping[str, Any]) -> Assigned:
    wanted = {
        "payload": "payload", "payload-printable": "payload_printable", "packet": "packet",
        "tagged-packets": "tagged_packets", "verdict": "verdict",
    }  # fmt: skip
    taken: Assigned = {f"eve.{ours}": True for theirs, ours in wanted.items() if _true(options.get(theirs))}
    taken |= _forwarded(options.get("xff"))
    with contextlib.suppress(ValueError):
        taken["eve.payload_bytes"] = min(max(_bytes(options.get("payload-buffer-size")), 64), 65_536)
    return taken


def _forwarded(options: Any) -> Assigned:
    if not isinstance(options, Mapping) or not _true(options.get("enabled")):
        return {}
    taken: Assigned = {"eve.xff": "overwrite" if options.get("mode") == "overwrite" else "extra"}
    if options.get("deployment") in ("reverse", "forward"):
        taken["eve.xff_deployment"] = options["deployment"]
    if options.get("header"):
        taken["eve.xff_header"] = str(options["header"])
    return taken


def _seed(value: Any) -> Assigned:
    """Return the seed of Community IDs; one that is no 16-bit number is none."""
    text = str(value)
    return {"eve.community_id_seed": int(text)} if re.fullmatch(r"\d{1,5}", text) and int(text) < 1 << 16 else {}


def _dns(options: Mapping[str, Any]) -> Assigned:
    sides = {"query": ("requests", "query"), "answer": ("responses", "answer")}
    off = {side for side, names in sides.items() for name in names if name in options and not _true(options[name])}
    return {"eve.dns": [side for side in sides if side not in off]} if off else {}


def _http(options: Mapping[str, Any]) -> Assigned:
    """Return which headers are in events; whose all of them are, else those that are named."""
    names, whose = options.get("custom"), str(options.get("dump-all-headers"))
    taken: Assigned = (
        {"protocols.http.logged_header_names": [str(name) for name in names]} if isinstance(names, list) else {}
    )
    if whose in get_args(HttpSettings.model_fields["logged_headers"].annotation):
        taken["protocols.http.logged_headers"] = whose
    return taken


def _drops(options: Mapping[str, Any]) -> Assigned:
    taken: Assigned = {"eve.drop_flows": _DROP_FLOWS.get(str(options.get("flows")), "start")}
    if _true(options.get("alerts")):
        taken["eve.drop_alert"] = True
    if _true(options.get("verdict")):
        taken["eve.verdict"] = True
    return taken


def _files(options: Mapping[str, Any]) -> Assigned:
    taken: Assigned = {}
    hashes = options.get("force-hash")
    named = [str(name).lower() for name in hashes] if isinstance(hashes, list) else []
    if _true(options.get("force-md5")):
        named.append("md5")
    if named := [name for name in _HASHES if name in named]:
        taken["files.hashes"] = named
    if _true(options.get("force-magic")):
        taken["files.magic"] = True
    return taken


def _store(options: Mapping[str, Any]) -> Assigned:
    taken: Assigned = {"files.store_dir": str(options.get("dir") or "filestore")}
    if _true(options.get("force-filestore")):
        taken["files.store_all"] = True
        with contextlib.suppress(ValueError):
            depth = _bytes(options.get("stream-depth", _MOST_BODY)) or _MOST_BODY
            taken["files.store_file_bytes"] = min(max(depth, 1), _MOST_BODY)
    return taken


def _body_bytes(setting: str) -> Callable[[Any, Path], Assigned]:
    """Return what takes a limit of bodies over; 0 is none."""
    return lambda value, _: {setting: min(_bytes(value), _MOST_BODY) or _MOST_BODY}


def _policy(setting: str) -> Callable[[Any, Path], Assigned]:
    """Return what takes an exception policy over; those for single packets have no counterpart for connections."""

    def taken(value: Any, _home: Path) -> Assigned:
        word = str(value).lower()
        if word in get_args(ExceptionPolicy):
            return {setting: word}
        log.warning("the exception policy %s has no counterpart here, so %s stays as it is", word, setting)
        return {}

    return taken


def _alerts_per_packet(value: Any, _home: Path) -> Assigned:
    most = int(value) if str(value).isdecimal() else 0
    return {"respond.alerts_per_packet": min(most, 65_535) or _ALERTS}


def _range_timeout(value: Any, _home: Path) -> Assigned:
    seconds = int(value) if str(value).isdecimal() else 0
    return {"files.range_timeout_s": seconds} if seconds else {}


def _actions(value: Any, _home: Path) -> Assigned:
    return {"respond.action_order": [str(name) for name in value]} if isinstance(value, list) else {}


def _capture(value: Any, _home: Path) -> Assigned:
    """Take over whether Suricata stands in the way of the packets of an interface."""
    entries = value if isinstance(value, list) else ()
    inline = any(isinstance(entry, Mapping) and entry.get("copy-mode") == "ips" for entry in entries)
    return dict(INLINE) if inline else {}


_TAKEN: dict[str, Callable[[Any, Path], Assigned]] = {
    "stream.midstream": lambda value, _: {"stream.midstream": _true(value)},
    "stream.async-oneside": lambda value, _: {"stream.midstream": True} if _true(value) else {},  # both are half a flow
    "detect.guess-applayer-tx": lambda value, _: {"eve.guess_exchange": _true(value)},
    "stream.midstream-policy": _policy("stream.midstream_policy"),
    "exception-policy": _policy("respond.exception_policy"),
    "stream.checksum-validation": lambda value, _: {"decode.checksums": "all" if _true(value) else "none"},
    "stream.reassembly.depth": _depth,
    "stream.memcap": lambda value, _: {"stream.memcap_bytes": _bytes(value)},
    "defrag.memcap": lambda value, _: {"decode.defrag.memcap_bytes": _bytes(value)},
    "host-os-policy": _policies,
    "threshold-file": _file("rules.threshold_file"),
    "classification-file": _file("rules.classification_file"),
    "reference-config-file": _file("rules.reference_file"),
    "geoip-database": _file("rules.geoip_database"),
    "reputation-categories-file": _file("rules.reputation_categories"),
    "stream.inline": lambda value, _: dict(INLINE) if _true(value) else {},
    f"{_LIBHTP}request-body-limit": _body_bytes("protocols.http.request_body_bytes"),
    f"{_LIBHTP}response-body-limit": _body_bytes("protocols.http.response_body_bytes"),
    f"{_BYTERANGE}memcap": lambda value, _: {"files.range_memcap_bytes": _bytes(value)},
    f"{_BYTERANGE}timeout": _range_timeout,
    "outputs": _outputs,
    "action-order": _actions,
    "packet-alert-max": _alerts_per_packet,
    "af-packet": _capture,
}
