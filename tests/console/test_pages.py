"""What pages show of the store and the lists: a page at a time, and what is wrong in words."""

from __future__ import annotations

import ipaddress
import re
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ids.console import lists, pages
from ids.console.access import Access
from ids.console.app import App, _when
from ids.console.evidence import MAX_DUMP, MOST_ROWS, dump, rows_of
from ids.console.messages import Request, Response
from ids.errors import KernelError
from ids.kernel import Block
from ids.store.byhand import Deed, record
from ids.store.database import open_writing, store_path
from tests.console.conftest import HOSTILE, TOKEN, Open, Site, alert, hostile_alert, hostile_change, pretend, snapshot
from tests.store.samples import ROTTEN, rot


@pytest.fixture
def shared_site(open_site: Open) -> Site:
    """A console that may write, over lists that are not there."""
    return open_site(write=True)


def ask(site: Site, path: str, **query: str) -> Response:
    """Return what the console answers to who knows the token."""
    headers = {"host": "localhost", "authorization": f"Bearer {TOKEN}"}
    return site.server.answer(Request("GET", path, query, headers))


def text(response: Response) -> str:
    assert response.status == 200
    return response.body.decode()


def shown(response: Response) -> list[int]:
    """Return the alerts of a page by number, as they stand there."""
    return [int(number) for number in re.findall(r'class="time"><a href="/alerts/(\d+)"', text(response))]


def test_alerts_come_a_page_at_a_time_and_each_once(site: Site) -> None:
    site.remember([alert(number) for number in range(3, 130)])
    seen: list[int] = []
    query: dict[str, str] = {"severity": "2"}
    for size in (50, 50, 30):
        page = ask(site, "/alerts", **query)
        assert len(shown(page)) == size
        seen += shown(page)
        cursor = re.search(r"before=(\d+-\d+)", text(page))
        assert (cursor is None) is (size < 50)
        if cursor is not None:
            assert "severity=2&amp;before=" in text(page), "the filters go along"
            query["before"] = cursor[1]
    assert seen == list(range(130, 0, -1))


def test_alerts_are_filtered(site: Site) -> None:
    site.remember(
        [alert(7, src_ip="2001:db8::7", alert__signature="odd % one", alert__action="blocked", alert__severity=1)]
    )
    for query in (
        {"text": "ODD %"}, {"address": "2001:db8::/32"}, {"severity": "1"}, {"action": "blocked"}, {"sid": "100002"},
    ):  # fmt: skip
        assert 4 in shown(ask(site, "/alerts", **query)), query
    assert shown(ask(site, "/alerts", text="nowhere")) == []
    assert shown(ask(site, "/alerts", sid="100002", severity="1")) == [4]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/alerts", {"sid": "x"}), ("/alerts", {"severity": "-1"}), ("/alerts", {"action": "'"}),
        ("/alerts", {"address": "nobody"}), ("/alerts", {"before": "1-x"}),
        ("/alerts", {"before": "9" * 25 + "-1"}), ("/alerts", {"before": "1-" + "9" * 25}),
        ("/why", {"address": "9" * 19}), ("/alerts", {"sid": "9" * 40}),
        ("/why", {}), ("/why", {"address": "<script>"}), ("/blocks", {"by": "nothing"}),
        ("/alerts/x", {}), ("/alerts/-1", {}), ("/alerts/" + "9" * 30, {}),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_in_words(site: Site, path: str, query: dict[str, str]) -> None:
    response = ask(site, path, **query)
    assert response.status == 400
    assert 'class="problem"' in response.body.decode()
    assert "<script>" not in response.body.decode().partition("<main>")[2]


def test_an_alert_that_has_gone_and_a_page_that_never_was_are_not_found(site: Site) -> None:
    assert ask(site, "/alerts/4711").status == 404
    assert ask(site, "/etc/passwd").status == 404
    assert ask(site, "/static/../app.py").status == 404


