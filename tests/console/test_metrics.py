"""Metrics: what a scrape shows of an engine that works, hangs or is not there; what is written about them exists."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ids import metrics, snapshot
from ids.config import Config, load_config
from ids.control import ControlServer, socket_path
from ids.counters import MOST_NAMED, Counters, Foremost
from ids.errors import KernelError
from ids.kernel.contract import REASON_NAMES
from ids.metrics import FAMILIES, MOST_LABELS, SHOWN_NAMES, Metrics
from ids.respond.uninspected import REASONS
from ids.snapshot import Snapshot, Watcher, take_snapshot
from tests.console.conftest import snapshot as seen_now

ROOT = Path(__file__).resolve().parents[2]

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(seen: Snapshot) -> Samples:
    """Return the samples of a scrape by name and labels."""
    text = Metrics(lambda: seen).scraped()[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def test_what_is_counted_is_shown_in_base_units() -> None:
    found = scrape(seen_now())
    assert value(found, "ids_engine_up") == 1
    assert value(found, "ids_engine_uptime_seconds") == 61
    assert value(found, "ids_lag_seconds") == pytest.approx(0.012)
    assert value(found, "ids_verdict_packets_total", verdict="drop", reason="blocked") == 50
    assert value(found, "ids_verdict_bytes_total", verdict="pass", reason="shown") == 90_000
    assert value(found, "ids_kernel_notes_total", note="event_lost") == 1
    assert value(found, "ids_uninspected_packets_total", reason="ring_full", intended="false") == 6
    assert value(found, "ids_ring_fill_ratio", worker="0", ring="small") == 0.25
    assert value(found, "ids_stage_seconds_total", stage="decode") == 2
    assert value(found, "ids_rule_seconds_total", sid="100001") == pytest.approx(0.005)
    assert value(found, "ids_rule_alerts_total", sid="100001") == 2
    assert value(found, "ids_plugin_seconds_total", plugin="rules") == pytest.approx(0.008)
    assert value(found, "ids_plugin_failures_total", plugin="eve") == 1
    assert value(found, "ids_blocks") == 4
    assert value(found, "ids_blocks_refused_total", reason="allowed") == 2
    assert value(found, "ids_blocklist_drift_total", kind="missing") == 1
    assert value(found, "ids_events_lost_total", output="eve") == 5
    assert [name for name, _ in found if name == "ids_build_info"]


def test_recordings_are_files_and_no_lost_events() -> None:
    found = scrape(seen_now(counters={"captures.lost": 3, "mail.lost": 2}))
    assert value(found, "ids_events_lost_total", output="captures") is None
    assert value(found, "ids_events_lost_total", output="mail") == 2
    assert value(found, "ids_captures_lost_total") == 3


def test_a_counter_that_has_not_moved_is_zero_so_that_rates_begin_there() -> None:
    found = scrape(seen_now(counters={}))
    assert value(found, "ids_alerts_total") == 0
    for reason in REASONS:
        for unit in ("flows", "packets", "bytes"):
            if getattr(reason, unit):
                intended = str(reason.intended).lower()
                assert value(found, f"ids_uninspected_{unit}_total", reason=reason.name, intended=intended) == 0


def test_without_an_engine_the_kernels_counters_are_left_and_no_counter_falls_to_zero() -> None:
    found = scrape(seen_now(engine=None, counters={"kernel.pass.ring_full.packets": 6}))
    assert value(found, "ids_engine_up") == 0
    assert value(found, "ids_gate_up") == 1
    assert value(found, "ids_verdict_packets_total", verdict="drop", reason="blocked") == 50
    assert value(found, "ids_uninspected_packets_total", reason="ring_full", intended="false") == 6
    assert value(found, "ids_uninspected_packets_total", reason="fault", intended="false") is None, "the engine's"
    assert value(found, "ids_alerts_total") is None


def test_without_anything_there_is_still_an_answer() -> None:
    found = scrape(Snapshot(1))
    assert value(found, "ids_engine_up") == 0
    assert value(found, "ids_gate_up") == 0
    assert len(found) == 3


def test_label_values_are_few_whatever_plugins_and_rules_are_called() -> None:
    hostile = {f'rule_alerts.a"}}\n{number}': number for number in range(10_000)}
    hostile |= {f"plugin_time_us.{number}": number for number in range(10_000)}
    found = scrape(seen_now(counters=hostile))
    for name in ("ids_rule_alerts_total", "ids_plugin_seconds_total"):
        assert len([shown for shown, _ in found if shown == name]) == MOST_LABELS
    assert value(found, "ids_rule_alerts_total", sid='a"}\n9999') == 9999


def test_only_the_foremost_of_many_rules_become_counters_and_go_on_after_a_restart_of_the_stage() -> None:
    counters = Counters()
    foremost = Foremost(counters, "rule_alerts")
    for number in range(1000):
        foremost.add(str(number), 1 + number)
    shown = {name for name in counters.values if name.startswith("rule_alerts.")}
    assert shown == {f"rule_alerts.{number}" for number in range(1000 - MOST_NAMED, 1000)}
    Foremost(counters, "rule_alerts").add("999")
    assert counters["rule_alerts.999"] == 1001


def test_no_family_has_addresses_and_each_has_a_unit_or_is_a_count() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    allowed = {"verdict", "reason", "note", "intended", "worker", "ring", "stage", "sid", "plugin", "mode", "kind",
               "type", "output"}  # fmt: skip
    for family in FAMILIES:
        assert family.name.startswith("ids_")
        assert not family.name.endswith("_total")
        assert set(family.labels) <= allowed


def test_every_reason_of_the_kernel_is_a_verdict_or_a_note() -> None:
    kernel = dict.fromkeys(REASON_NAMES.values(), (1, 1))
    found = scrape(seen_now(kernel=kernel))
    shown = sum(1 for name, _ in found if name in ("ids_verdict_packets_total", "ids_kernel_notes_total"))
    assert shown == len(REASON_NAMES)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """An instance whose kernel side is made up."""
    monkeypatch.setattr(
        snapshot, "kernel_side", lambda _: {"kernel": {"drop.blocked": (7, 420)}, "interfaces": ("eth0",)}
    )
    return load_config(None, [f"engine.runtime_dir={tmp_path}", f"fastpath.pin_dir={tmp_path}"])


def answering(config: Config, answer: Any) -> tuple[ControlServer, threading.Thread, threading.Event]:
    """Answer `stats` in a thread until the event is set."""
    server = ControlServer(socket_path(config.engine.runtime_dir, config.instance), {"stats": answer})
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            server.serve()
            time.sleep(0.002)

    thread = threading.Thread(target=serve)
    thread.start()
    return server, thread, done


def test_the_engine_is_asked_and_the_kernels_counters_are_those_of_now(config: Config) -> None:
    calls: list[int] = []

    def stats() -> dict[str, Any]:
        calls.append(1)
        return {
            "stats": {"uptime": 5},
            "ids": {"detect": {"alerts": 3}, "kernel": {"drop": {"blocked": {"packets": 1}}}},
        }

    server, thread, done = answering(config, stats)
    try:
        watcher = Watcher(lambda: take_snapshot(config, 60), fresh_s=3600)
        scrapes = [Metrics(watcher.look).scraped() for _ in range(50)]
    finally:
        done.set()
        thread.join()
        server.close()
    assert len(calls) == 1, "fifty scrapes cost the engine one answer"
    assert b"ids_alerts_total 3.0" in scrapes[-1][0]
    assert b'ids_verdict_packets_total{reason="blocked",verdict="drop"} 7.0' in scrapes[-1][0]


def test_a_hung_engine_costs_its_part_and_not_the_time(config: Config) -> None:
    """It listens and takes nothing; the wait is bounded by what `take_snapshot` is given."""
    server = ControlServer(socket_path(config.engine.runtime_dir, config.instance), {})
    found = scrape(take_snapshot(config, 0.05))
    server.close()
    assert value(found, "ids_engine_up") == 0
    assert value(found, "ids_verdict_packets_total", verdict="drop", reason="blocked") == 7
    assert snapshot.ANSWER_S < 1, "a scrape is answered within a second"


@pytest.mark.parametrize("answer", [{"error": "no"}, {"ids": "nonsense"}, {}])
def test_an_answer_without_counters_is_none(config: Config, answer: dict[str, Any]) -> None:
    server, thread, done = answering(config, lambda: answer)
    try:
        seen = take_snapshot(config, 60)
    finally:
        done.set()
        thread.join()
        server.close()
    assert not seen.up
    assert "no counters" in seen.problem


def test_no_pins_and_no_rights_are_said(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise KernelError("cannot open the pins", "Run as root")

    monkeypatch.setattr(snapshot, "kernel_side", refused)
    seen = take_snapshot(config)
    assert (seen.up, seen.kernel) == (False, None)
    assert "cannot open the pins" in seen.problem


def test_every_metric_is_documented_with_its_labels() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.shown_name}` | {labels} |" in page
    assert "`ids_build_info`" in page
    assert set(re.findall(r"\bids_[a-z_]+(?<!_)", page)) <= SHOWN_NAMES | {"ids_job"}


def test_the_form_is_what_the_scraper_asks_for() -> None:
    plain, plain_type = Metrics(seen_now).scraped("")
    opened, opened_type = Metrics(seen_now).scraped("application/openmetrics-text; version=1.0.0")
    assert plain_type.startswith("text/plain")
    assert opened_type.startswith("application/openmetrics-text")
    assert opened.endswith(b"# EOF\n")
    assert b"# EOF" not in plain
    assert metrics.BUILD == "ids_build"
