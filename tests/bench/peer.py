"""Suricata as the peer: the same events written, the same rules meant, the same checks switched on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.bench.report import CannotRun
from tests.bench.translate import translate

ROOT = Path(__file__).resolve().parents[2]

OUR_RULE = """\
rules:
  - {title: one rule, id: 0b1c5a52-3df1-4ea5-9f3b-5b1f7c1a9e02, sid: 9000002, level: high, description: the benchmark's,
     traffic: http any any -> any any, match: [{http.uri: {contains: /etc/passwd}}]%s}
"""
BLOCKS = ", then: drop, block: {target: src_ip, for: 1h}"
PEER_RULE = '%s http any any -> any any (msg:"one rule"; http.uri; content:"/etc/passwd"; sid:9000002; rev:1;)\n'

DEFAULTS = Path("/etc/suricata/suricata.yaml")
"""The distribution's configuration: what nobody turned a knob of. Only the outputs are ours, so that both engines write
the same events; parsers that are off there are on, as ours are, so that both do the same work; and no memory cap is to
be met."""

OFF_THERE = {"modbus": 502, "dnp3": 20_000, "enip": 44_818, "pgsql": 5432}
"""Parsers that the distribution leaves off, with their ports."""


def require() -> None:
    """Raise `CannotRun` where Suricata is not installed."""
    if shutil.which("suricata") is None:
        raise CannotRun("suricata is not installed: scripts/bench-setup.sh")


def version() -> str:
    """Return the version of the installed Suricata."""
    said = subprocess.run(["suricata", "-V"], capture_output=True, text=True, timeout=20, check=False).stdout
    found = re.search(r"version (\S+)", said)
    return found[1] if found else "unknown"


def configure(folder: Path, rules: str) -> list[str]:
    """Write configuration and rules into a folder; return the command that makes Suricata use them and log there."""
    configuration, rules_file = folder / "suricata.yaml", folder / "suricata.rules"
    configuration.write_text("%YAML 1.1\n---\n" + yaml.safe_dump(_settings(folder), sort_keys=False))
    rules_file.write_text(rules)
    return ["suricata", "-c", str(configuration), "-S", str(rules_file), "-l", str(folder)]


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(DEFAULTS.read_text())
    settings["default-log-dir"] = str(folder)
    eve = {
        "enabled": True, "filetype": "regular", "filename": "eve.json", "community-id": True,
        "types": [{"alert": None}, {"http": None}, {"flow": None}],
    }  # fmt: skip
    settings["outputs"] = [
        {"eve-log": eve},
        {"stats": {"enabled": True, "filename": "stats.log", "append": False, "totals": True}},
    ]
    protocols = settings["app-layer"]["protocols"]
    for name, port in OFF_THERE.items():
        ports = {"dp": port, "sp": port} if name == "enip" else {"dp": port}
        protocols[name] = {**(protocols.get(name) or {}), "enabled": "yes", "detection-ports": ports}
    settings["flow"]["memcap"] = settings["stream"]["reassembly"]["memcap"] = "512mb"
    settings["nfq"] = {"mode": "accept", "fail-open": True}
    return settings


def one_rule(action: str = "alert") -> str:
    """Return the one rule of the benchmarks in Suricata's language."""
    return PEER_RULE % action


def starter_rules(inline: bool = False) -> str:
    """Return our starter rules in Suricata's language; YARA rules have no counterpart there. ``inline``: they block."""
    lines, _, left = translate(ROOT / "rules" / "base", inline)
    if left:
        raise CannotRun(f"{left} of the starter rules cannot be translated")
    return "\n".join(lines) + "\n"


def our_rule(folder: Path, blocks: bool = False) -> Path:
    """Write and return our rule of the same meaning."""
    path = folder / "one.yaml"
    path.write_text(OUR_RULE % (BLOCKS if blocks else ""))
    return path


def count_events(path: Path) -> Counter[str]:
    """Return how many events of each type a file of EVE JSON has, and of the flows, how many are TCP."""
    counts: Counter[str] = Counter()
    with path.open(errors="replace") as lines:
        for line in lines:
            event = json.loads(line)
            counts[event["event_type"]] += 1
            if event["event_type"] == "flow" and event.get("proto") == "TCP":
                counts["tcp flow"] += 1
    return counts
