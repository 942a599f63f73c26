"""`ids replay --report`: one page that holds all it shows, bounded, and takes no orders from the traffic."""

from __future__ import annotations

import json
import stat
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from ids.cli import cli
from ids.errors import UsageError
from ids.events import Event, Events
from ids.kernel.model.program import XDP_DROP, XDP_PASS
from ids.replay.page.collect import MAX_ALERTS, MAX_ALERTS_OF_RULE, MAX_RULES, MAX_TIMELINES, Collector, Largest
from ids.replay.page.figures import MAX_EVIDENCE_BYTES, hex_rows, span
from ids.replay.page.render import MAX_ROWS, write_page
from ids.replay.page.timeline import BINS, LATEST_NS, Timeline
from ids.replay.report import BlockReport, CaptureReport, ReplayReport
from ids.types import PacketBatch
from tests.console.browser import NO_BROWSER, find_browser
from tests.shared import ROOT

HOSTILE = "</title><script>document.title='run'</script><img src=x onerror=document.title='run'>\"'&\u202e\x1b[2J"


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def alert(sid: int = 1, text: str = "a title", number: int = 7, **more: Any) -> Event:
    return {
        "timestamp": "2026-01-01T00:00:00.000000+0000", "event_type": "alert", "pcap_cnt": number,
        "pcap_filename": "a.pcap", "src_ip": "192.0.2.1", "src_port": 1, "dest_ip": "192.0.2.2", "dest_port": 80,
        "alert": {"gid": 1, "signature_id": sid, "rev": 1, "signature": text, "severity": 1, "action": "allowed"},
        "ids": {"rule": "r.yaml:1", "packet_ts_ns": 5, "evidence": [
            {"buffer": "http.uri", "offset": 4, "excerpt": "GET /needle", "matched": [4, 11]}]},
        **more,
    }  # fmt: skip


def batch(ts_ns: list[int], source: str = "a.pcap") -> PacketBatch:
    count = len(ts_ns)
    zeros = np.zeros(count, np.int64)
    return PacketBatch(
        np.zeros(1, np.uint8), zeros, zeros, zeros + 100, np.array(ts_ns, np.int64), zeros + 1,
        np.ones(count, np.uint16), np.zeros(count, np.uint32), source,
    )  # fmt: skip


def written(tmp_path: Path, report: ReplayReport, collector: Collector) -> str:
    write_page(tmp_path / "page.html", report, collector)
    return (tmp_path / "page.html").read_text()


def test_a_replay_writes_one_page_that_needs_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    capture = ROOT / "pcaps" / "log4shell.pcap"
    result = CliRunner().invoke(cli, ["replay", "--fast-path", "model", str(capture), "--report", str(out)])
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    page = Page(out.read_text())
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert not any(name in attributes for _, attributes in page.tags for name in ("src", "href", "onclick"))
    assert "106" in page.text
    assert "Log4Shell lookup in a request line, header or cookie" in page.text
    assert "192.0.2.66/32" in page.text, "the block,"
    assert "cut off from packet" in page.text
    assert "Nothing was left out." in page.text
    assert "<mark>24 7b 6a 6e 64 69" in out.read_text(), "${jndi is marked"
    assert list(tmp_path.iterdir()) == [out], "nothing else is left behind"


def test_what_was_not_inspected_is_there_with_why_and_what_to_set(tmp_path: Path) -> None:
    row = {"reason": "x", "flows": 2, "packets": None, "bytes": 3000, "why": "a reason", "remedy": "a.setting",
           "intended": True}  # fmt: skip
    text = Page(written(tmp_path, ReplayReport([CaptureReport("a.pcap")], uninspected=[row]), Collector())).text
    assert "a reason" in text
    assert "3,000" in text
    assert "a.setting" in text


def hostile_page(tmp_path: Path) -> str:
    collector = Collector()
    event = alert(text=HOSTILE, src_ip=HOSTILE, app_proto=HOSTILE, http={"url": HOSTILE, "hostname": HOSTILE})
    event["ids"] |= {"rule": HOSTILE, "client": {"ip": HOSTILE, "via": HOSTILE, "proxy": HOSTILE}}
    event["ids"]["block"] = {"refused": "x", "detail": HOSTILE}
    event["ids"]["evidence"] = [{"buffer": HOSTILE, "offset": 0, "excerpt": HOSTILE[:60], "matched": [0, 9]}]
    flow = {"event_type": "flow", "flow": {"bytes_toserver": 5}, "src_ip": HOSTILE, "app_proto": HOSTILE}
    collector.events(Events([event, flow]))
    collector.batch(batch([1, 2], HOSTILE))
    captures = [
        CaptureReport(HOSTILE, problem=HOSTILE, blocks=[BlockReport(HOSTILE, 1, "enforce", 60, 7)]),
        CaptureReport("b.pcap"),
    ]
    return written(tmp_path, ReplayReport(captures, fast_path_note=HOSTILE), collector)


def test_hostile_strings_are_text(tmp_path: Path) -> None:
    text = hostile_page(tmp_path)
    page = Page(text)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert "<script>document" in page.text
    assert not set(text) & {"\x1b", "\u202e"}, "what would take the reader in is spelt out"
    assert "\\u202e" in page.text