def test_a_search_finds_numbers_and_words(site: Site) -> None:
    assert "Alert 2" in text(ask(site, "/search", q="2"))
    assert "Alerts of the rule" in text(ask(site, "/search", q="100002"))
    assert "Alerts of the flow" in text(ask(site, "/search", q="1000"))
    assert shown(ask(site, "/search", q="probe 1")) == [2]


def test_without_a_store_pages_say_so_and_show_the_rest(site: Site) -> None:
    store_path(site.config.engine.state_dir, site.config.instance).unlink()
    for path in ("/", "/alerts", "/alerts/1", "/rules", "/search"):
        assert "there is no memory at" in text(ask(site, path)), path
    assert "pass.shown" in text(ask(site, "/"))


ASK_THE_STORE: tuple[tuple[str, dict[str, str]], ...] = (
    ("/", {}), ("/alerts", {}), ("/alerts", {"text": "nowhere"}), ("/alerts/1", {}), ("/rules", {}),
    ("/search", {"q": "probe"}), ("/search", {"q": "2"}), ("/why", {"address": "192.0.2.1"}),
)  # fmt: skip
"""Pages that look into it."""


def problem(response: Response) -> str:
    """Return what a page says is wrong, above what it shows."""
    found = re.search(r'<p class="problem" role="alert">(.*?)</p>', text(response), re.DOTALL)
    assert found is not None, "it says nothing"
    return found[1]


@pytest.mark.parametrize("kept", [0, 4096], ids=["not a database", "rotten behind its first page"])
@pytest.mark.parametrize(("path", "query"), ASK_THE_STORE)
def test_a_broken_store_is_said(site: Site, path: str, query: dict[str, str], kept: int) -> None:
    store = store_path(site.config.engine.state_dir, site.config.instance)
    store.write_bytes(store.read_bytes()[:kept] + b"\xa5" * (store.stat().st_size - kept))
    said = problem(ask(site, path, **query))
    assert "malformed" in said if kept else "not a database" in said
    if path == "/":
        assert "pass.shown" in text(ask(site, "/")), "the rest is there"


def test_an_event_that_is_damaged_costs_its_alert_nothing_else(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.note(*[replace(hostile_change(), flow_id=number) for number in (1002, 1003)])
    pretend(monkeypatch, [Block(ipaddress.ip_network("198.51.100.66"), None, sid=100001, label="rule")])
    asked = [("/why", {"address": subject}) for subject in ("1", "1002", "198.51.100.66")]
    for rotten in ROTTEN:
        with closing(open_writing(store_path(site.config.engine.state_dir, site.config.instance))) as database:
            rot(database, rotten)
        for path, query in (*ASK_THE_STORE, *asked):
            assert ask(site, path, **query).status == 200, (path, query, rotten)
        assert ask(site, "/why", address="1003").status == 400, "it has neither an alert nor a network"
        page = text(ask(site, "/alerts/1"))
        assert "probe" in page, "its columns are there"
        assert ("is damaged" in page) is not rotten.startswith('{"'), rotten


def test_a_broken_store_knows_no_alert_to_ask_about(site: Site) -> None:
    store = store_path(site.config.engine.state_dir, site.config.instance)
    store.write_bytes(store.read_bytes()[:4096] + b"\xa5" * (store.stat().st_size - 4096))
    response = ask(site, "/why", address="2")
    assert (response.status, b"malformed" in response.body) == (400, True)


def test_an_empty_file_becomes_an_empty_store(site: Site) -> None:
    store_path(site.config.engine.state_dir, site.config.instance).write_bytes(b"")
    for path, query in ASK_THE_STORE:
        response = ask(site, path, **query)
        assert response.status == (404 if path == "/alerts/1" else 200), path


@pytest.mark.parametrize(("path", "query"), ASK_THE_STORE)
def test_a_question_that_takes_too_long_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str, query: dict[str, str]
) -> None:
    monkeypatch.setattr(pages, "QUERY_S", -1.0)
    monkeypatch.setattr(pages, "STEPS", 1)
    assert ("interrupted" if path == "/why" else "ask for less") in problem(ask(site, path, **query))


