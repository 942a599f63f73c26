"""Where copies of bytes differ, every version that a host may have read is delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.flow import choices, doubts, slots, versions
from ids.flow.notes import Note
from ids.flow.policies import FAVOURS, RULES, Targets
from ids.flow.versions import Edit, Span, overlay
from ids.pieces import Copy
from ids.types import Direction, FlowState
from tests.flow.traffic import ACK, FIN, URG, Pkt, Run, Talk

CLIENT, SERVER = Direction


def opened() -> Talk:
    return Talk().open()


@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("first", [b"GOOD", b"EVIL"])
def test_a_decoy_before_or_behind_the_real_copy_hides_nothing(first: bytes, batch: int) -> None:
    second = {b"GOOD": b"EVIL", b"EVIL": b"GOOD"}[first]
    talk = opened().client(first).client(second, seq=1001).client(b" more").server(b"answer")
    run = Run(talk.pkts, batch=batch)
    assert run.stream() == first + b" more"
    assert run.versions() == {second + b" more"}
    assert run.versions(SERVER) == {b"answer"}


def test_a_variant_has_the_ends_of_its_connection_and_is_no_flow_of_its_own() -> None:
    run = Run(opened().client(b"GOOD").client(b"EVIL", seq=1001).close().pkts)
    (flow,), (variant,) = run.started, run.variants
    assert (variant.src, variant.dst, variant.sport, variant.dport) == (flow.src, flow.dst, flow.sport, flow.dport)
    assert variant.variant
    assert variant.id < 0
    assert not flow.variant
    assert flow.state is FlowState.CLOSED
    assert run.counters["flow.total"] == 1
    closed = [(chunk.direction, chunk.closed) for chunk in run.variant_chunks if chunk.closed]
    assert sorted(closed) == [(CLIENT, True), (SERVER, True)]


@pytest.mark.parametrize("batch", [1, 100])
def test_a_conflict_is_noted_once_a_direction(batch: int) -> None:
    talk = opened().client(b"GOOD").client(b"EVIL", seq=1001).client(b"LIVE", seq=1001).server(b"x")
    talk.server(b"y", seq=5001)
    run = Run(talk.pkts, batch=batch)
    assert [(note, direction, number) for note, direction, number in run.notes] == [
        (Note.CONFLICT, CLIENT, 5),
        (Note.CONFLICT, SERVER, 8),
    ]


def test_the_beginning_of_a_turn_that_was_acknowledged_is_read_with_the_rest() -> None:
    talk = opened().client(b"GET /").server(b"").client(b"good").client(b"evil", seq=1006).client(b" HTTP/1.1")
    for batch in (1, 100):
        assert Run(talk.pkts, batch=batch).versions() == {b"GET /evil HTTP/1.1"}


def test_two_conflicts_make_every_combination() -> None:
    talk = opened().client(b"a").client(b"A", seq=1001).client(b"b").client(b"B", seq=1002).client(b".")
    run = Run(talk.pkts)
    assert {run.stream(), *run.versions()} == {b"ab.", b"Ab.", b"aB.", b"AB."}


def test_the_version_that_always_takes_the_latest_copy_is_never_given_up() -> None:
    talk = opened()
    for at in range(40):
        talk.client(b"x").client(b"%d" % (at % 10), seq=1001 + at)
    run = Run(talk.pkts)
    assert b"0123456789" * 4 in run.versions()
    assert run.counters["flow.tcp.versions.begun"] < 60
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_a_copy_that_was_seen_before_makes_no_other_version() -> None:
    talk = opened().client(b"GOOD")
    for _ in range(5):
        talk.client(b"EVIL", seq=1001)
    assert len(Run(talk.pkts).variants) == 1


def test_versions_are_bounded_and_what_is_refused_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX_FORKED_BYTES", 0)
    monkeypatch.setattr(versions, "FORKED_FACTOR", 3)
    talk = opened().client(b"a" * 50)
    for at in range(20):
        talk.client(b"%c" % (65 + at), seq=1001 + at)
    run = Run(talk.pkts)
    assert run.counters["flow.tcp.versions.begun"] == 3 + 2  # and, at the end, the latest copies and the likeliest view
    assert run.counters["flow.tcp.versions.refused"] > 0
    alone = Run(talk.pkts, versions=1)
    assert alone.variants == []
    assert alone.started[0].conflicts == (20, 0)


def test_where_there_are_too_many_the_connection_whose_conflict_is_oldest_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slots, "MAX_VARIANTS", 2)
    talks = [Talk(base=Pkt(sport=port)).open().client(b"GOOD").client(b"EVIL", seq=1001) for port in range(1, 5)]
    run = Run([pkt for talk in talks for pkt in talk.pkts], batch=1)
    assert run.counters["flow.tcp.versions.evicted"] == 2
    assert len(run.variants) == 4
    assert run.counters["flow.tcp.versions.refused"] == 0
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_one_connection_gets_no_more_than_its_share_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX_FORKS", 32)
    greedy, other = opened().client(b"x" * 50), Talk(base=Pkt(sport=7)).open().client(b"GOOD").client(b"EVIL", seq=1001)
    for at in range(40):
        greedy.client(b"%c" % (65 + at), seq=1001 + at)
    run = Run(greedy.pkts + other.pkts)
    assert run.counters["flow.tcp.versions.begun"] <= 2 * (2 + 1) + 1  # in the batch and at its end, a last one each
    assert {b"EVIL", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh" + b"x" * 10} <= run.versions()


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_no_number_of_conflicts_buys_silence_for_one(batch: int) -> None:
    talk = opened().client(b"x" * 600)
    for at in range(600):
        talk.client(b"y", seq=1001 + at)
    talk.client(b"GOOD").client(b"EVIL", seq=1601).client(b"!").server(b"answer")
    run = Run(talk.pkts, batch=batch)
    assert b"y" * 600 + b"EVIL!" in run.versions()


# Copies behind a hole.


def held(*copies: tuple[int, bytes], fill: bytes = b"_") -> list[Pkt]:
    talk = opened()
    for at, data in copies:
        talk.client(data, seq=1001 + at)
    return talk.client(fill, seq=1001).pkts


@pytest.mark.parametrize(
    ("policy", "stream"),
    [
        ("first", b"_aaaa"), ("vista", b"_aaaa"), ("last", b"_bbbb"), ("bsd", b"_aaaa"), ("windows", b"_aaaa"),
        ("macos", b"_aaaa"), ("irix", b"_aaaa"), ("linux", b"_aaaa"), ("old-linux", b"_bbbb"), ("solaris", b"_bbbb"),
        ("hpux", b"_bbbb"), ("bsd-right", b"_bbbb"),
    ],
)  # fmt: skip
def test_the_same_place_and_length(policy: str, stream: bytes) -> None:
    run = Run(held((1, b"aaaa"), (1, b"bbbb")), policy=policy)
    assert run.stream() == stream
    assert {run.stream(), *run.versions()} == {b"_aaaa", b"_bbbb"}


@pytest.mark.parametrize(
    ("policy", "stream"),
    [("first", b"_1aaa"), ("linux", b"_bbbb"), ("bsd", b"_bbbb"), ("solaris", b"_bbbb"), ("vista", b"_baaa")],
)
def test_a_later_copy_that_starts_before(policy: str, stream: bytes) -> None:
    expected = {"first": b"_baaa"}.get(policy, stream)
    assert Run(held((2, b"aaa"), (1, b"bbbb")), policy=policy).stream() == expected


@pytest.mark.parametrize(
    ("policy", "stream"), [("linux", b"_bbbbb"), ("bsd", b"_aaaab"), ("first", b"_aaaab"), ("solaris", b"_bbbbb")]
)
def test_a_later_copy_of_the_same_place_that_is_longer(policy: str, stream: bytes) -> None:
    assert Run(held((1, b"aaaa"), (1, b"bbbbb")), policy=policy).stream() == stream


@pytest.mark.parametrize(
    ("policy", "stream"), [("linux", b"_aaaab"), ("bsd-right", b"_aabbb"), ("solaris", b"_aabbb"), ("last", b"_aabbb")]
)
def test_a_later_copy_that_starts_behind_and_ends_behind(policy: str, stream: bytes) -> None:
    assert Run(held((1, b"aaaa"), (3, b"bbb")), policy=policy).stream() == stream


@st.composite
def copies(draw: st.DrawFn) -> list[Copy]:
    made = []
    for _ in range(draw(st.integers(1, 8))):
        start, data = draw(st.integers(0, 10)), draw(st.binary(min_size=1, max_size=8))
        made.append(Copy(start, data, start, start + len(data)))
    return made


def read(given_copies: list[Copy], start: int, delivered: bytes, rule: Callable[..., Any]) -> bytes:
    """The oracle, a byte at a time."""
    owner: dict[int, Copy] = {}
    for copy in given_copies:
        for at in range(copy.start, copy.start + len(copy.data)):
            now = owner.get(at)
            if now is None or rule(now.first, now.last, copy.first, copy.last):
                owner[at] = copy
    text = bytearray(delivered)
    for at, copy in owner.items():
        if start <= at < start + len(delivered):
            text[at - start] = copy.data[at - copy.start]
    return bytes(text)


def seen(view: list[doubts.Run], start: int, delivered: bytes) -> bytes:
    """Return the bytes with what is different in a view."""
    text = bytearray(delivered)
    for run in view:
        text[run.start - start : run.start - start + len(run.data)] = run.data
    return bytes(text)


@given(copies(), st.integers(0, 10), st.binary(max_size=12), st.sampled_from([3, 1 << 20]))
@settings(max_examples=200)
def test_the_views_of_all_hosts(given_copies: list[Copy], start: int, delivered: bytes, longest: int) -> None:
    expected = {read(given_copies, start, delivered, rule) for rule in RULES} - {delivered}
    contested = doubts.Doubts()
    for copy in given_copies:
        contested.add(copy)
        contested.add(copy._replace(data=bytes(len(copy.data))), known=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doubts, "VIEW_BYTES", longest)
        found = contested.take(start, delivered)
    views = {seen(view, start, delivered) for view in found}
    assert expected <= views
    assert len(found) == len(views) <= choices.MAX_CHOICES
    assert delivered not in views
    assert all(len(run.data) <= longest for view in found for run in view)
    contested.take(0, bytes(100))
    assert (len(contested), contested.cost) == (0, 0)


# Copies of which some did not reach the host.

TRUE = b"GET /${jndi:ldap} HTTP/1.0\r\n\r\n"
AT = TRUE.index(b"$")


def behind_a_hole(*copies: tuple[int, bytes, int]) -> list[Pkt]:
    """Return the packets of a request whose beginning comes last: offset, content and TTL of what comes before."""
    talk = opened()
    for at, data, ttl in copies:
        talk.client(data, seq=1001 + at, ttl=ttl)
    end = max(at + len(data) for at, data, _ in copies)
    first = min(at for at, _, _ in copies)
    return talk.client(TRUE[end:], seq=1001 + end).client(TRUE[:first], seq=1001).pkts


@pytest.mark.parametrize("ttl", [1, 64])
@pytest.mark.parametrize("before", [1, 5])
@pytest.mark.parametrize("after", [1, 5])
@pytest.mark.parametrize("batch", [1, 100])
def test_a_true_copy_among_junk_is_read_wherever_it_comes(ttl: int, before: int, after: int, batch: int) -> None:
    spoilt = [(AT, b"%d" % number * 7, ttl) for number in range(before + after)]
    run = Run(behind_a_hole(*spoilt[:before], (AT, TRUE[AT : AT + 7], 64), *spoilt[before:]), batch=batch)
    assert TRUE in run.versions()
    assert run.counters["flow.tcp.versions.refused"] == 0
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def mixed(count: int, ttl: int, order: Callable[[int], bool] = lambda at: at % 2 == 0) -> list[Pkt]:
    """Return the request of which ``count`` bytes were sent twice, the junk first where ``order`` says so."""
    copies = []
    for at in range(AT, AT + count):
        spoilt, true = (at, b"x", ttl), (at, TRUE[at : at + 1], 64)
        copies += [spoilt, true] if order(at) else [true, spoilt]
    return behind_a_hole(*copies)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [1, 100])
def test_every_combination_of_a_few_places_is_read(count: int, batch: int) -> None:
    run = Run(mixed(count, ttl=64), batch=batch)
    expected = {TRUE[:AT]}
    for at in range(AT, AT + count):
        expected = {text + byte for text in expected for byte in (b"x", TRUE[at : at + 1])}
    assert {run.stream(), *run.versions()} >= {text + TRUE[AT + count :] for text in expected}


@pytest.mark.parametrize("count", [7, 12])
@pytest.mark.parametrize("ttls", [(1,), (1, 2, 3)])
@pytest.mark.parametrize("batch", [1, 100])
def test_no_order_hides_what_alone_went_far_enough(count: int, ttls: tuple[int, ...], batch: int) -> None:
    orders = (lambda at: at % 3 == 0, lambda at: at % 5 < 2, lambda at: at * 7 % 11 < 5)
    for order in orders:
        pkts = mixed(count, 1, order)
        spoilt = [at for at, pkt in enumerate(pkts) if pkt.data == b"x"]
        for number, at in enumerate(spoilt):
            pkts[at] = replace(pkts[at], ttl=ttls[number % len(ttls)])
        run = Run(pkts, batch=batch)
        assert TRUE in {run.stream(), *run.versions()}


def test_segments_too_large_for_a_link_are_cut_off_likewise() -> None:
    talk = opened()
    for at in range(AT, AT + 7):
        spoilt, true = TRUE[AT:at] + b"x" + TRUE[at + 1 :], TRUE[at : at + 1]
        for data, start in ((spoilt, AT), (true, at)) if at % 3 else ((true, at), (spoilt, AT)):
            talk.client(data, seq=1001 + start)
    run = Run(talk.client(TRUE[AT + 7 :], seq=1001 + AT + 7).client(TRUE[:AT], seq=1001).pkts)
    assert TRUE in {run.stream(), *run.versions()}


def test_what_was_contested_before_takes_no_room_from_what_comes() -> None:
    """The versions that go on are all taken by harmless conflicts, before the true one."""
    talk = opened()
    for at in range(8):
        talk.client(b"a").client(b"b", seq=1001 + at)
    moved = [replace(pkt, seq=pkt.seq + 8) for pkt in mixed(7, 1)[3:]]
    assert any(TRUE in version for version in Run(talk.pkts + moved).versions())


@pytest.mark.parametrize("count", [4, 7])
@pytest.mark.parametrize("batch", [1, 100])
def test_no_order_hides_it_without_a_hole_either(count: int, batch: int) -> None:
    first, *contested = mixed(count, 1, lambda at: at * 7 % 11 < 5)[:2:-1]
    talk = opened()
    talk.pkts += [first, *contested[:0:-1], contested[0]]
    talk.sent[0] = 1001 + len(TRUE)
    run = Run(talk.server(b"answer").pkts, batch=batch)
    assert TRUE in {run.stream(), *run.versions()}
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


@pytest.mark.parametrize("acked", [True, False])
def test_it_is_read_before_what_was_said_is_forgotten(acked: bool) -> None:
    """The server speaks only when a long body is there."""
    first, *contested = mixed(7, 1, lambda at: at * 7 % 11 < 5)[:2:-1]
    talk = opened()
    talk.pkts += [first, *contested[:0:-1], contested[0]]
    talk.sent[0] = 1001 + len(TRUE)
    for _ in range(80):
        talk.client(b"b" * 1000)
        if acked:
            talk.add(True, ACK)
    run = Run(talk.pkts, batch=1)
    assert any(version.startswith(TRUE) for version in {run.stream(), *run.versions()})
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_what_two_holes_hide_together_is_read_together() -> None:
    half = AT + 4
    talk = opened()
    for begin, low, high in ((0, AT, half), (half, half + 1, half + 4)):
        for at in range(low, high):
            spoilt, true = (b"x", 1), (TRUE[at : at + 1], 64)
            for data, ttl in (spoilt, true) if at % 3 else (true, spoilt):
                talk.client(data, seq=1001 + at, ttl=ttl)
        talk.client(TRUE[begin:low], seq=1001 + begin)
    run = Run(talk.client(TRUE[half + 4 :], seq=1001 + half + 4).server(b"answer").pkts)
    assert TRUE in {run.stream(), *run.versions()}
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_of_more_copies_than_are_kept_those_go_that_go_least_far() -> None:
    spoilt = [(AT, b"%02d" % number * 3 + b"z", 1) for number in range(40)]
    run = Run(behind_a_hole(*spoilt[:20], (AT, TRUE[AT : AT + 7], 64), *spoilt[20:]))
    assert TRUE in run.versions()
    assert run.counters["flow.tcp.versions.refused"] == 41 - choices.MAX_COPIES
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def overlaps(count: int, exploit_at: int, size: int = 8) -> tuple[bytes, list[Pkt]]:
    """Return a stream, and packets of which each host but Linux's kind reads other bytes in ``count`` places.

    In the place ``exploit_at`` a BSD reads an exploit, where Linux has what was sent first; in the others, nothing.
    """
    talk, stream = opened(), bytearray(b"_")
    for place in range(count):
        at = 1002 + size * place
        old, new = (b"hEVIL!h ", b"harmless") if place == exploit_at else (b"harmless", b"HARMLESS")
        stream += new if place == exploit_at else old
        if place == exploit_at:  # who begins before, as a BSD and a Linux want it, but not the others
            talk.client(old, seq=at)
            talk.client(bytes(stream[-size - 1 : -size]) + new, seq=at - 1)
        else:
            talk.client(old, seq=at).client(new, seq=at)
    return bytes(stream), talk.client(b"_", seq=1001).pkts


@pytest.mark.parametrize("exploit_at", [0, 150, 499])
@pytest.mark.parametrize("batch", [1, 10_000])
def test_no_number_of_overlaps_hides_what_another_system_makes_of_one(exploit_at: int, batch: int) -> None:
    stream, pkts = overlaps(500, exploit_at)
    run = Run(pkts, batch=batch)
    assert run.stream() == stream
    assert any(b"EVIL" in version for version in run.versions())
    assert run.counters["flow.tcp.versions.refused"] == 0 or exploit_at == 0  # its second copy fills the hole
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_overlaps_that_are_far_apart_are_read_together() -> None:
    """Further than what is kept of a stream once it is delivered, and than a run of a view."""
    talk = opened().client(b"GET /").client(b"EV", seq=1007).client(b"ev", seq=1007)
    for at in range(1009, 51_009, 1000):
        talk.client(b"x" * 1000, seq=at)
    talk.client(b"IL", seq=51_009).client(b"il", seq=51_009).client(b"_", seq=1006)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doubts, "VIEW_BYTES", 1000)
        run = Run(talk.pkts, verify_bytes=4096)
    assert run.stream() == b"GET /_EV" + b"x" * 50_000 + b"IL"
    assert b"GET /_ev" + b"x" * 50_000 + b"il" in run.versions()


def test_where_memory_ends_the_latest_conflict_is_the_last_to_go() -> None:
    stream, pkts = overlaps(500, 499)
    run = Run(pkts, memcap_bytes=120_000)
    assert run.stream() == stream
    assert any(b"EVIL" in version for version in run.versions())
    assert run.counters["flow.tcp.versions.refused"] > 0
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_each_network_has_its_policy() -> None:
    pkts = held((1, b"aaaa"), (1, b"bbbb"))
    networks = {"203.0.113.0/24": "last", "203.0.113.1/32": "first", "2001:db8::/32": "last"}
    assert Run(pkts, policy="last", policies=networks).stream() == b"_aaaa"
    assert Run(pkts, policy="first", policies={"203.0.113.0/24": "last"}).stream() == b"_bbbb"
    assert Targets("bsd", {}).of(6, 1, 2) is FAVOURS["bsd"]


def test_what_other_systems_make_of_it_is_read_too() -> None:
    run = Run(held((2, b"EVIL"), (1, b"?good")), policy="linux")
    assert run.stream() == b"_?good"
    assert b"_?EVIL" in run.versions()


# Urgent bytes.


@pytest.mark.parametrize("batch", [1, 100])
def test_urgent_bytes_are_read_in_the_stream_and_out_of_it(batch: int) -> None:
    talk = opened().client(b"GET /ev").add(False, ACK | URG, b"Xil", urgent=1)
    talk.add(False, ACK | URG, b" HYTTP", urgent=3).client(b"/1.1").server(b"ok")
    run = Run(talk.pkts, batch=batch)
    assert run.stream() == b"GET /evXil HYTTP/1.1"
    assert run.versions() == {b"GET /evil HTTP/1.1"}
    assert run.counters["flow.tcp.urgent"] == 2
    offsets = [(chunk.offset, len(chunk.data)) for chunk in run.variant_chunks if chunk.direction == CLIENT]
    assert all(at + size == after for (at, size), (after, _) in pairwise(offsets))


def test_an_urgent_pointer_without_data_leaves_nothing_out() -> None:
    assert Run(opened().add(False, ACK | URG, urgent=1).client(b"x").pkts).variants == []


# Edits.


@given(
    st.binary(min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=10)), max_size=5),
)
def test_edits_replace_what_they_cover(text: bytes, edits: list[tuple[int, bytes]]) -> None:
    made = [Edit(start, start + len(data), data) for start, data in edits]
    spans = overlay([Span(0, len(text), text)], made)
    expected = dict(enumerate(text))
    for start, data in edits:
        expected |= {start + at: byte for at, byte in enumerate(data)}
    found = {span.start + at: byte for span in spans for at, byte in enumerate(span.data)}
    assert found == expected
    assert [span.start for span in spans] == sorted(span.start for span in spans)


@st.composite
def contested(draw: st.DrawFn) -> list[Pkt]:
    """Return a connection full of copies that differ, urgent bytes, and ends."""
    talk = opened()
    for _ in range(draw(st.integers(1, 25))):
        back, data = (
            draw(st.booleans()),
            draw(st.binary(min_size=1, max_size=6).map(lambda raw: bytes(b % 3 + 65 for b in raw))),
        )
        base = 5001 if back else 1001
        seq = talk.sent[back] if draw(st.booleans()) else base + draw(st.integers(0, 20))
        flags = draw(st.sampled_from([ACK, ACK, ACK, ACK | URG, ACK | FIN]))
        talk.add(back, flags, data, seq=seq, urgent=draw(st.integers(0, 5)))
        talk.sent[back] = max(talk.sent[back], seq + len(data))
    return talk.pkts


@given(contested(), st.sampled_from([1, 3, 100]), st.sampled_from([300, 1 << 20]), st.sampled_from([1, 2, 8]))
@settings(max_examples=150)
def test_every_version_is_a_stream_and_nothing_is_left_behind(
    pkts: list[Pkt], batch: int, memcap: int, limit: int
) -> None:
    run = Run(pkts, batch=batch, memcap_bytes=memcap, versions=limit)
    for flow in run.variants:
        for side in Direction:
            chunks = [chunk for chunk in run.variant_chunks if chunk.flow is flow and chunk.direction == side]
            assert [chunk.closed for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
            spoken = [chunk for chunk in chunks if chunk.data]
            for one, after in pairwise(spoken):
                assert after.offset == one.offset + len(one.data) + after.gap
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0
    assert run.table.flows.primary[run.table.flows.id < 0].all()
    assert Run(pkts, batch=batch, memcap_bytes=memcap, versions=limit, orderly_lane=False).stream() == run.stream()


def forged_fin() -> Talk:
    """Have the client close the server's side in its name, then ask."""
    return opened().add(True, FIN | ACK).add(False, ACK, ack=5002).client(b"GET /", ack=5002)


