"""An exploit beside one source's flood is found, blocked in time, and the operator is answered meanwhile."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import Any

import pytest

from ids.control import request, socket_path
from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, FLOODER, SERVER, Lab
from tests.bench.flood_client import FLOODS
from tests.lab.clients import PATIENCE_S, exploit
from tests.shared import ROOT

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

FLOWS = 50
"""Connections of the flood that the gateway has seen before the first exploit."""
EXPLOITS = 5
WITHIN_S = 10.0
"""For a block, and for an answer on the control socket; goal: a second, which `make bench` measures. The rest is for
machines that run other tests beside this one."""


def is_alert(source: str, event: dict[str, Any]) -> bool:
    return bool(event["event_type"] == "alert" and event["src_ip"] == source)


@pytest.mark.parametrize("kind", FLOODS)
def test_an_exploit_beside_a_flood_is_found(site: Lab, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard(site)
    guard.start()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "tests.bench.flood_client", "--kind", kind, "--source", FLOODER]
    command += ["--target", SERVER, "--rate", str(FLOODS[kind]), "--seconds", str(PATIENCE_S)]
    flood = site.spawn(site.attacker, command, "flood.json")
    assert wait_until(lambda: guard.kernel_packets().get("note.flow_new", 0) >= FLOWS, PATIENCE_S)
    late, answers = [], []
    for source in ATTACKERS[:EXPLOITS]:
        sent_ns = time.time_ns()
        exploit(site, source)
        asked = time.monotonic()
        request(socket_path(str(site.directory / "run"), site.name), "stats", PATIENCE_S)
        answers.append(time.monotonic() - asked)
        alert = guard.wait_for(partial(is_alert, source), PATIENCE_S)
        assert alert is not None, "it passed uninspected"
        blocked_ns = alert["ids"]["block"]["blocked_ts_ns"]
        late.append((blocked_ns - sent_ns) / 1e9)
    assert flood.poll() is None, "all of that was beside the flood"
    assert site.stop(flood) == 0
    assert sorted(late)[len(late) // 2] < WITHIN_S
    assert sorted(answers)[len(answers) // 2] < WITHIN_S
    opened = json.loads((site.directory / "flood.json").read_text())
    assert opened["failed"] == 0
    assert opened["opened"] >= FLOWS
    assert f"{FLOODER}/32" not in guard.log.read_text(), "a flood is no exploit"
