"""A rule may keep the event of an exchange from being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.errors import IdsError
from ids.respond.unlogged import MAX_EXCHANGES
from ids.testing import Session, to_client
from plugins.rules import Rules

HEAD = "alert http any any -> any any"
QUIET = (
    'config http any any -> any any (http.uri; content:"/health"; config: logging disable, type tx, scope tx; sid:1;)'
)
IN_YAML = """
rules:
  - title: Health checks
    sid: 1
    traffic: http any any -> any any
    match: [http.uri: {contains: /health}]
    unlogged: true
    silent: true
"""


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode()


OK = to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def played(tmp_path: Path, rules: str, *paths: str, batch: int | None = None) -> Session:
    path = tmp_path / ("all.yaml" if rules.startswith("\n") else "all.rules")
    path.write_text(rules + "\n")
    session = Session(f"rules.paths=[{path}]", "rules.strict=true", rules=Rules())
    session.tcp(*(said for one in paths for said in (request(one), OK)), batch=batch)
    session.end()
    return session


def urls(session: Session) -> list[str]:
    return [event["http"]["url"] for event in session.events if event["event_type"] == "http"]


@pytest.mark.parametrize("rules", [QUIET, IN_YAML])
@pytest.mark.parametrize("batch", [None, 1])
def test_the_exchange_is_not_logged_and_others_are(tmp_path: Path, rules: str, batch: int | None) -> None:
    session = played(tmp_path, rules, "/a", "/health", "/b", batch=batch)
    assert (urls(session), session.sids) == (["/a", "/b"], [])


def test_an_alert_on_it_is_written(tmp_path: Path) -> None:
    rules = f'{QUIET}\n{HEAD} (http.uri; content:"/health"; sid:2;)'
    session = played(tmp_path, rules, "/health")
    assert (urls(session), session.sids) == ([], [2])


def test_a_rule_that_alerts_may_say_it_too(tmp_path: Path) -> None:
    session = played(tmp_path, QUIET.replace("config http", "alert http"), "/health", "/a")
    assert (urls(session), session.sids) == (["/a"], [1])


def test_it_is_known_of_the_response_alone(tmp_path: Path) -> None:
    rules = QUIET.replace("http.uri", "http.stat_code").replace("/health", "200")
    assert urls(played(tmp_path, rules, "/a", batch=1)) == []


@pytest.mark.parametrize(
    "options",
    [
        'content:"a"; config: logging disable, type tx, scope tx;',
        'http.uri; content:"a"; flowbits:isset,x; config: logging disable, type tx, scope tx;',
        'http.uri; content:"a"; config: logging disable;',
        'http.uri; content:"a"; config: files disable, type tx, scope tx;',
        'http.uri; content:"a";',
    ],
)
def test_what_would_configure_nothing_is_refused(tmp_path: Path, options: str) -> None:
    with pytest.raises(IdsError):
        played(tmp_path, f"config http any any -> any any ({options} sid:1;)")


def test_what_is_remembered_of_a_flow_is_bounded(tmp_path: Path) -> None:
    session = played(tmp_path, QUIET, *["/health"] * (MAX_EXCHANGES + 10))
    assert session.counters["events.logged_nevertheless"] == 10
    assert len(urls(session)) <= 10
