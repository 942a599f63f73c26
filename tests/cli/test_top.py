"""`ids top`: the same numbers as the metrics, for a terminal or a line of JSON a look; without an engine too."""

from __future__ import annotations

import io
import ipaddress
import json
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ids.cli import main, top
from ids.cli.consoles import LiteralConsole
from ids.cli.top import Look, Rates, data_of, screen
from ids.kernel.flows.busiest import Flows, Sent
from tests.console.conftest import snapshot


def look(second: int = 0, **changes: object) -> Look:
    """Return what is seen so many seconds later."""
    grown = 1 + second
    first = snapshot()
    counters = {name: count * grown for name, count in first.counters.items()}
    kernel = {name: (packets * grown, size * grown) for name, (packets, size) in (first.kernel or {}).items()}
    for name, (packets, size) in kernel.items():
        counters[f"kernel.{name}.packets"], counters[f"kernel.{name}.bytes"] = packets, size
    made = snapshot(**{"taken_ns": second * 10**9, "counters": counters, "kernel": kernel, **changes})
    sent = Sent(ipaddress.ip_address("192.0.2.7"), 3, 90 * grown, 9000 * grown)
    return Look(made, Flows(3, {"established": 2, "new": 1}, (sent,)))


def drawn(before: Look | None, now: Look, width: int = 140, height: int = 40) -> str:
    console = LiteralConsole(width=width, height=height, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.capture() as capture:
        console.print(screen(before, now, (width, height), "default"))
    console.file.close()
    return capture.get()


def test_rates_are_those_of_the_interval() -> None:
    rates = Rates.between(look(1).seen, look(3).seen)
    assert rates.seconds == 2
    assert rates.of["kernel.drop.blocked.packets"] == 50
    assert rates.of["detect.alerts"] == 3
    assert Rates.between(None, look().seen).of == {}
    assert Rates.between(look(3).seen, look(3).seen).of == {}
    assert "detect.alerts" not in Rates.between(look(3).seen, look(1, taken_ns=9 * 10**9).seen).of, "it fell: a restart"


def test_an_engine_that_has_come_back_has_no_rates_at_first() -> None:
    gone = look(1, engine=None, counters={"kernel.drop.blocked.packets": 100})
    rates = Rates.between(gone.seen, look(2).seen)
    assert "detect.alerts" not in rates.of
    assert rates.of["kernel.drop.blocked.packets"] == 50


def test_the_screen_shows_all_of_it() -> None:
    text = drawn(look(1), look(2))
    for words in ("engine up", "eth0", "192.0.2.7", "drop.blocked", "ring_full", "100001", "0 small", "25.0 %",
                  "established 2", "lag 36 ms", "9.0k"):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (129, 24), (130, 24), (140, 40)])
def test_no_address_and_no_number_is_cut_off(width: int, height: int) -> None:
    longest = Sent(ipaddress.ip_address("2001:db8:1111:2222:3333:4444:5555:6666"), 12_345, 678_900, 45_678_900)
    now = look(2)
    text = drawn(look(1), Look(now.seen, Flows(3, {"established": 2}, (longest,))), width, height)
    for words in (
        str(longest.address),
        "12,345",
        "678.9k",
        "45.7M",
        "drop.blocked",
        "ring_full",
        "100001",
        "0 small",
        "25.0 %",
    ):
        assert words in text, words
    for heading in ("source", "flows", "packets/s", "alerts", "of a core", "reason"):
        assert heading in text, heading


def test_the_screen_shows_the_kernel_alone_where_there_is_no_engine() -> None:
    text = drawn(None, Look(snapshot(engine=None, counters={}, problem="no engine is running: the gate works alone")))
    assert "no engine" in text
    assert "drop.blocked" in text
    assert "lag" not in text


def test_what_others_chose_gives_the_terminal_no_orders() -> None:
    hostile = "eth\x1b[2J[red]0"
    text = drawn(None, look(interfaces=(hostile,), problem=hostile, counters={f"rule_alerts.{hostile}": 1}))
    assert "\x1b[2J" not in text
    assert "[red]" in text


def test_a_look_is_a_line_of_json() -> None:
    data = json.loads(json.dumps(data_of(look(1), look(2))))
    assert data["kernel"]["drop.blocked"] == {"packets": 150, "bytes": 9000, "packets_per_s": 50.0}
    assert data["sources"] == [{"address": "192.0.2.7", "flows": 3, "packets": 270, "bytes": 27_000}]
    assert data["rings"][0] == {"worker": 0, "name": "small", "fill": 0.25}
    assert data["rules"][0]["sid"] == 100001
    assert data_of(None, Look(snapshot(engine=None, kernel=None, counters={})))["flows"] is None


def test_without_anything_there_each_look_still_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--set", f"fastpath.pin_dir={tmp_path}/none", "--set", f"engine.runtime_dir={tmp_path}"]
    with pytest.raises(SystemExit) as ended:
        main(["top", "-o", "json", "--every", "0.2", "--count", "2", *place])
    assert ended.value.code in (0, None)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["answers"] for line in lines] == [False, False]
    assert lines[0]["problem"]


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal for stdin; yields where keys are pressed."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield ours
    os.close(ours)


@pytest.mark.parametrize(("pressed", "ends"), [(b"q", True), (b"Q", True), (b"x", False)])
def test_q_ends_at_once(keyboard: int, pressed: bytes, ends: bool) -> None:
    with top._keys() as wait:
        os.write(keyboard, pressed)
        assert wait(60 if ends else 0.1) is ends


def test_a_small_terminal_is_no_fault() -> None:
    console = Console(width=20, height=5, file=io.StringIO())
    with console.capture() as captured:
        console.print(screen(None, look(), (80, 5), "default"))
    lines = captured.get().splitlines()
    assert lines
    assert max(map(len, lines)) <= 20
