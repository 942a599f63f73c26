"""A sender who wants the engine to remember: memory stays within its caps, and the exploit among it all is found.

`python -m tests.bench soak` does the same with a million packets each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.config import load_config
from ids.replay import replay
from tests.bench import hostile

PACKETS = 12_000
CAPS = ["flow.max_flows=1000", "decode.defrag.max_datagrams=500", "decode.defrag.memcap_bytes=100000"]


@pytest.mark.parametrize("shape", hostile.SHAPES)
def test_the_exploit_among_what_fills_the_memory_is_found(shape: str, tmp_path: Path) -> None:
    capture = tmp_path / "hostile.pcap"
    hostile.write(capture, hostile.SHAPES[shape], PACKETS)
    report = replay([capture], load_config(None, [*CAPS, "decode.checksums=none", "fastpath.replay=off"]))
    assert {alert["src_ip"] for alert in report.alerts} == {hostile.ATTACKER}
    assert report.captures[0].packets == PACKETS + 5 + (24 if shape == "one-byte segments" else 0)
