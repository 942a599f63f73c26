"""`respond.exceptions`: a rule that does not count of some addresses, and what `ids why` says to write there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from pydantic import ValidationError

from ids import hookimpl
from ids.cli import main
from ids.config import load_config
from ids.engine import Engine
from ids.replay import ReplayGate
from ids.respond.exceptions import MOST_UNKNOWN, Exceptions, unknown_rules
from ids.settings.respond import RespondSettings, RuleException
from ids.store.asked import Asked
from ids.store.database import open_writing
from ids.store.queries import alert, history
from ids.store.rows import alert_row, change_row, insertion
from ids.store.why import Answer, exception_for
from ids.testing import Session
from ids.testing.session import to_client
from ids.types import Change, Direction
from plugins.rules import Rules
from tests.factory import make_flow, make_match, make_signature
from tests.store.samples import T0

ATTACKER, OTHER = "198.51.100.9", "198.51.100.10"
REQUEST = b"GET /needle HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nneedle")
YAML = (
    "rules:\n  - {title: a needle, sid: 9000001, traffic: http, match: [%s: {contains: needle}],"
    " block: {target: %s, require: any}}\n"
)
RULES = {
    "client.yaml": YAML % ("http.uri", "src_ip"),
    "answer.yaml": YAML % ("http.response_body", "dst_ip"),
    "x.yar": """rule needle {
    meta:
        title = "a needle"
        sid = 9000001
        scope = "http.uri"
        block = "src_ip 1h any"
    strings:
        $a = "needle"
    condition:
        $a
}
""",
    "group.rules": 'drop http any any -> any any (msg:"a needle"; http.uri; content:"needle"; gid:7; sid:9000001;)\n',
}


class Record:
    """Keeps what was done."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    @hookimpl
    def ids_changes(self, changes: Sequence[Change]) -> None:
        self.changes += changes


def played(folder: Path, name: str, *settings: str) -> tuple[Session, list[Change]]:
    (folder / name).write_text(RULES[name])
    record = Record()
    session = Session(f"rules.paths=[{folder / name}]", *settings, rules=Rules(), record=record)
    for source in (ATTACKER, OTHER):
        session.tcp(REQUEST, ANSWER, src=source)
    return session, record.changes


def suggested(folder: Path, session: Session, done: list[Change], *, remembered: bool) -> str:
    """Return what `ids why` says to write for the attacker; ``remembered``: its alert is."""
    network = ip_network(ATTACKER)
    answer = Answer(Asked(network))
    with closing(open_writing(folder / "d" / "events.db")) as database:
        for change in done:
            database.execute(insertion("changes"), change_row(change))
        answer.cause = next(iter(history(database, network)), None)
        if remembered:
            (event,) = (event for event in session.alerts if ATTACKER in (event["src_ip"], event["dest_ip"]))
            database.execute(insertion("alerts"), alert_row(orjson.dumps(event) + b"\n", T0))
            answer.alert = alert(database, 1)
    exception = exception_for(answer)
    assert exception is not None
    assert exception[0] == 9000001
    (written,) = yaml.safe_load(exception[1])["respond"]["exceptions"]
    return f"respond.exceptions=[{json.dumps(written)}]"


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_what_why_suggests_excepts_the_source_and_nobody_else(tmp_path: Path, name: str, remembered: bool) -> None:
    before, done = played(tmp_path, name)
    blocks = name != "group.rules"
    assert before.blocks == ([f"{ATTACKER}/32", f"{OTHER}/32"] if blocks else [])
    assert len(before.alerts) == 2
    if not blocks and not remembered:
        return  # nothing is known of it then
    after, _ = played(tmp_path, name, suggested(tmp_path, before, done, remembered=remembered))
    (event,) = after.alerts
    assert OTHER in (event["src_ip"], event["dest_ip"])
    assert after.blocks == ([f"{OTHER}/32"] if blocks else [])
    assert after.counters["respond.exceptions"] == 1
    assert after.counters["respond.flows_dropped"] == before.counters["respond.flows_dropped"] / 2


def test_a_suppressed_rule_drops_all_the_same_and_an_excepted_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "threshold.config").write_text("suppress gen_id 7, sig_id 9000001\n")
    suppressed, _ = played(tmp_path, "group.rules", f"rules.threshold_file={tmp_path / 'threshold.config'}")
    assert (suppressed.alerts, suppressed.counters["respond.flows_dropped"]) == ([], 2)


