"""What the comparison of alerts counts as the same, and what has to be explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import bench_alerts
from tests.bench.bench_alerts import Found
from tests.bench.bench_same import Event


def alert(sid: int, packet: int) -> Event:
    """Return an alert, as far as it counts."""
    ends = {"src_ip": "192.0.2.1", "src_port": 1, "dest_ip": "192.0.2.2", "dest_port": 2}
    return {**ends, "alert": {"signature_id": sid}, "pcap_cnt": packet}


def test_an_alert_is_its_rule_its_flow_and_its_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = tmp_path / "checked.txt"
    checked.write_text("packets 2 c.pcap  said twice\nours 4 c.pcap  seen here alone\n")
    monkeypatch.setattr(bench_alerts, "CHECKED", checked)
    found = Found()
    ours = [alert(1, 5), alert(1, 9), alert(2, 5), alert(3, 7), alert(4, 1)]
    found.compare("c.pcap", ours, [alert(1, 5), alert(1, 10), alert(2, 5), alert(2, 6), alert(3, 6)])
    assert found.same == {"both": 3, "ours": 1}
    assert found.packets == {"the same": 2, "acknowledged later": 1, "only the peer's": 1, "earlier": 1, "only ours": 1}
    assert found.explained == {"only the peer's": 1, "only ours": 1}
    assert [line.split("  ")[0] for line in found.unknown] == ["packets 3 c.pcap"]
    assert found.print() == 1
    assert "but for what is explained: precision 0.750, recall 0.750" in capsys.readouterr().out
