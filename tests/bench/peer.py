"""Suricata as the peer: the same events written, the same rules meant, the same checks switched on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

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

CONFIGURATION = """\
%YAML 1.1
---
vars:
  address-groups:
    HOME_NET: "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]"
    EXTERNAL_NET: "!$HOME_NET"
default-log-dir: {logs}
stats: {{enabled: yes, interval: 8}}
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      community-id: true
      types: [{{alert: }}, {{http: }}, {{flow: }}]
  - stats: {{enabled: yes, filename: stats.log, append: no, totals: yes}}
logging:
  default-log-level: notice
  outputs:
    - console: {{enabled: yes}}
app-layer:
  protocols:
    http:
      enabled: yes
      libhtp:
        default-config: {{personality: IDS, request-body-limit: 100kb, response-body-limit: 100kb}}
    {others}
defrag: {{memcap: 32mb, timeout: 60}}
flow: {{memcap: 512mb, hash-size: 65536, prealloc: 10000}}
stream:
  memcap: 256mb
  checksum-validation: yes
  reassembly: {{memcap: 512mb, depth: 1mb}}
pcap-file: {{checksum-checks: auto}}
nfq: {{mode: accept, fail-open: yes}}
"""
"""Suricata's own defaults, but for three things: only events that both engines write, `flow` and `stream` memory that
is never short, and protocols that only it parses switched off, for whoever compares wants the same work done."""

OTHERS = (
    "tls", "ssh", "dns", "ftp", "ftp-data", "smtp", "imap", "smb", "dcerpc", "http2", "krb5", "snmp", "ike", "tftp",
    "rdp", "rfb", "mqtt", "modbus", "dnp3", "enip", "nfs", "ntp", "dhcp", "sip", "quic", "bittorrent-dht", "pgsql",
    "telnet",
)  # fmt: skip
"""Recognised, as ours does with `tls` and `ssh`, but not parsed."""


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
    others = "\n    ".join(f"{name}: {{enabled: detection-only}}" for name in OTHERS)
    configuration, rules_file = folder / "suricata.yaml", folder / "suricata.rules"
    configuration.write_text(CONFIGURATION.format(logs=folder, others=others))
    rules_file.write_text(rules)
    return ["suricata", "-c", str(configuration), "-S", str(rules_file), "-l", str(folder)]


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
