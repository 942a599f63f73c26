"""The rules of all languages as one plugin: start, reload, and what it hands on."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ids.config import Config
from ids.counters import Counters
from ids.errors import RulesRefused
from ids.plugin.context import EngineContext
from ids.plugin.host import PluginHost
from ids.protocols import BY_NAME
from ids.rules.match.index import RuleIndex
from ids.rules.model.buffers import CATALOGUE, PARSED
from ids.rules.model.scanning import COMPILER
from ids.rules.settings import RulesSettings
from ids.testing import Session, to_client
from ids.types import Direction, FlowColumns, StreamChunk, Transactions
from plugins.rules import Rules
from tests.factory import make_flow, make_streams
from tests.rules.builders import rule_text, transaction

YAML = "rules:\n" + rule_text("[payload: {contains: needle}]", 1) + rule_text("[http.uri: /needle]", 2, "http")
YARA = 'rule r { meta: sid = 3 strings: $a = "needle" condition: $a }'
YARA_OF_TWO = 'rule two { meta: sid = 6 strings: $a = "needle" $b = "never there" condition: all of them }'
FOUND = [1, 2, 3]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A directory with rules of both languages."""
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "b.yar").write_text(YARA)
    return tmp_path


def start(path: Path, **settings: Any) -> tuple[PluginHost, EngineContext]:
    """Register the plugin with the host and start it on the rules of a directory."""
    counters = Counters()
    config = Config(rules=RulesSettings(paths=[str(path)], cache_dir=str(path / "cache"), **settings))
    context = EngineContext(config, counters, {}, FlowColumns(4))
    host = PluginHost(counters)
    host.register("rules", Rules())
    host.start(lambda _name: context)
    return host, context


def alerts(host: PluginHost, context: EngineContext) -> list[int]:
    """Return the sids of what the plugin finds in one new flow."""
    flow = make_flow(app_proto="http", columns=context.flows)
    chunk = StreamChunk(flow, Direction.TO_SERVER, 0, b"GET /needle", 0, 1)
    answers = host.call("ids_streams", streams=make_streams([chunk]))
    asked = Transactions([transaction(flow, uri=b"/needle")])
    answers += host.call("ids_transactions", transactions=asked, parts=asked)
    assert {match.detector for answer in answers for match in answer} <= {"rules"}
    return sorted(match.signature.sid for answer in answers for match in answer)


def test_matches_and_counts(rules: Path) -> None:
    """Rules of the configured directory are loaded, counted and matched; disabled ones are not."""
    host, context = start(rules)
    assert alerts(host, context) == FOUND
    loaded = [context.counters[f"rules.{name}"] for name in ("loaded", "loaded_yaml", "loaded_yara")]
    assert loaded == [3, 2, 1]
    host, context = start(rules, disabled_sids=[1, 3])
    assert alerts(host, context) == [2]
    assert context.counters["rules.loaded"] == 1


