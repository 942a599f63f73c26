"""The alert rules and the dashboard of docs/monitoring: what they ask for exists, and Prometheus' own tool agrees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ids.counters import Counters
from ids.metrics import FAMILIES, SHOWN_NAMES, Metrics
from ids.plugin.host import PluginHost
from ids.plugin.outlet import Outlet
from ids.plugin.writer import LineWriter
from ids.privacy import Privacy, PrivacySettings
from ids.settings.store import StoreSettings
from ids.store.writer import StoreWriter
from tests.console.conftest import snapshot
from tests.shared import ROOT

MONITORING = ROOT / "docs/monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
ALERTS, CASES = MONITORING / "alerts.yml", sorted(MONITORING.glob("alerts*_test.yml"))
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
}
LABELS = {"ids_build_info": ("version",)} | {family.shown_name: family.labels for family in FAMILIES}
SCRAPED, SCRAPES, EVERY_S = {"job": "ids", "instance": "gw"}, 40, 15
SERIES = re.compile(r'(\w+)=~?"')


def panels() -> dict[str, str]:
    """Return every expression of the dashboard, by where it is."""
    return {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }


def plain(expr: str) -> str:
    """Return an expression of the dashboard as Grafana asks it, with nothing selected."""
    return expr.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")


def test_every_metric_and_label_that_is_asked_for_exists() -> None:
    for where, expr in (panels() | {name: rule["expr"] for name, rule in RULES.items()}).items():
        named = set(re.findall(r"\bids_\w+", expr))
        assert named, where
        assert named <= SHOWN_NAMES, where
        known = {"job", "instance", *(label for name in named for label in LABELS[name])}
        for group in re.findall(r"by \(([^)]*)\)", expr):
            assert set(re.split(r", *", group)) <= known, where
        assert set(SERIES.findall(expr)) <= known, where
        for counter in (name for name in named if name.endswith("_total")):
            assert re.search(rf"(rate|increase)\({counter}\b", expr), f"{where}: a counter is asked for its rate"


def test_every_alert_is_documented() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    assert [name for name in RULES if f"`{name}`" not in page] == []


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for test in [test for file in CASES for test in yaml.safe_load(file.read_text())["tests"]]:
        for case in test["alert_rule_test"]:
            found[bool(case["exp_alerts"])].add(case["alertname"])
        for series in test.get("input_series", ()):
            name = series["series"].partition("{")[0]
            assert set(SERIES.findall(series["series"])) == {"job", "instance", *LABELS[name]}, "as it is scraped"
    assert found == {True: set(RULES), False: set(RULES)}


def test_what_an_alert_watches_for_a_rise_is_shown_before_it_rises(tmp_path: Path) -> None:
    """A series that begins at 1 does not rise: the first loss would be none."""
    counters, privacy = Counters(), Privacy(PrivacySettings(), "x")
    writer = LineWriter(str(tmp_path / "eve.json"), "eve", counters, patient=False)
    outlet = Outlet("syslog", counters, lambda _: None, privacy=privacy, buffer_bytes=1 << 20)
    store = StoreWriter(tmp_path / "events.db", StoreSettings(), counters)
    PluginHost(counters).register("ours", object())
    text = Metrics(lambda: snapshot(counters=dict(counters.values))).scraped()[0].decode()
    for each in (writer, outlet, store):
        each.close()
    for series in ('events_lost_total{output="eve"}', 'events_lost_total{output="syslog"}',
                   'events_lost_total{output="store"}', 'plugin_quarantined_total{plugin="ours"}',
                   'blocklist_drift_total{kind="missing"}', 'blocklist_drift_total{kind="extra"}',
                   'blocklist_drift_total{kind="altered"}', "blocks_not_biting_total", "engine_faults_total",
                   "workers_restarted_total"):  # fmt: skip
        assert f"\nids_{series} 0.0\n" in text


def test_the_dashboard_is_what_grafana_imports() -> None:
    """As far as its form says: ids and places of panels are their own, variables are declared, sources are chosen."""
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval"}
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, f"{panel['title']} lies on another"
        assert all(x < 24 for x, _ in cells), "a row has 24 columns"
        taken |= cells
        assert panel["type"] in {"stat", "timeseries"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= variables
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))


@pytest.fixture
def promtool() -> str:
    made = ROOT / "build/tools/promtool"
    path = shutil.which("promtool") or (str(made) if made.exists() else None)
    if path is None:
        pytest.skip("promtool is not installed (scripts/test-setup.sh fetches it)")
    return path


def run(promtool: str, *words: str | Path, scraped: bytes | None = None) -> None:
    """Run promtool; it has to succeed and to have no remarks."""
    done = subprocess.run([promtool, *words], input=scraped, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stdout.decode() + done.stderr.decode()


def test_promtool_takes_the_alert_rules_and_the_metrics(promtool: str) -> None:
    run(promtool, "check", "rules", ALERTS)
    run(promtool, "check", "metrics", scraped=Metrics(snapshot).scraped()[0])


def test_alerts_fire_when_they_have_to_and_not_otherwise(promtool: str) -> None:
    run(promtool, "test", "rules", *CASES)


def test_every_panel_shows_something_of_an_engine_that_is_busy(promtool: str, tmp_path: Path) -> None:
    """Prometheus evaluates each expression over scrapes of one whose every counter rises."""
    text = Metrics(snapshot).scraped()[0].decode()
    series = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in {**sample.labels, **SCRAPED}.items())
            rise = 60 if family.type == "counter" else 0
            series.append({"series": f"{sample.name}{{{labels}}}", "values": f"{sample.value}+{rise}x{SCRAPES}"})
    cases = [
        {"expr": f"count({plain(expr)}) > bool 0", "eval_time": f"{SCRAPES * EVERY_S}s",
         "exp_samples": [{"labels": "{}", "value": 1}]}
        for expr in panels().values()
    ]  # fmt: skip
    file = tmp_path / "panels.json"
    file.write_text(json.dumps({"tests": [
        {"interval": f"{EVERY_S}s", "input_series": series, "promql_expr_test": cases}
    ]}))  # fmt: skip
    run(promtool, "test", "rules", file)
