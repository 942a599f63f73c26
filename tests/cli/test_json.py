"""`--json` over all verbs: lists are lines, one thing is one object, and a name means one thing (docs/json.md)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click
import pytest

from ids.cli import cli, reload
from ids.kernel import Block, Blocklist
from ids.respond.policy import Penalty
from ids.state import penalties
from ids.store.database import open_writing, store_path
from ids.store.rows import alert_row, insertion
from tests.cli.conftest import Ids, rows_of
from tests.shared import ROOT
from tests.store.samples import T0, line

pytestmark = [pytest.mark.root, pytest.mark.xdp]

PAGE = (ROOT / "docs" / "json.md").read_text()
LOG4SHELL = ROOT / "pcaps" / "log4shell.pcap"
RULE = """rules:
  - title: a needle
    id: 3f1f6a52-6c0e-4a57-9d0e-0b7c5a1e2f11
    sid: 9000001
    level: high
    description: a rule of the tests
    traffic: http
    match: [http.uri: {contains: needle}]
    tests: [{name: it fires, http: {uri: /needle}, alerts: 1}]
"""

LISTS = {
    "block list": "", "block list --by": "label", "block show": "192.0.2.9", "allow list": "", "penalties list": "",
    "alerts list": "", "feeds list": "", "feeds update": "", "config show": "respond.mode", "rules list": "",
    "rules test": "",
}  # fmt: skip
THINGS = {
    "block add": "192.0.2.8", "block delete": "192.0.2.8 192.0.2.250", "block import": "{feed} --label x",
    "allow add": "192.0.2.7", "allow delete": "192.0.2.7", "penalties reset": "--all",
    "detach": "--set instance=nobody", "reload": "", "why": "192.0.2.9", "alerts show": "1", "stats": "",
    "service status": "", "doctor": "-i lo", "check": "", "config check": "", "rules check": "", "rules coverage": "",
    "rules explain": "9000001 {capture}", "rules profile": "{capture}", "replay": "--fast-path off {capture}",
    "top": "--count 1",
}  # fmt: skip
ELSEWHERE = {"lab"}
"""Makes namespaces: what it prints is tested with it."""

OF_OTHERS = {"event", "alert", "config", "counters", "engine", "kernel", "default", "value", "captures", "alerts"}
"""What has names of others in it: EVE events, settings, counters, a capture's report."""


def verbs(group: click.Group = cli, before: str = "") -> Iterator[str]:
    """Yield all verbs that take ``--json``."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{before}{name} ")
        elif any("--json" in option.opts for option in command.params):
            yield f"{before}{name}"


@pytest.fixture
def words(ids: Ids, blocks: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Make something of everything; return what commands are given."""
    feed, rules, settings = tmp_path / "feed.txt", tmp_path / "needle.yaml", tmp_path / "ids.yaml"
    feed.write_text("192.0.2.3\n")
    rules.write_text(RULE)
    settings.write_text(f"feeds: [{{label: y, file: {feed}, every: 1h}}]\nrules: {{paths: [{rules}]}}\n")
    ids("block", "add", "192.0.2.9", "--comment", "ticket 12", "--for", "1h")
    ids("allow", "add", "198.51.100.1")
    blocks.add([Block(ip_network("192.0.2.9"), sid=7, label="rule"), Block(ip_network("192.0.2.0/24"), label="feed")])
    penalties.save(tmp_path / "default", [Penalty(ip_network("192.0.2.9"), 3, 1 << 62, True)])
    database = open_writing(store_path(str(tmp_path), "default"))
    database.execute(insertion("alerts"), alert_row(line(0, signature_id=7, src_ip="192.0.2.9"), T0))
    database.close()
    monkeypatch.setattr(reload, "WHICH_ENGINE", (*reload.WHICH_ENGINE, "fastpath.pin_dir"))
    monkeypatch.setattr(reload, "request", lambda *_, **__: {"waiting": []})
    return {"feed": str(feed), "capture": str(LOG4SHELL), "settings": str(settings)}


def printed(ids: Ids, words: dict[str, str], verb: str, arguments: str) -> str:
    overrides = [] if "service" in verb or verb == "reload" else ["-c", words["settings"]]
    _, out, err = ids(*verb.split(), *arguments.format(**words).split(), *overrides, "--json")
    assert out, err
    return out


def names(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield name
            if name not in OF_OTHERS:
                yield from names(value)
    elif isinstance(data, list):
        for value in data:
            yield from names(value)


def test_each_verb_has_its_place_here_and_on_the_page() -> None:
    known = {verb.removesuffix(" --by") for verb in LISTS} | set(THINGS) | ELSEWHERE
    assert set(verbs()) == known
    table = PAGE[PAGE.index("| verb |") : PAGE.index("`block export`")]
    rows = [row for row in table.splitlines() if row.startswith("| `")]
    assert set(re.findall(r"`([^`]+)`", rows[0])) == set(LISTS)
    assert set(re.findall(r"`([^`]+)`", "".join(rows[1:]))) == set(THINGS) | ELSEWHERE


def test_what_each_verb_prints(ids: Ids, words: dict[str, str]) -> None:
    defined = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| name |") :]))
    for verb, arguments in {**LISTS, **THINGS}.items():
        if verb == "service status":
            continue  # takes no --set: it would ask for the engine of this host
        out = printed(ids, words, verb, arguments)
        rows = rows_of(out) if verb in LISTS else [json.loads(out)]
        assert rows, verb
        assert all(isinstance(row, dict) for row in rows), verb
        seen = {name for row in rows for name in names(row)}
        units = {name for name in seen if re.search(r"_(ns|s)$", name)}
        assert units <= defined, f"ids {verb}: {units - defined} is not in docs/json.md"
        assert not seen & {"until_ns", "timestamp_ns", "guarded", "reset", "interfaces"}, verb


def test_an_empty_list_prints_nothing(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    for verb in ("block list", "allow list", "penalties list", "feeds list"):
        assert ids(*verb.split(), "--json")[1] == "", verb


def test_entries_are_the_same_wherever_they_are_shown(ids: Ids, words: dict[str, str]) -> None:
    listed = {row["network"]: row for row in rows_of(printed(ids, words, "block list", ""))}
    shown = {row.pop("network"): row for row in rows_of(printed(ids, words, "block show", "192.0.2.9"))}
    why = {row["network"]: row for row in json.loads(printed(ids, words, "why", "192.0.2.9"))["blocks"]}
    assert listed.keys() == shown.keys() == why.keys()
    for network, entry in listed.items():
        assert set(entry) == set(why[network]) == {*shown[network], "network"} - {"asked"}
        for other, again in zip(entry["others"], why[network]["others"], strict=True):
            assert set(other) == set(again) == {"mode", "sid", "label", "added_ns", "expires_ns", "comment"}
    (rule,) = [claim for claim in (listed["192.0.2.9/32"], *listed["192.0.2.9/32"]["others"]) if claim["sid"]]
    (own,) = [claim for claim in (listed["192.0.2.9/32"], *listed["192.0.2.9/32"]["others"]) if not claim["sid"]]
    assert (own["comment"], rule["comment"]) == ("ticket 12", None)