def test_rules_in_suricatas_language_are_left_out_one_by_one(rules: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Loudly; and with ``strict`` they refuse the start."""
    good = 'alert tcp any any -> any any (content:"needle"; sid:8;)\n'
    (rules / "c.rules").write_text(good + good.replace("sid:8;", "foo; sid:9;"))
    _, context = start(rules)
    names = ("loaded", "loaded_yaml", "loaded_yara", "loaded_suricata", "refused")
    assert [context.counters[f"rules.{name}"] for name in names] == [4, 2, 1, 1, 1]
    assert "4 rules loaded, 1 left out: keyword foo 1" in caplog.text
    with pytest.raises(RulesRefused, match="foo: no such option is known"):
        start(rules, strict=True)


@pytest.mark.parametrize("name", ["a.yaml", "b.yar"])
def test_bad_rules_refuse_the_start(rules: Path, name: str) -> None:
    """With every error."""
    (rules / name).write_text("rule rules: [7]")
    with pytest.raises(RulesRefused) as caught:
        start(rules)
    assert caught.value.errors[0].location.path == str(rules / name)


def test_a_sid_belongs_to_one_rule_of_all_languages(rules: Path) -> None:
    """At run time too; the error has both places."""
    (rules / "b.yar").write_text(YARA.replace("3", "2"))
    with pytest.raises(RulesRefused) as caught:
        start(rules)
    (error,) = caught.value.errors
    assert str(error).startswith(f"{rules}/b.yar:1:1: sid 2 is already used at {rules}/a.yaml:6:5")


def indexes() -> set[RuleIndex]:
    """Return all that live in this process."""
    gc.unfreeze()  # what a start has made is not listed otherwise
    return {one for one in gc.get_objects() if isinstance(one, RuleIndex)}


def test_a_reload_leaves_nothing_of_the_rules_before_it(tmp_path: Path) -> None:
    """However many flows go on that began before: the rules of each load may take tens of megabytes."""
    both = "[http.uri: /needle, http.stat_code: '200']"
    parts = "[payload: {contains: needle}, payload: {contains: never there}]"
    (tmp_path / "a.yaml").write_text(YAML + rule_text(both, 4, "http") + rule_text(parts, 5))
    (tmp_path / "b.yar").write_text(f"{YARA} {YARA_OF_TWO}")
    others = indexes()
    session = Session(f"rules.paths=[{tmp_path}]", rules=Rules())
    for said in (b"GET /needle HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"):
        session.tcp(said, close=False)
    before = weakref.WeakSet(indexes() - others)
    assert len(before) == 1
    assert session.reload() == []
    assert not before, "freed at once: nobody looks for cycles among what a start has made"


@pytest.mark.parametrize("name", ["a.yaml", "b.yar"])
def test_a_reload_with_bad_rules_changes_nothing(rules: Path, name: str) -> None:
    """The old rules stay at work; good ones replace them."""
    host, context = start(rules)
    good = (rules / name).read_text()
    (rules / name).write_text("rule rules: [7]")
    assert len(host.reload(lambda _name: context)) == 1
    assert alerts(host, context) == FOUND
    (rules / name).write_text(good.replace("needle", "thread"))
    assert host.reload(lambda _name: context) == []
    assert alerts(host, context) == [sid for sid in FOUND if (sid == 3) is (name == "a.yaml")]


COSTLY = r"(?s)select.{0,4000}from.{0,4000}(?:where|having)"
"""Takes a second or two to compile."""


def test_packets_go_on_while_rules_are_loaded(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They meet the rules that are in force; the new ones are then."""
    monkeypatch.setattr("ids.rules.model.patterns.COMPILE_CPU_S", 30.0)
    host, context = start(rules)
    (rules / "a.yaml").write_text(YAML + rule_text(f"[payload: {{regex: '{COSTLY}'}}]", 9))
    seen = []

    def go_on() -> bool:
        seen.append(alerts(host, context))
        return True

    errors, commit = host.prepare_reload(lambda _name: replace(context, go_on=go_on))
    assert errors == []
    assert len(seen) > 10
    assert seen == [FOUND] * len(seen)
    assert context.counters["rules.loaded"] == 3
    commit()
    assert context.counters["rules.loaded"] == 4


@pytest.mark.parametrize("lasting", [False, True])
def test_the_child_that_compiles_ends_with_the_load(
    rules: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    """But where its owner says that more will come."""
    monkeypatch.setattr(COMPILER, "lasting", lasting)
    (rules / "a.yaml").write_text(YAML + rule_text(f"[payload: {{regex: 'a[bc]+d {lasting}'}}]", 9))
    start(rules)
    before = COMPILER.starts
    assert COMPILER.runs == lasting
    (rules / "a.yaml").write_text(YAML + rule_text(f"[payload: {{regex: 'a[bc]+e {lasting}'}}]", 9))
    start(rules)
    assert COMPILER.starts - before == (0 if lasting else 1)


def test_a_stop_does_not_wait_for_rules(rules: Path) -> None:
    """Neither does a child go on with what nobody waits for."""
    host, context = start(rules)
    (rules / "a.yaml").write_text(
        YAML + "".join(rule_text(f"[payload: {{regex: 'x{i}{COSTLY}'}}]", i) for i in range(9, 40))
    )
    began = time.monotonic()
    errors, _ = host.prepare_reload(lambda _name: replace(context, go_on=lambda: time.monotonic() < began + 0.3))
    assert [str(error) for error in errors] == ["the engine stops"]
    assert time.monotonic() - began < 30, "the rules take a minute and more"
    while any(thread.name == "ids-load-rules" for thread in threading.enumerate()):
        time.sleep(0.01)
    assert not COMPILER.runs
    assert alerts(host, context) == FOUND


@pytest.mark.parametrize(
    ("traffic", "wanted"),
    [("tcp", {"tcp"}), ("udp", {"tcp", "udp"}), ("icmp", {"tcp", "other"}), ("ip", {"tcp", "udp", "other"})],
)
def test_interest(rules: Path, traffic: str, wanted: set[str]) -> None:
    """What some rule looks at; YARA rules look at streams."""
    (rules / "a.yaml").write_text("rules:\n" + rule_text("[payload: {contains: needle}]", 1, traffic))
    assert start(rules)[0].interest() == wanted


def test_shipped_rules_load() -> None:
    """Every rule of the project is good, with one sid space for both languages."""
    from ids.rules.language.loader import load_rules

    loaded = load_rules([Path(__file__).resolve().parents[2] / "rules"])
    assert [str(error) for error in (*loaded.errors, *loaded.yara.warnings)] == []
    assert loaded.rules
    assert loaded.yara.rules


@pytest.mark.parametrize("name", sorted(PARSED))
def test_interest_of_yara_rules_is_where_their_buffers_come_from(rules: Path, name: str) -> None:
    """A protocol that is spoken over UDP has to be shown there."""
    (rules / "a.yaml").unlink()
    buffer = next(
        buffer.name for buffer in CATALOGUE.values() if (buffer.protocol or buffer.name.split(".")[0]) == name
    )
    (rules / "b.yar").write_text(YARA.replace("sid = 3", f'sid = 3 scope = "{buffer}"'))
    spoken = {transport for number, transport in ((6, "tcp"), (17, "udp")) if BY_NAME[name].recognised_over(number)}
    assert start(rules)[0].interest() == spoken


NUMBERED = (
    "rules:\n"
    + rule_text("[payload: {startswith: KILLME}]", 1)
    + rule_text("[payload: {contains: needle}]", 2)
    + rule_text("[payload: {size: {min: 30}}]", 3)
    + rule_text("[http.uri: {contains: needle}]", 4, "http")
    + rule_text("[http.request_body: {contains: needle}]", 5, "http")
)
REQUESTS = st.sampled_from([
    b"GET /needle HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"needle", b"KILLME",
    b"POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nneedle", b"GET /needle HTTP/1.1\nHost: a\n\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnee\r\n3\r\ndle\r\n0\r\n\r\n",
])  # fmt: skip


@given(st.lists(REQUESTS, min_size=1, max_size=4).map(b"".join), st.data())
@example(b"KILLME" + b"x" * 40, None)
@settings(max_examples=60, deadline=None)
def test_an_alert_has_the_packet_that_completed_the_match_however_large_the_batch(said: bytes, data: Any) -> None:
    """So a block takes effect right behind it. Of a body (rule 5), that is the packet that ended it, or an earlier one
    where the batch ended before."""
    parts, left = [], said
    while left:
        size = data.draw(st.integers(1, len(left))) if data else 7
        parts.append(left[:size])
        left = left[size:]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(NUMBERED)
        numbers = []
        for batch in (None, 1):
            session = Session(f"rules.paths=[{path}]", rules=Rules())
            session.tcp(*parts, to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 4), batch=batch)
            numbers.append(sorted((alert["alert"]["signature_id"], alert["pcap_cnt"]) for alert in session.alerts))
    whole, single = numbers
    assert [found for found in whole if found[0] != 5] == [found for found in single if found[0] != 5]
    assert all(late[0] == early[0] and late[1] >= early[1] for late, early in zip(whole, single, strict=True))
