"""HTTP/2 in rules and events, and the files that it carries."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from ids.protocols.http2.frames import (
    PREFACE,
)
from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.protocols.frames2 import (
    GET,
    OK,
    POST,
    Speaker,
    conversation,
    data,
    reset,
)
from tests.rules.builders import rule_text
from tests.shared import event_validator


def session(tmp_path: Any, *rules: str) -> Session:
    path = tmp_path / "r.rules"
    path.write_text(
        "\n".join(
            f'alert {head} (msg:"x"; {body} sid:{n + 1};)'
            for n, (head, body) in enumerate(rule.split("|", 1) for rule in rules)
        )
    )
    return Session(f"rules.paths=[{path}]", rules=Rules())


ANY = "any any -> any any"


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ('http|http.uri; content:"/a?b=1";', True),
        ('http2|http.uri; content:"/a?b=1";', True),
        ('http1|http.uri; content:"/a?b=1";', False),
        ('tcp|http.uri; content:"/a?b=1";', True),
        ('http|http.method; content:"POST"; http.request_body; content:"world";', True),
        ('http2|file.data; content:"one and one";', True),
        ('http2|http.stat_code; content:"200";', True),
        ("http2|http2.frametype:GOAWAY;", True),
        ("http2|http2.frametype:7;", True),
        ("http2|http2.frametype:RST_STREAM; http2.errorcode:CANCEL;", True),
        ("http2|http2.errorcode:8;", True),
        ("http2|http2.errorcode:COMPRESSION_ERROR;", False),
        ("http2|http2.priority:>199;", True),
        ("http2|http2.priority:>200;", False),
        ("http2|http2.window:1000;", True),
        ("http2|http2.window:1-999;", False),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE;", True),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE=65535;", True),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE 65534;", False),
        ("http2|http2.settings:SETTINGS_INITIAL_WINDOW_SIZE>65534;", True),
        ("http2|http2.settings:SETTINGS_MAX_CONCURRENT_STREAMS 50-101;", True),
        ("http2|http2.settings:SETTINGS_ENABLE_PUSH;", False),
        ('http2|http2.header_name; content:"x-trailer";', True),
        ('http2|http2.header; content:"x-trailer: t";', True),
        ("http2|http2.size_update:1;", False),
        ("tcp|app-layer-protocol:http2;", True),
        ("tcp|app-layer-protocol:http;", True),
        ("tcp|app-layer-protocol:http1;", False),
    ],
)
def test_rules(tmp_path: Any, rule: str, fires: bool) -> None:
    protocol, body = rule.split("|")
    found = session(tmp_path, f"{protocol} {ANY}|{body}")
    said, answered = conversation()
    found.tcp(said, to_client(answered))
    assert found.sids == [1] * fires * len(found.sids)
    assert bool(found.sids) is fires


@pytest.mark.parametrize(
    "option",
    [
        "http2.frametype:NONE;",
        "http2.errorcode:NO;",
        "http2.settings:SETTINGS_NO 1;",
        "http2.settings:5;",
        "http2.priority:256;",
        "http2.window:x;",
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Any, option: str) -> None:
    from ids.rules.language.suricata.loader import SuricataLoader
    from ids.rules.language.variables import Variables
    from ids.rules.settings import DEFAULT_VARIABLES

    loader = SuricataLoader(Variables(DEFAULT_VARIABLES))
    loader.take("r.rules", f"alert http2 {ANY} ({option} sid:1;)")
    assert len(loader.left_out) == 1


def test_a_rule_in_yaml_serves_both(tmp_path: Any) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text("[{http.uri: {contains: '/a?b=1'}}]", traffic="http"))
    found = Session(f"rules.paths=[{path}]", rules=Rules())
    said, answered = conversation()
    found.tcp(said, to_client(answered))
    found.tcp(b"GET /a?b=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found.alerts
    assert {alert["app_proto"] for alert in found.alerts} == {"http", "http2"}
    assert all(alert["http"]["url"] == "/a?b=1" for alert in found.alerts)


def test_events_are_valid(tmp_path: Any) -> None:
    validator = event_validator()
    found = session(tmp_path, f"http2 {ANY}|http2.window:1000;")
    said, answered = conversation()
    found.tcp(said, to_client(answered))
    events = [event for event in found.events if event["event_type"] in ("http", "alert")]
    assert len(events) > 5
    for event in events:
        validator.validate({key: value for key, value in event.items() if key != "ids"})
        assert "http2" not in event
    assert all(event["http"]["version"] == "2" for event in events if event["event_type"] == "http")


def fileinfo(*said: Any) -> list[dict[str, Any]]:
    found = Session("eve.types=[fileinfo,http]", rules=Rules())
    found.tcp(*said)
    return [event for event in found.events if event["event_type"] == "fileinfo"]


def test_a_body_is_a_file_however_long_it_is() -> None:
    content = bytes(range(256)) * 1000
    pieces = [content[at : at + 16000] for at in range(0, len(content), 16000)]
    answer = Speaker().headers(OK, last=False) + b"".join(data(piece, last=False) for piece in pieces) + data(b"")
    (event,) = fileinfo(PREFACE + Speaker().headers(GET), to_client(answer))
    assert event["fileinfo"]["size"] == len(content)
    assert event["fileinfo"]["state"] == "CLOSED"
    assert event["fileinfo"]["filename"] == "/a"
    assert event["http"]["status"] == 200
    assert event["app_proto"] == "http2"


def test_a_coded_body_is_the_file_that_comes_of_it() -> None:
    answer = Speaker().headers([*OK, ("content-encoding", "gzip")], last=False) + data(gzip.compress(b"content"))
    (event,) = fileinfo(PREFACE + Speaker().headers(GET), to_client(answer))
    assert (event["fileinfo"]["size"], event["fileinfo"]["state"]) == (7, "CLOSED")


def test_files_of_a_request_have_the_answer_beside_them() -> None:
    said = Speaker().headers(POST, last=False) + data(b"upload")
    (event,) = fileinfo(PREFACE + said, to_client(Speaker().headers([(":status", "403")])))
    assert (event["fileinfo"]["size"], event["http"]["status"]) == (6, 403)


def test_parts_of_a_form_are_files() -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\n%b\r\n'
    form = body % (b"one.txt", b"first") + body % (b"two.txt", b"second") + b"--x--\r\n"
    said = Speaker().headers([*POST, ("content-type", "multipart/form-data; boundary=x")], last=False) + data(form)
    events = fileinfo(PREFACE + said, to_client(Speaker().headers(OK)))
    assert [event["fileinfo"]["filename"] for event in events] == ["one.txt", "two.txt"]


@pytest.mark.parametrize("size", [100, 200_000])
def test_rules_ask_for_the_digest_of_a_file(tmp_path: Any, size: int) -> None:
    import hashlib

    content = b"a" * size
    (tmp_path / "known.md5").write_text(hashlib.md5(content).hexdigest() + "\n")
    found = session(tmp_path, f"http2 {ANY}|filemd5:known.md5;")
    pieces = [content[at : at + 16000] for at in range(0, len(content), 16000)]
    answer = Speaker().headers(OK, last=False) + b"".join(data(piece, last=False) for piece in pieces) + data(b"")
    found.tcp(PREFACE + Speaker().headers(GET), to_client(answer))
    assert found.sids == [1]


def test_a_file_that_ends_early_is_said_to() -> None:
    answer = Speaker().headers(OK, last=False) + data(b"begun", last=False) + reset(2, 1)
    (event,) = fileinfo(PREFACE + Speaker().headers(GET), to_client(answer))
    assert (event["fileinfo"]["size"], event["fileinfo"]["state"]) == (5, "TRUNCATED")
