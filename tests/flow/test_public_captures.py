"""Captures of others in which segments overlap, are urgent, or open a connection in an unusual way."""

from __future__ import annotations

import pytest

from ids.capture import open_capture
from ids.config import Config
from ids.counters import Counters
from ids.decode import Decoder
from ids.flow import FlowSettings, FlowTable, StreamSettings
from ids.types import FlowBatch
from tests.shared import shared


def streams(test: str, **settings: object) -> dict[tuple[int, bool], bytes]:
    """Return the streams of the capture of a test, by direction and whether they are a variant's."""
    (path,) = shared(f"suricata-verify/tests/{test}").glob("*.pcap")
    counters = Counters()
    decoder = Decoder(Config().decode.model_copy(update={"checksums": "none"}), counters, live=False)
    table = FlowTable(FlowSettings(), counters, StreamSettings.model_validate(settings))
    found: dict[tuple[int, bool], bytes] = {}

    def take(result: FlowBatch) -> None:
        for chunk in result.streams:
            key = int(chunk.direction), chunk.flow.variant
            found[key] = found.get(key, b"") + chunk.data

    with open_capture(path) as capture:
        for batch in capture:
            take(table.process(decoder.decode(batch)))
    take(table.drain())
    return found


@pytest.mark.parametrize(
    ("test", "versions"),
    [
        ("eve-payload-01-tcp-exact-overlap", {b"GOOD", b"EVIL"}),
        ("eve-payload-02-tcp-exact-overlap-policy-oldlinux", {b"GOOD", b"EVIL"}),
        ("eve-payload-03-tcp-exact-overlap-ips", {b"GOOD", b"EVIL"}),
        ("eve-overlap-payload-04-partial-overlap", {b"GOOD", b"GXXX"}),
        ("eve-payload-04-partial-overlap", {b"GOOD", b"GXXX"}),
    ],
)
def test_both_versions_of_an_overlap_are_delivered(test: str, versions: set[bytes]) -> None:
    found = streams(test)
    assert {found[0, False], found[0, True]} == versions


def test_a_handshake_in_four_steps_leaves_the_client_the_client() -> None:
    assert streams("tcp-split-handshake-01-4whs")[0, False] == b"EVIL"


@pytest.mark.parametrize(("test", "read"), [("tcp-urgp-01-oob", b"malicious"), ("tcp-urgp-04-2byte-XY", b"malicXious")])
def test_an_urgent_byte_hides_no_word(test: str, read: bytes) -> None:
    assert read in streams(test)[0, True]


def test_data_on_the_syn_comes_before_what_follows() -> None:
    stream = streams("tcp-fastopen-08")[0, False]
    assert len(stream) == 70 + 103
