"""What three engines take the flows of captures for: ours, Suricata, nDPI's reader.

Ours replays all captures in one process. The others are started anew for each capture, for flows of one must not go on
in the next; what they say of a capture is kept in ``build/``, by its content, their version and how they were called.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import track

from tests.bench.bench_same import Event, replayed
from tests.bench.captures import BUILD, ROOT
from tests.bench.moved import moved_port

LIMIT_S = 60
"""Of one tool on one capture; one that takes longer is counted, and asked again in the next run."""
_KEPT = BUILD / "recognition-peers.json"
_TRANSPORTS = {"6": "TCP", "17": "UDP"}
_OFF_BY_DEFAULT = ("modbus", "dnp3", "pgsql", "enip", "sip", "rdp", "quic", "telnet")
_SETTINGS = (
    "stream.midstream=true", *(f"app-layer.protocols.{name}.enabled=yes" for name in _OFF_BY_DEFAULT),
)  # fmt: skip
"""For Suricata: what its parsers know, and connections of which the beginning is missing."""
NO_NAMES = ("", "failed", "unknown")

Key = str
"""Transport and both ends of a flow, the lesser one first."""
Flows = dict[Key, list[str]]
"""Of each flow the names that it had, the last one first; none: nothing was recognised."""


@dataclass(slots=True)
class Said:
    """What was said of one capture by each engine."""

    ours: Flows
    suricata: Flows
    ndpi: Flows
    """As nDPI calls them."""


@dataclass(slots=True)
class Peers:
    """What Suricata and nDPI said, kept from run to run."""

    versions: dict[str, str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    """What took too long: tool and capture."""

    def of(self, captures: Sequence[Path]) -> list[dict[str, Flows]]:
        """Return for each capture what each tool says; one that is not installed says nothing."""
        self.versions = {"suricata": _version("suricata", "-V"), "ndpi": _version("ndpiReader", "-h")}
        kept = json.loads(_KEPT.read_text()) if _KEPT.exists() else {}
        found: list[dict[str, Flows]] = []
        try:
            found.extend(
                {tool: self._one(tool, capture, kept) for tool in self.versions}
                for capture in track(captures, "Suricata and nDPI", transient=True)
            )
        finally:
            BUILD.mkdir(exist_ok=True)
            _KEPT.write_text(json.dumps(kept))
        return found

    def _one(self, tool: str, capture: Path, kept: dict[str, Flows]) -> Flows:
        if not self.versions[tool]:
            return {}
        about = f"{self.versions[tool]} {_SETTINGS if tool == 'suricata' else ''}".encode()
        key = hashlib.sha256(about + capture.read_bytes()).hexdigest()
        if key not in kept:
            try:
                kept[key] = _suricatas(capture) if tool == "suricata" else _ndpis(capture)
            except subprocess.TimeoutExpired:
                self.late.append(f"{tool} {capture}")
                return {}
        return {_spelt(flow): names for flow, names in kept[key].items()}


def said_of(captures: Sequence[Path], peers: Peers) -> dict[Path, Said]:
    """Return what is said of each capture."""
    words = ["-k", "none", "--fast-path", "off", "--set", "eve.types=[flow]"]
    events = replayed(ROOT, captures, words).events
    return {
        capture: Said(_of_events(events.get(str(capture), [])), theirs["suricata"], theirs["ndpi"])
        for capture, theirs in zip(captures, peers.of(captures), strict=True)
    }


def _of_events(events: Iterable[Event]) -> Flows:
    """Return the names of flows by their ``flow`` events."""
    found: Flows = {}
    for event in events:
        if event.get("event_type") != "flow" or "src_port" not in event:
            continue
        names = found.setdefault(
            _key(
                event["proto"], (event["src_ip"], event["src_port"]), (event["dest_ip"], event["dest_port"])
            ), []
        )  # fmt: skip
        for name in (event.get("app_proto", ""), event.get("app_proto_orig", "")):
            if name not in NO_NAMES and name not in names:
                names.append(name)
    return found


def _suricatas(capture: Path) -> Flows:
    with tempfile.TemporaryDirectory() as folder:
        words = ["-r", str(capture), "-S", "/dev/null", "-l", folder, "-k", "none", "--runmode", "single"]
        settings = [word for setting in _SETTINGS for word in ("--set", setting)]
        subprocess.run(["suricata", *words, *settings], check=False, capture_output=True, timeout=LIMIT_S)
        eve = Path(folder) / "eve.json"
        lines = eve.read_bytes().splitlines() if eve.exists() else []
        return _of_events(map(json.loads, lines))


def _ndpis(capture: Path) -> Flows:
    """Return what nDPI recognises by content: it does not guess by ports."""
    found: Flows = {}
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "flows.csv"
        words = ["-q", "-d", "-I", "-i", str(capture), "-C", str(listed)]
        subprocess.run(["ndpiReader", *words], check=False, capture_output=True, timeout=LIMIT_S)
        lines = listed.read_text(errors="replace").splitlines() if listed.exists() else []
    head = lines[0].lstrip("#").split(",") if lines else []
    for line in lines[1:]:
        row = dict(zip(head, line.split(","), strict=False))
        transport = _TRANSPORTS.get(row["protocol"])
        if transport is None:
            continue
        ends = ((row[f"{end}_ip"], int(row[f"{end}_port"])) for end in ("src", "dst"))
        names = found.setdefault(_key(transport, *ends), [])
        name = row["ndpi_proto"].partition(".")[0]
        if name != "Unknown" and name not in names:
            names.insert(0, name)
    return found


def _key(transport: str, *ends: tuple[str, int]) -> Key:
    plain = sorted((str(_plain(ipaddress.ip_address(address))), port) for address, port in ends)
    return " ".join([transport, *(f"{address} {port}" for address, port in plain)])


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address of IPv4 as such, however it is written."""
    return getattr(address, "ipv4_mapped", None) or address


def _spelt(key: Key) -> Key:
    """Return a key that was kept as keys are written by now."""
    transport, one, one_port, other, other_port = key.split()
    return _key(transport, (one, int(one_port)), (other, int(other_port)))


def moved_key(key: Key) -> Key:
    """Return what a flow is called once its server has moved."""
    transport, one, one_port, other, other_port = key.split()
    return _key(transport, (one, moved_port(int(one_port))), (other, moved_port(int(other_port))))


def _version(tool: str, option: str) -> str:
    if shutil.which(tool) is None:
        return ""
    done = subprocess.run([tool, option], check=False, capture_output=True, text=True, timeout=LIMIT_S)
    return (done.stdout or done.stderr).splitlines()[0].strip()