def test_the_lists_show_what_the_kernel_says(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, [Block(ipaddress.ip_network("192.0.2.7"), None, label="operator", packets=5)])
    assert "1,000,000 entries; the foremost 1 are shown" in text(ask(site, "/blocks"))
    shown_why = text(ask(site, "/why", address="192.0.2.7"))
    assert 'id="exception"' not in shown_why, "no rule blocks it"
    assert "It is blocked." in shown_why
    assert "ids block delete 192.0.2.7<" in shown_why.replace("/32", "")
    assert "It is not blocked." in text(ask(site, "/why", address="192.0.2.8"))

    def refused(*_: object) -> None:
        raise KernelError("there is no fast path", "Start `ids run` first")

    monkeypatch.setattr(lists, "foremost", refused)
    assert "1,000,000 entries" in text(ask(site, "/blocks")), "one look serves all who come soon"
    assert "there is no fast path" in text(ask(site, "/blocks", by="latest"))


def test_without_a_kernel_side_why_shows_what_the_store_knows(site: Site) -> None:
    site.note(hostile_change())
    page = text(ask(site, "/why", address="198.51.100.66"))
    assert "there is no fast path under" in page
    assert "It is not blocked." in page
    assert "rule" in page.partition("What was done")[2]
    assert "{sid: 100001, src_ip: [" in page.partition('id="exception"')[2], "what would except it"


def test_a_question_about_an_alert_or_a_flow_is_one_about_its_source(site: Site) -> None:
    for number, about in (("2", "alert 2"), ("1001", "flow 1001")):
        page = text(ask(site, "/why", address=number))
        assert f"{about} is about it" in page
        assert "<h1>198.51.100." in page
    assert ask(site, "/why", address="4711").status == 400
    assert ask(site, "/why", address="9" * 40).status == 400


def test_hostile_text_is_escaped_on_every_page(site: Site) -> None:
    """As a parser of HTML sees it; `test_browser` has the word of a browser."""
    site.remember([hostile_alert(number) for number in range(4, 8)])
    site.note(hostile_change())
    for path, query in (("/", {}), ("/alerts", {"text": "<script>"}), ("/alerts/4", {}), ("/rules", {}),
                        ("/search", {"q": '"><script>'}), ("/why", {"address": "198.51.100.66"})):  # fmt: skip
        body = text(ask(site, path, **query)).partition("<main>")[2]
        assert "<script" not in body, path
        assert "<img" not in body, path
        assert "\x1b" not in body, path
        assert "\u202e" not in body, path
        assert "{{7*7}}" in body or path == "/search", path


PATHS = st.sampled_from(["/", "/alerts", "/alerts/1", "/blocks", "/why", "/rules", "/search", "/metrics", "/api/now",
                         "/unblock", "/login", "/logout", "/allow"])  # fmt: skip
NAMES = st.sampled_from(
    ["text", "address", "sid", "severity", "action", "before", "by", "q", "network", "token", "csrf"]
)
WORDS = st.text(max_size=40) | st.sampled_from([HOSTILE, "1", "192.0.2.1", "::/0", "0-0", "9" * 18, "hits", "%", "\\"])
HEADERS = st.dictionaries(
    st.sampled_from(["host", "cookie", "origin", "sec-fetch-site", "accept", "authorization"]), WORDS
)


@given(
    st.sampled_from(["GET", "HEAD", "POST"]), PATHS | st.text(max_size=30), st.dictionaries(NAMES, WORDS), HEADERS,
    st.dictionaries(NAMES, WORDS), st.booleans(),
)  # fmt: skip
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_is_answered(
    shared_site: Site, method: str, path: str, query: dict[str, str], headers: dict[str, str], form: dict[str, str],
    known: bool,
) -> None:  # fmt: skip
    if known:
        headers = {**headers, "host": "localhost", "authorization": f"Bearer {TOKEN}"}
    response = shared_site.server.answer(Request(method, path, query, headers, form))
    assert 200 <= response.status < 500
    if not known:
        assert response.status in (200, 204, 303, 401, 403, 421), "a style sheet, or a refusal"
        assert b"probe" not in response.body
    assert b"<script>" not in response.body
    assert all("\n" not in value and "\r" not in value for _, value in response.headers)


