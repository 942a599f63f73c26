"""Which protocols are recognised: ours beside Suricata's and nDPI's, flow by flow, over captures.

The captures are those of the peer's public tests, and conversations of the second line made by hand, each on its usual
port and on one that nobody knows. A row is a protocol, its counts are flows. ``build/recognition.json`` has them all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.captures import BUILD, SHARED
from tests.bench.report import CannotRun
from tests.fuzz.second_line import SECOND_LINE
from tests.protocols import said

Key = tuple[str, frozenset[tuple[str, int]]]
"""Transport and both ends of a flow."""
_OFF_BY_DEFAULT = ("modbus", "dnp3", "pgsql", "enip", "sip", "rdp", "quic", "telnet")
_PORTS = {
    "snmp": 161, "dhcp": 67, "sip": 5060, "ike": 500, "tftp": 69, "bittorrent-dht": 6881, "quic": 443, "mqtt": 1883,
    "rfb": 5900, "pgsql": 5432, "modbus": 502, "dnp3": 20000, "telnet": 23, "ntp": 123,
}  # fmt: skip
_ODD_PORT = 48123
_UNKNOWN = ("", "failed")


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench recognition", description=main.__doc__)
    parser.add_argument("--limit", type=int, default=10_000, help="captures at most")
    options = parser.parse_args(arguments)
    if shutil.which("suricata") is None:
        raise CannotRun("suricata is not installed")
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        made = list(_made(Path(folder)))
        public = sorted((SHARED / "suricata-verify" / "tests").rglob("*.pcap"))
        for capture in [*made, *public][: options.limit]:
            rows += compared(capture, Path(folder))
    _print(rows)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "recognition.json").write_text(json.dumps(rows, indent=1))


def compared(capture: Path, folder: Path) -> list[dict[str, str]]:
    """Return a row for each flow of a capture: what each engine takes it for."""
    ours, theirs, ndpi = _ours(capture, folder), _suricatas(capture, folder), _ndpis(capture, folder)
    return [
        {"capture": capture.name, "ours": ours[key], "suricata": theirs[key], "ndpi": ndpi.get(key, "")}
        for key in ours.keys() & theirs.keys()
    ]


def _flows(eve: Path) -> dict[Key, str]:
    found: dict[Key, str] = {}
    for line in eve.read_bytes().splitlines() if eve.exists() else ():
        event = json.loads(line)
        if event.get("event_type") == "flow" and "src_port" in event:
            ends = frozenset({(_plain(event[f"{end}_ip"]), event[f"{end}_port"]) for end in ("src", "dest")})
            found[event["proto"], ends] = event.get("app_proto") or ""
    return found


def _plain(address: str) -> str:
    """Return an address without the zeros that some write and some do not."""
    return ":".join(part.lstrip("0") for part in address.split(":")) if ":" in address else address


def _ours(capture: Path, folder: Path) -> dict[Key, str]:
    eve = folder / "ours.json"
    eve.unlink(missing_ok=True)
    words = ["replay", str(capture), "--eve", str(eve), "-k", "none", "--fast-path", "off"]
    subprocess.run(
        [shutil.which("ids") or ".venv/bin/ids", *words, "--set", "eve.types=[flow]"], check=False, capture_output=True
    )
    return _flows(eve)


def _suricatas(capture: Path, folder: Path) -> dict[Key, str]:
    eve = folder / "eve.json"
    eve.unlink(missing_ok=True)
    on = [word for name in _OFF_BY_DEFAULT for word in ("--set", f"app-layer.protocols.{name}.enabled=yes")]
    words = ["-r", str(capture), "-S", "/dev/null", "-l", str(folder), "-k", "none", "--runmode", "single"]
    subprocess.run(["suricata", *words, *on], check=False, capture_output=True)
    return _flows(eve)


def _ndpis(capture: Path, folder: Path) -> dict[Key, str]:
    """Return what ndpiReader says, where it is installed."""
    if shutil.which("ndpiReader") is None:
        return {}
    listed = folder / "ndpi.csv"
    listed.unlink(missing_ok=True)
    subprocess.run(["ndpiReader", "-q", "-i", str(capture), "-C", str(listed)], check=False, capture_output=True)
    found: dict[Key, str] = {}
    head: list[str] = []
    for line in listed.read_text(errors="replace").splitlines() if listed.exists() else ():
        words = line.lstrip("#").split("|" if "|" in line else ",")
        if not head:
            head = words
            continue
        row = dict(zip(head, words, strict=False))
        ends = frozenset({(_plain(row[f"{end}_ip"]), int(row[f"{end}_port"])) for end in ("src", "dst")})
        found[{"6": "TCP", "17": "UDP"}.get(row["protocol"], row["protocol"]), ends] = row.get("ndpi_proto", "")
    return found


def _made(folder: Path) -> Iterator[Path]:
    """Yield captures of the conversations of the second line, on their usual port and on another."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw
    from scapy.utils import wrpcap

    ends = ("192.0.2.1", "198.51.100.2")
    names = ("snmp", "dhcp", "sip", "sip", "ike", "ike", "tftp", "bittorrent-dht", "quic", "mqtt", "mqtt", "rfb",
             "pgsql", "modbus", "dnp3")  # fmt: skip
    told = [*zip(names, [(one.datagrams, one.turns) for one in SECOND_LINE], strict=True)]
    told += [("telnet", (False, ((1, said.TELNET[0]), (0, said.TELNET[1])))), ("ntp", (True, ((0, said.NTP_CLIENT),)))]
    for number, (name, (datagrams, turns)) in enumerate(told):
        for port in (_PORTS[name], _ODD_PORT):
            packets, sequence = [], [1000, 5000]
            flags = [(0, "S", b""), (1, "SA", b""), (0, "A", b"")] if not datagrams else []
            said_ = [(side, "PA", data) for side, data in turns]
            for side, flag, data in [*flags, *said_]:
                ports = {"sport": port if side else 50000 + number, "dport": 50000 + number if side else port}
                layer = (
                    UDP(**ports)
                    if datagrams
                    else TCP(**ports, flags=flag, seq=sequence[side], ack=sequence[1 - side] * (flag != "S"))
                )
                packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(
                    src=ends[side], dst=ends[1 - side]
                )
                packets.append(packet / layer / Raw(data) if data else packet / layer)
                sequence[side] += len(data) + ("S" in flag)
            path = folder / f"made-{number}-{name}-{port}.pcap"
            wrpcap(str(path), packets)
            yield path


def _print(rows: list[dict[str, str]]) -> None:
    table = Table(title=f"{len(rows)} flows, by what Suricata or we take them for")
    for column in ("protocol", "both", "Suricata alone", "ours alone", "we say", "nDPI says"):
        table.add_column(column, justify="left" if column in ("protocol", "we say", "nDPI says") else "right")
    for name in sorted({row[who] for row in rows for who in ("ours", "suricata")} - set(_UNKNOWN)):
        both = sum(row["ours"] == row["suricata"] == name for row in rows)
        theirs = [row for row in rows if row["suricata"] == name and row["ours"] != name]
        ours = [row for row in rows if row["ours"] == name and row["suricata"] != name]
        ndpi = Counter(row["ndpi"] for row in rows if name in (row["ours"], row["suricata"]) and row["ndpi"])
        instead = _most(Counter(row["ours"] or "-" for row in theirs))
        table.add_row(name, str(both), str(len(theirs)), str(len(ours)), instead, _most(ndpi))
    Console().print(table)


def _most(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.most_common(3))
