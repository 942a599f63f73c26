"""The console in a real browser: every page, with hostile text in every field. On demand, the pictures of the docs.

IDS_SCREENSHOTS=docs/img .venv/bin/python -m pytest tests/console/test_browser.py
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ids.kernel import Block
from ids.snapshot import Snapshot
from ids.types import BlockMode
from tests.console.browser import NO_BROWSER, Browser, find_browser
from tests.console.conftest import HOSTILE, TOKEN, Open, Site, alert, hostile_alert, hostile_change, pretend, snapshot

pytestmark = pytest.mark.long

PICTURES = os.environ.get("IDS_SCREENSHOTS", "")

UNTOUCHED = (
    "document.title.indexOf('owned') < 0"
    " && document.querySelectorAll('main script, main img, main iframe').length === 0"
    " && document.querySelectorAll('[onerror], [onload], [onclick], [style]').length === 0"
)
"""Holds while nothing that others sent has become markup."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip(NO_BROWSER)
    with Browser(program, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def browser(started: Browser) -> Browser:
    started.forget()
    return started


def blocks(label: str) -> list[Block]:
    """Return what the kernel would hold."""
    now_ns = time.time_ns()
    return [
        Block(ipaddress.ip_network("198.51.100.66"), now_ns + 10**12, sid=100001, added_ns=now_ns - 10**11,
              packets=1200, bytes=96_000, last_hit_ns=now_ns - 10**9),
        Block(ipaddress.ip_network("2001:db8:66::/48"), None, BlockMode.SHADOW, label=label, added_ns=now_ns),
    ]  # fmt: skip


def moved(second: int) -> Snapshot:
    """Return what a look shows so many seconds later, of traffic that comes in waves."""
    first = snapshot()
    grown = sum(4 + round(3 * math.sin(at / 3)) for at in range(second))
    moving = {"decode.packets", "detect.alerts"}
    counters = {name: count * (1 + grown * (name in moving)) for name, count in first.counters.items()}
    kernel = {
        name: (packets * (1 + grown), size * (1 + grown)) for name, (packets, size) in (first.kernel or {}).items()
    }
    lag = {"engine.lag_ms": 12 + second % 5}
    return replace(first, taken_ns=first.taken_ns + second * 10**9, counters=counters | lag, kernel=kernel)


def log_in(browser: Browser, site: Site) -> str:
    base = f"http://127.0.0.1:{site.port}"
    browser.go(f"{base}/")
    browser.run(f"document.querySelector('input[name=token]').value = {TOKEN!r}")
    browser.submit("document.querySelector('form.token button').click()")
    assert browser.run("document.cookie") == "", "no script sees the session"
    return base


def test_every_page_shows_hostile_text_as_text(
    browser: Browser, open_site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = open_site(write=True)
    site.remember([hostile_alert(number) for number in range(4, 60)])
    site.seen.append(snapshot(interfaces=(HOSTILE,), problem=HOSTILE, engine=None, kernel={f"drop.{HOSTILE}": (9, 9)}))
    site.note(hostile_change())
    pretend(monkeypatch, blocks(HOSTILE))
    base = log_in(browser, site)
    seen = 0
    for path in ("/", "/alerts", "/alerts?text=script", "/alerts/4", "/blocks", "/why?address=198.51.100.66",
                 "/why?address=4", "/rules",
                 "/search?q=script", "/search?q=100001", "/nowhere/<script>", "/alerts/999999"):  # fmt: skip
        browser.go(f"{base}{path}")
        if path == "/":
            browser.until("document.querySelector('svg polyline') !== null")  # the script has shown its numbers
        assert browser.run(UNTOUCHED), path
        seen += browser.run("document.body.textContent.includes(\"<script>document.title='owned'</script>\")")
        assert not browser.run("/[\\u001b\\u202e]/.test(document.body.textContent)"), "orders are spelt out"
    assert seen >= 8, "the text is there to be read"
    browser.run(f"document.querySelector('input[name=q]').value = {HOSTILE.encode('unicode_escape').decode()!r}")
    browser.submit("document.querySelector('form.search button').click()")
    assert browser.run(UNTOUCHED)
    unexpected = [complaint for complaint in browser.complaints() if not re.search("status of (401|404)", complaint)]
    assert unexpected == []
    assert {url.split("/")[2] for url in browser.urls() if url.startswith("http")} == {f"127.0.0.1:{site.port}"}


def test_a_walk_through_the_console(browser: Browser, open_site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    site = open_site(write=True)
    site.remember([
        alert(number, alert__signature="Path traversal to a system file", src_ip="198.51.100.66", flow_id=77,
              alert__action="blocked", alert__severity=1)
        for number in range(10, 80)
    ])  # fmt: skip
    site.note(
        replace(
            hostile_change(),
            label="rule",
            flow_id=77,
            detail={
                "signature": "Path traversal to a system file",
                "rule": "rules/base/web.yaml:7",
                "evidence": [{"buffer": "http.uri", "offset": 3, "excerpt": "/../etc/passwd"}],
            },
        )
    )
    pretend(monkeypatch, blocks("spamhaus-drop"))
    base = log_in(browser, site)
    for second in range(1, 50):
        site.seen.append(moved(second))
        browser.run("fetch('/api/now').then((answer) => answer.json()).then(show)")
    browser.until("document.getElementById('passed').textContent.endsWith('/s')")
    assert "The engine answers." in browser.run("document.getElementById('state').textContent")
    picture(browser, "now")
    browser.submit("document.querySelector('nav a[href=\"/alerts\"]').click()")
    assert browser.run("document.querySelectorAll('tbody tr').length") == 50
    picture(browser, "alerts")
    browser.submit("document.querySelector('a.next').click()")
    assert browser.run("document.querySelectorAll('tbody tr').length") == 23
    browser.go(f"{base}/alerts?sid=100002&severity=1")
    browser.submit("document.querySelector('tbody a').click()")
    assert "/../etc/passwd.." in browser.run("document.querySelector('.dump').textContent")
    assert "2f 2e 2e 2f 65 74 63" in browser.run("document.querySelector('.dump').textContent")
    picture(browser, "alert")
    browser.submit("document.querySelector('a.why').click()")
    assert "ids block delete 198.51.100.66 " in browser.run("document.body.textContent")
    picture(browser, "why")
    browser.submit("document.querySelector('nav a[href=\"/blocks\"]').click()")
    assert "spamhaus-drop" in browser.run("document.body.textContent")
    picture(browser, "blocks")
    browser.submit("document.querySelector('nav a[href=\"/rules\"]').click()")
    assert "5,000 µs" in browser.run("document.body.textContent")
    picture(browser, "rules")
    browser.submit("document.querySelector('form[action=\"/logout\"] button').click()")
    assert browser.run("document.querySelector('input[name=token]') !== null")
    assert [complaint for complaint in browser.complaints() if "401" not in complaint] == []
    assert f"{base}" in browser.urls()[-1]


def picture(browser: Browser, name: str) -> None:
    """Write a picture of the page, where pictures are asked for."""
    if PICTURES:
        folder = Path(PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        browser.picture(folder / f"console-{name}.png")
