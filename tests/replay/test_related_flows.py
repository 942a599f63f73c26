"""Flows that say something of others: with any number of workers the same comes of a replay.

An FTP control connection names the ports of its data connections, and these have other ports, so other workers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import orjson
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from ids.capture import open_capture
from ids.capture.writer import PcapWriter
from ids.replay import crew, runner
from tests.factory import T0
from tests.replay.batches import STEP_NS
from tests.replay.test_crew import WORKERS, run
from tests.shared import shared

MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"
HOSTS4, HOSTS6 = ("192.0.2.1", "203.0.113.1"), ("2001:db8::1", "2001:db8::2")
RULES = """
alert ftp-data any any -> any any (msg:"what was transferred"; file.data; content:"EVIL"; sid:1;)
alert ftp any any -> any any (msg:"who asked"; ftp.command; content:"RETR"; sid:2;)
"""


class Connection:
    """A TCP connection, whose frames are added to a list as it goes on."""

    def __init__(self, frames: list[bytes], hosts: tuple[str, str], ports: tuple[int, int]) -> None:
        self._frames, self._hosts, self._ports, self._sent = frames, hosts, ports, [1000, 5000]
        for side, flags in ((0, "S"), (1, "SA"), (0, "A")):
            self._send(side, flags)

    def _send(self, side: int, flags: str, data: bytes = b"") -> None:
        network = IPv6 if ":" in self._hosts[0] else IP
        there, back = self._hosts[side], self._hosts[1 - side]
        ack = self._sent[1 - side] if "A" in flags else 0
        tcp = TCP(sport=self._ports[side], dport=self._ports[1 - side], flags=flags, seq=self._sent[side], ack=ack)
        ethernet = Ether(src=MACS[side], dst=MACS[1 - side])
        self._frames.append(bytes(ethernet / network(src=there, dst=back) / tcp / data))
        self._sent[side] += len(data) + ("S" in flags) + ("F" in flags)

    def says(self, side: int, data: bytes) -> None:
        self._send(side, "PA", data)
        self._send(1 - side, "A")

    def close(self) -> None:
        for side, flags in ((0, "FA"), (1, "FA"), (0, "A")):
            self._send(side, flags)


def transfers(hosts: tuple[str, str], sport: int, control: int = 21) -> list[bytes]:
    """Return the frames of an FTP session that moves four files: passive and active, extended and not."""
    frames: list[bytes] = []
    session = Connection(frames, hosts, (sport, control))
    session.says(1, b"220 FTP server\r\n")
    session.says(0, b"USER anonymous\r\n")
    session.says(1, b"230 in\r\n")
    for number, (asked, answer) in enumerate(
        (
            (b"PASV", b"227 Passive (203,0,113,1,%d,%d)"),
            (b"EPSV", b"229 Extended (|||%d|)"),
            (b"PORT 192,0,2,1,%d,%d", b"200 ok"),
            (b"EPRT |%d|%s|%d|", b"200 ok"),
        )
    ):
        port = 30_000 + sport % 100 * 10 + number
        pair = (port >> 8, port & 0xFF)
        version = 2 if ":" in hosts[0] else 1
        asked = asked % {2: pair, 3: (version, hosts[0].encode(), port)}.get(number, ())
        answer = answer % {0: pair, 1: (port,)}.get(number, ())
        session.says(0, asked + b"\r\n")
        session.says(1, answer + b"\r\n")
        session.says(0, b"RETR %d.bin\r\n" % number)
        ends = (hosts, (sport + 100 + number, port)) if number < 2 else (hosts[::-1], (20, port))
        data = Connection(frames, *ends)
        session.says(1, b"150 here it comes\r\n")
        data.says(1 if number < 2 else 0, b"EVIL, and the content of file %d" % number)
        data.close()
        session.says(1, b"226 done\r\n")
    session.says(0, b"QUIT\r\n")
    session.says(1, b"221 bye\r\n")
    session.close()
    return frames


def write(path: Path, frames: list[bytes]) -> Path:
    with path.open("wb") as file:
        writer = PcapWriter(file)
        for number, frame in enumerate(frames):
            writer.write(frame, T0 + number * STEP_NS)
    return path


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sessions, of IPv4 and IPv6 hosts."""
    folder = tmp_path_factory.mktemp("ftp")
    (folder / "ftp.rules").write_text(RULES)
    frames = [one for n in range(6) for one in transfers((HOSTS4, HOSTS6)[n % 2], 40_000 + n)]
    return write(folder / "sessions.pcap", frames)


@pytest.mark.parametrize(("workers", "packets"), [(2, 7), (3, None)], ids=["batches-of-7", "one-batch"])
def test_ftp_transfers_are_inspected_by_any_number_of_workers(
    sessions: Path, monkeypatch: pytest.MonkeyPatch, workers: int, packets: int | None
) -> None:
    if packets is not None:
        for module in (runner, crew):
            monkeypatch.setattr(module, "open_capture", partial(open_capture, max_packets=packets))
    settings = (f"rules.paths=[{sessions.parent}]", "files.hashes=[sha256]")
    _, events, counters = run([sessions], 1, *settings)
    kinds = [orjson.loads(event)["event_type"] for event in events.elements()]
    assert [kinds.count(kind) for kind in ("ftp_data", "fileinfo", "alert")] == [24, 24, 48]
    _, same_events, same_counters = run([sessions], workers, *settings)
    assert same_events == events
    for stage in ("flow", "detect", "files", "ftp"):
        assert same_counters.get(stage) == counters.get(stage)
    assert "unshared" not in same_counters["app_layer"].get("expected", {})


def test_servers_at_other_ports_are_named_by_a_setting(tmp_path: Path) -> None:
    (tmp_path / "ftp.rules").write_text(RULES)
    capture = write(tmp_path / "elsewhere.pcap", transfers(HOSTS4, 40_001, control=2121))
    rules = f"rules.paths=[{tmp_path}]"
    _, events, _ = run([capture], 1, rules)
    _, same, counters = run([capture], 3, rules, "protocols.ftp.ports=[21,2121]")
    assert same == events
    assert counters["overheard"]["flow"]["total"] == 2, "each worker but its own"
    _, fewer, counters = run([capture], 3, rules)
    assert counters["app_layer"]["expected"]["unshared"] == 4
    assert sum(fewer.values()) <= sum(events.values())


def test_public_captures_of_ftp() -> None:
    suite = shared("suricata-verify") / "tests"
    paths = sorted([*suite.glob("ftp/*/*.pcap"), *suite.glob("output-eve-ftp-data/*.pcap")])
    paths += sorted(suite.glob("filestore-v2.7-stream-depth/*.pcap"))
    _, events, _ = run(paths, 1, "files.hashes=[sha256]")
    assert sum(orjson.loads(event)["event_type"] == "ftp_data" for event in events) >= 3
    for workers in WORKERS:
        assert run(paths, workers, "files.hashes=[sha256]")[1] == events
