"""What the comparison with the peer's events says, and that ours stand it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ids.protocols import PROTOCOLS
from tests.content import peer_events, peer_runs
from tests.shared import SHARED, shared

EVERY = 12
"""Of the captures of the public tests the suite reads each so-many-th; all of them, ``--valid`` does."""

WITH_FILES = (
    "base64", "http-auth-bearer", "http-post-file", "http-gap-whole-body", "http-multiple-cl",
    "http-encoding-gzip-uncompressed", "http-evader/http-evader-001", "http-evader/http-evader-013",
    "http-evader/http-evader-240", "engine-state/detect-engine-state-01",
)  # fmt: skip
OF_PROTOCOLS = (
    ("dns", "bug-2158"), ("dns", "dns-tcp-ts-gap"), ("tls", "tls/tls13-draft22"), ("tls", "bug-1450-04"),
    ("ssh", "ssh-hassh"), ("http", "http-connect/http-connect-tls"), ("http", "http2-deflate"),
    ("smtp", "smtp-rfc2231"), ("sip", "sip-method"), ("dhcp", "dhcp-eve-extended"),
)  # fmt: skip
LEAST = 0.98


def event(kind: str = "http", port: int = 1, **more: Any) -> dict[str, Any]:
    ends = {"src_ip": "192.0.2.1", "src_port": port, "dest_ip": "192.0.2.2", "dest_port": 80, "proto": "TCP"}
    return {"event_type": kind, "timestamp": str(port), "flow_id": port, **ends, **more}


def test_equal_events_are_equal_whatever_their_order_and_time() -> None:
    theirs = [event(tx_id=number, http={"url": f"/{number}", "length": 3}) for number in range(3)]
    ours = [{**one, "timestamp": "later", "flow_id": 9} for one in reversed(theirs)]
    tally = peer_events.compared(theirs, ours)["http"]
    assert (tally.theirs, tally.ours, tally.equal, tally.share, tally.differences) == (3, 3, 3, 1.0, [])


def test_each_field_counts() -> None:
    tally = peer_events.compared(
        [event(http={"url": "/", "length": 3, "status": 200})], [event(http={"url": "/", "length": 4})]
    )["http"]
    assert (tally.equal, tally.fields - tally.fields_equal) == (0, 2)
    assert tally.differences == [("http", "http.length", 3, 4), ("http", "http.status", 200, None)]


def test_an_event_that_is_not_there_differs_in_all_its_fields() -> None:
    assert peer_events.compared([event(app_proto="no such")], [])["http"].unparsed == 1
    tally = peer_events.compared([event(app_proto="http")], [event(port=2)])["http"]
    assert [difference[1] for difference in tally.differences] == ["missing", "extra"]
    assert (tally.fields_equal, tally.fields) == (0, 13)


def test_the_direction_of_an_event_counts_and_the_spelling_of_addresses_does_not() -> None:
    one = event("fileinfo", src_ip="2001:0db8:0000:0000:0000:0000:0000:0001")
    other = event("fileinfo", src_ip="2001:db8::1")
    assert peer_events.compared([one], [other])["fileinfo"].equal == 1
    turned = {**other, "src_ip": other["dest_ip"], "dest_ip": other["src_ip"], "src_port": 80, "dest_port": 1}
    assert len(peer_events.compared([one], [turned])["fileinfo"].differences) == 4


def test_known_differences_have_a_cause() -> None:
    kinds = {"fileinfo", *(protocol.event for protocol in PROTOCOLS)}
    for (kind, capture, name), cause in peer_events.known().items():
        assert kind in kinds, (kind, capture, name)
        assert cause.removeprefix(peer_events.SET_ASIDE)


def test_what_the_list_sets_aside_has_a_figure_of_its_own() -> None:
    one, other = event(pkt_src="stream (flow timeout)"), event(pkt_src="wire/pcap")
    tally = peer_events.compared([one], [other], "a capture")["http"]
    assert (tally.fields - tally.fields_equal, tally.aside, tally.share_aside) == (1, 1, 1.0)
    tally = peer_events.compared([event(http={"url": "/a"})], [event(http={"url": "/b"})], "a capture")["http"]
    assert (tally.aside, tally.share_aside) == (0, tally.share)


def test_community_ids_count_but_where_both_addresses_are_one() -> None:
    ours, theirs = event(community_id="1:a"), event(community_id="1:b")
    assert peer_events.compared([theirs], [ours])["http"].differences == [("http", "community_id", "1:b", "1:a")]
    here = [{**one, "dest_ip": one["src_ip"]} for one in (theirs, ours)]
    assert peer_events.compared(here[:1], here[1:])["http"].aside == 1


@pytest.mark.parametrize("name", WITH_FILES)
def test_events_of_files_are_the_peers(name: str) -> None:
    """All but those differences that are known, each with its cause, are equal."""
    if not peer_events.can_compare():
        pytest.skip("suricata is not installed")
    shared("suricata-verify")
    found = peer_events.of_capture(peer_events.captures()[name], ("fileinfo",))["fileinfo"]
    assert found.theirs > 0
    assert peer_events.unknown(name, found.differences) == []


@pytest.mark.parametrize(("kind", "name"), OF_PROTOCOLS)
def test_events_of_protocols_are_the_peers(kind: str, name: str) -> None:
    if not peer_events.can_compare():
        pytest.skip("suricata is not installed")
    shared("suricata-verify")
    found = peer_events.of_capture(peer_events.captures()[name], (kind,))[kind]
    assert found.theirs > 0
    assert peer_events.unknown(name, found.differences) == []


@lru_cache(maxsize=1)
def some_captures() -> list[tuple[str, Path]]:
    """Return the captures that the suite reads."""
    return list(peer_events.captures().items())[::EVERY] if (SHARED / "suricata-verify").exists() else []


def test_every_event_is_valid() -> None:
    schema = json.loads(shared("eve-schema.json").read_text())
    shared("suricata-verify")
    wrong: list[str] = []
    for name, capture in some_captures():
        with TemporaryDirectory() as folder:
            wrong += [f"{name}: {fault}" for fault in peer_events.faults(capture, Path(folder), schema)]
    assert wrong == []


def test_a_field_that_is_not_compared_counts_as_none() -> None:
    one, other = event(http={"url": "/a", "length": 1}), event(http={"url": "/b", "length": 1})
    tally = peer_events.compared([one], [other])["http"]
    fields = tally.fields
    tally.forgive(list(tally.differences))
    assert (tally.differences, tally.fields, tally.share) == ([], fields - 1, 1.0)


def test_a_test_of_the_peer_is_run_by_both_as_its_author_meant_it(tmp_path: Path) -> None:
    """Its own capture, rules, settings and options; what differs is known (`peer_suite_failures.txt`)."""
    if not peer_events.can_compare():
        pytest.skip("suricata is not installed")
    shared("suricata-verify")
    tallies = peer_runs.of_test("dns-udp-nxdomain-soa", tmp_path)
    assert (tmp_path / "dns-udp-nxdomain-soa" / "eve.json").exists()
    assert tallies["dns"].theirs == tallies["dns"].ours > 0
    assert tallies["dns"].differences == []