@pytest.mark.parametrize(
    ("exception", "direction", "covered"),
    [
        ({"src_ip": ["192.0.2.0/24"]}, Direction.TO_SERVER, True),
        ({"src_ip": ["192.0.2.0/24"]}, Direction.TO_CLIENT, False),
        ({"dst_ip": ["192.0.2.0/24"]}, Direction.TO_CLIENT, True),
        ({"src_ip": ["192.0.2.0/24"], "dst_ip": ["203.0.113.1"]}, Direction.TO_SERVER, True),
        ({"src_ip": ["192.0.2.0/24"], "dst_ip": ["203.0.113.2"]}, Direction.TO_SERVER, False),
        ({"src_ip": ["2001:db8::/32", "192.0.2.1"]}, Direction.TO_SERVER, True),
        ({"src_ip": ["::/0"]}, Direction.TO_SERVER, False),
        ({"src_ip": ["192.0.2.0/24"], "gid": 3}, Direction.TO_SERVER, False),
    ],
)
def test_it_holds_where_all_that_it_names_does(exception: dict[str, Any], direction: Direction, covered: bool) -> None:
    exceptions = Exceptions([RuleException(sid=1000001, **exception)])
    match = make_match(make_flow(src="192.0.2.1", dst="203.0.113.1"), make_signature(), direction=direction)
    assert exceptions.cover(match) is covered
    assert not Exceptions().cover(match)


def test_an_exception_of_nobody_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"rules\.disabled_sids"):
        RespondSettings.model_validate({"exceptions": [{"sid": 7}]})


def test_a_reload_puts_exceptions_in_force(tmp_path: Path) -> None:
    session, _ = played(tmp_path, "client.yaml")
    assert session.reload(f"respond.exceptions=[{{sid: 9000001, src_ip: [{ATTACKER}]}}]") == []
    session.tcp(REQUEST, src=ATTACKER)
    assert len(session.alerts) == 2
    assert session.counters["respond.exceptions"] == 1


RULE = {1000081: "Log4Shell", 1000099: "a scanner", 2100498: "GPL attack_response"}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({"sid": 1000081}, None),
        ({"sid": 1000018}, "did you mean 1000081, 'Log4Shell'?"),  # two digits in the wrong order
        ({"sid": 100081}, "did you mean 1000081, 'Log4Shell'?"),  # one left out
        ({"sid": 2100489}, "did you mean 2100498, 'GPL attack_response'?"),
        ({"sid": 1000095}, "did you mean 1000099, 'a scanner'?"),
        ({"sid": 1000081, "gid": 3}, "did you mean 1000081 (gid 1), 'Log4Shell'?"),
        ({"sid": 5}, "did you mean 1000081, 'Log4Shell'?"),  # the nearest at least
        ({"sid": 7}, None),  # left out by rules.disabled_sids
        ({"sid": 1, "gid": 20}, None),  # the engine's own
    ],
)
def test_an_exception_from_no_rule_is_named_with_the_rule_that_may_be_meant(
    asked: dict[str, Any], meant: str | None
) -> None:
    rules = [make_signature(sid=sid, title=title) for sid, title in RULE.items()]
    found = list(unknown_rules([RuleException(src_ip=["192.0.2.1"], **asked)], rules, disabled=[7]))
    assert len(found) == (meant is not None)
    assert meant is None or found[0].endswith(f"({meant})")


def test_of_many_such_exceptions_the_first_are_named(caplog: pytest.LogCaptureFixture) -> None:
    found = list(unknown_rules([RuleException(sid=sid, src_ip=["192.0.2.1"]) for sid in range(1, 501)], []))
    assert len(found) == MOST_UNKNOWN + 1
    assert found[-1].endswith("480 more exceptions")


def test_it_is_warned_of_with_its_place_at_a_start_and_a_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules, settings = tmp_path / "client.yaml", tmp_path / "ids.yaml"
    rules.write_text(RULES["client.yaml"])
    settings.write_text(
        f"rules: {{paths: ['{rules}']}}\nrespond:\n  exceptions:\n    - src_ip: [192.0.2.1]\n      sid: 9000010\n"
    )
    wanted = f"{settings}:5:12: respond.exceptions: no loaded rule has sid 9000010, so "
    config = load_config(settings)
    engine = Engine(config, ReplayGate())
    try:
        assert [message[: len(wanted)] for message in caplog.messages if "exceptions" in message] == [wanted]
        caplog.clear()
        assert engine.reload(config) == []
        assert [message[: len(wanted)] for message in caplog.messages if "exceptions" in message] == [wanted]
    finally:
        engine.stop()


def test_config_check_names_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "client.yaml").write_text(RULES["client.yaml"])
    settings = tmp_path / "ids.yaml"
    settings.write_text("respond: {exceptions: [{sid: 9000010, src_ip: [192.0.2.1]}]}\n")
    with pytest.raises(SystemExit):
        main(["config", "check", "-c", str(settings), "--set", f"rules.paths=[{tmp_path / 'client.yaml'}]"])
    assert f"odd: {settings}:1:30: respond.exceptions: no loaded rule has sid 9000010" in capsys.readouterr().err