def test_a_browser_runs_nothing_of_it(tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip(NO_BROWSER)
    hostile_page(tmp_path)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chromium'}",
               "--dump-dom", (tmp_path / "page.html").as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True).stdout
    assert "<title>run</title>" not in dom
    assert "2 captures" in Page(dom).text


def test_the_page_is_bounded(tmp_path: Path) -> None:
    collector = Collector()
    for number in range(3 * MAX_RULES):
        collector.events(Events([alert(sid=number % (MAX_RULES + 9), number=number, text="x" * 200)]))
    for number in range(2 * MAX_TIMELINES):
        collector.batch(batch([number], str(number)))
    assert len(collector.rules) == MAX_RULES
    assert len(collector.alerts) == MAX_ALERTS
    assert collector.alerts_in_all == 3 * MAX_RULES
    assert len(collector.timelines) == MAX_TIMELINES
    blocks = [BlockReport("192.0.2.1/32", 1, "enforce", 60, 7)] * (3 * MAX_ROWS)
    text = written(tmp_path, ReplayReport([CaptureReport("a", blocks=blocks, alerts={1: 3000})]), collector)
    assert len(text) < 4_000_000
    assert "more blocks" in text
    assert "2,500 more are not shown" in text


def test_a_noisy_rule_does_not_hide_the_others() -> None:
    collector = Collector()
    collector.events(Events([alert(1, number=number) for number in range(2000)] + [alert(2)]))
    assert [event["alert"]["signature_id"] for event in collector.alerts] == [1] * MAX_ALERTS_OF_RULE + [2]
    assert collector.rules[1, 1].hits == 2000


def test_the_largest_sums_are_kept() -> None:
    kept = Largest(10)
    for number in range(1000):
        kept.add("large", 5)
        kept.add(str(number), 1)
    assert kept.top(1) == [("large", 5000)]
    assert len(kept) <= 20


TIMES = st.lists(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5), max_size=8)


@given(st.one_of(TIMES, st.lists(st.lists(st.integers(0, 10**10), min_size=1, max_size=9), max_size=9)))
@example([[500_000], [0]])
def test_a_timeline_counts_everything_whatever_the_clock_does(batches: list[list[int]]) -> None:
    timeline = Timeline()
    for times in batches:
        timeline.add("packets", np.array(times, np.int64))
    counts = timeline.series("packets")
    assert len(counts) == BINS
    assert counts.sum() == sum(map(len, batches))
    times = [time for of in batches for time in of]
    if times:
        assert counts[timeline.used :].sum() == 0
        assert timeline.start_ns + BINS * timeline.width_ns > min(max(times), LATEST_NS)


def test_dropped_packets_stand_where_they_came() -> None:
    collector = Collector()
    packets = batch([0, 50_000_000, 100_000_000])
    collector.batch(packets)
    collector.verdicts(packets, np.array([XDP_PASS, XDP_DROP, XDP_PASS], np.uint8), np.zeros(3, np.uint8))
    assert collector.timelines["a.pcap"].series("dropped").nonzero()[0].tolist() == [50]


def test_the_bytes_that_matched_are_marked() -> None:
    first, second = hex_rows({"offset": 20, "excerpt": "0123456789abcdefgh", "matched": [14, 17]})
    assert first.offset == f"{6:08x}", "offset is that of the match; the row begins before it"
    assert [(run.text, run.marked) for run in first.runs] == [("0123456789abcd", False), ("ef", True)]
    assert [(run.text, run.marked) for run in second.runs] == [("g", True), ("h", False)]
    assert second.runs[0].hexadecimal == "67"
    (whole,) = hex_rows({"offset": 0, "excerpt": "\xff\0"})
    assert [(run.text, run.marked) for run in whole.runs] == [("··", True)]


@given(st.binary(max_size=2 * MAX_EVIDENCE_BYTES), st.one_of(st.none(), st.tuples(st.integers(), st.integers())))
def test_any_evidence_is_shown_once(data: bytes, matched: tuple[int, int] | None) -> None:
    evidence = {"offset": 3, "excerpt": data.decode("latin-1"), "matched": matched and list(matched)}
    shown = bytes.fromhex("".join(run.hexadecimal for row in hex_rows(evidence) for run in row.runs))
    assert shown == data[:MAX_EVIDENCE_BYTES]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0021, "2 ms"), (1.5, "1.5 s"), (600, "10 min"), (10_800, "3 h"), (864_000, "10 days")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_page_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--report"):
        write_page(tmp_path / "no" / "page.html", ReplayReport(), Collector())


def test_a_plugins_strange_alert_does_not_stop_the_page(tmp_path: Path) -> None:
    event = alert(ids={"evidence": []})
    del event["src_ip"], event["pcap_cnt"], event["pcap_filename"]
    collector = Collector()
    collector.events(Events([json.loads(json.dumps(event))]))
    assert "no IP header" in written(tmp_path, ReplayReport([CaptureReport("a", alerts={1: 1})]), collector)