@pytest.mark.parametrize("batch", [1, 100])
def test_what_is_said_behind_an_acknowledged_fin_is_read_in_a_variant(batch: int) -> None:
    """With what was asked before; the FIN was forged, for its host goes on."""
    talk = (
        forged_fin().server(b"HTTP/1.1 ", seq=5001).server(b"200 OK", seq=5010).client(b"again").server(b"!", seq=5016)
    )
    run = Run(talk.pkts, batch=batch)
    assert run.stream(SERVER) == b""
    assert run.versions(SERVER) == {b"HTTP/1.1 200 OK!"}
    assert run.versions() == {b"GET /again"}
    assert (Note.CONFLICT, SERVER) in [(note, direction) for note, direction, _ in run.notes]
    closed = [chunk.direction for chunk in run.variant_chunks if chunk.closed]
    assert sorted(closed) == [CLIENT, SERVER]


def test_behind_a_fin_nothing_is_read_twice_and_a_loss_is_a_gap() -> None:
    talk = forged_fin().server(b"abcd", seq=5001).server(b"cdef", seq=5003).server(b"xy", seq=5010)
    assert Run(talk.pkts).versions(SERVER) == {b"abcdef~~~xy"}


def test_what_is_read_behind_a_fin_has_the_depth_of_a_stream() -> None:
    talk = forged_fin().server(b"abcdefgh", seq=5001).server(b"ijklmnop", seq=5009)
    run = Run(talk.pkts, depth_bytes=10)
    assert run.versions(SERVER) == {b"abcdefghij"}
    assert run.counters["flow.tcp.reassembly.depth_bytes"] == 6


def test_no_number_of_variants_hides_what_is_behind_a_fin() -> None:
    talk = opened()
    for number in range(12):
        talk.client(b"%04d" % number, seq=1001)
    talk.client(b"GET /", seq=1005).add(True, FIN | ACK, ack=1010).add(False, ACK, ack=5002).server(b"answer", seq=5001)
    assert b"answer" in Run(talk.pkts).versions(SERVER)


def test_without_versions_what_is_behind_a_fin_is_counted() -> None:
    run = Run(forged_fin().server(b"abcd", seq=5001).pkts, versions=1)
    assert run.variants == []
    assert run.counters["flow.tcp.reassembly.after_close_bytes"] == 4