@pytest.mark.parametrize("payload", ["keep", "drop"])
def test_bytes_of_the_traffic_are_kept_back_where_the_settings_ask_for_it(open_site: Open, payload: str) -> None:
    site = open_site(f"console.payload={payload}")
    event = alert(7) | {"payload": "c2VjcmV0cw==", "payload_printable": "secrets in a body"}
    site.remember([event])
    page = text(ask(site, "/alerts/4"))
    why = text(ask(site, "/why", address="4"))
    for secret in ("secrets in a body", "c2VjcmV0cw=="):
        assert (secret in page) is (payload == "keep")
    for of in (page, why):
        assert ("/../etc/passwd" in of) is (payload == "keep")
        assert ("its bytes are not shown here" in of) is (payload == "drop")
        assert "http.uri" in of, "where it was seen is no secret"
        assert event["src_ip"] in of, "pages are about addresses"


def test_evidence_is_shown_as_bytes() -> None:
    assert dump("GET /\x00\xff<b>") == [("0000", "47 45 54 20 2f 00 ff 3c 62 3e", "GET /..<b>")]
    assert dump("€") == [("0000", "3f", "?")]
    assert len(dump("a" * 10 * MAX_DUMP)) == MAX_DUMP // 16
    assert dump("") == []


def test_an_event_of_any_shape_is_rows() -> None:
    event = {"a": {"b": [1, {"c": None}], "d": ["x", "y"]}, "ids": {"evidence": [{"excerpt": "z"}], "rule": "r"}}
    assert rows_of(event) == [("a.b.0", "1"), ("a.b.1.c", ""), ("a.d", "x, y"), ("ids.rule", "r")]
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"k": deep}
    assert len(rows_of(deep)) == 1
    assert len(rows_of({str(number): number for number in range(10_000)})) == MOST_ROWS + 1
    assert all(len(value) <= 1001 for _, value in rows_of({"long": "x" * 10**6, "wide": ["y" * 100] * 10_000}))


@pytest.mark.parametrize(("ts_ns", "words"), [(None, "never"), (0, "1970-01-01 00:00:00"), (1 << 80, str(1 << 80))])
def test_a_moment_of_any_size_is_spelt(ts_ns: int | None, words: str) -> None:
    assert _when(ts_ns) == words


def test_no_template_marks_text_as_safe_and_no_script_writes_markup() -> None:
    folder = Path(pages.__file__).parent
    for template in (folder / "templates").iterdir():
        content = template.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup", content), template.name
        assert not re.search(r"<script(?! src=\"/static/)|\son\w+=|\sstyle=|javascript:", content), template.name
        assert not re.search(r"(src|href|action)=\"https?:", content), template.name
    script = (folder / "static/console.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(", script)


def test_the_console_takes_no_notice_of_an_engine_that_is_not_there(site: Site) -> None:
    app = App(
        site.config, Access(TOKEN), lambda: snapshot(engine=None, kernel=None, counters={}, problem="nothing runs")
    )
    headers = {"host": "localhost", "authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/rules", "/metrics", "/api/now"):
        assert app.answer(Request("GET", path, {}, headers)).status == 200


def test_an_import_is_shown_by_the_feeds_name(site: Site) -> None:
    network = ipaddress.ip_network("198.51.100.66")
    deeds = [
        Deed("import", label="drop", detail={"networks": 1200}),
        Deed("unblock", network, "drop", detail={"added_ns": time.time_ns()}),
    ]
    assert record(store_path(site.config.engine.state_dir, "default"), deeds) == ""
    assert "drop (1,200 networks)" in text(ask(site, "/why", address=str(network)))
