"""Rules on events of streams: each finds in these connections what that of Suricata 7.0.10 finds, and where."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from ids.flow.notes import MAX_REPEATED, REPEATED, Note
from ids.rules.model.header import Noted
from ids.testing import Session
from plugins.rules import Rules
from tests.rules.packetwise import CLIENT, SERVER, Bench, packet_rule

Step = (
    tuple[str, str, int, int, bytes]
    | tuple[str, str, int, int, bytes, int]
    | tuple[str, str, int, int, bytes, int, int]
)
"""Who speaks (c, s), flags, sequence number and acknowledgement behind the first of each side, payload; then, if not
8192, the window, and the timestamp, if there is one."""
C, S = 1000, 5000
FAR = 90_000
"""Beyond every window here."""
ASK, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SYN, SYNACK, THIRD = ("c", "S", 0, -S, b""), ("s", "SA", 0, 1, b""), ("c", "A", 1, 1, b"")
C1, S1 = 1 + len(ASK), 1 + len(ANSWER)
OPEN = [SYN, SYNACK, THIRD]
USED = [*OPEN, ("c", "PA", 1, 1, ASK), ("s", "A", 1, C1, b""), ("s", "PA", 1, C1, ANSWER), ("c", "A", C1, S1, b"")]
ASKED = [*OPEN, ("s", "PA", 1, 1, b"hello"), ("c", "A", 1, 6, b"")]
CLOSEWAIT = [*USED, ("c", "FA", C1, S1, b"")]
LASTACK = [*CLOSEWAIT, ("s", "FA", S1, C1 + 1, b"")]
FIN1 = [*USED, ("s", "FA", S1, C1, b"")]
FIN2 = [*FIN1, ("c", "A", C1, S1 + 1, b"")]
TIMEWAIT = [*FIN1, ("c", "FA", C1, S1 + 1, b"")]
CLOSING = [*FIN1, ("c", "F", C1, -S, b"")]
SYNS = [("c", "S", 0, -S, b"", 8192, 100 + n) for n in range(11)]
BOTH = [SYN, ("s", "S", 0, -C, b"")]

CASES: list[tuple[Sequence[Step], Step, str]] = [
    (SYNS, ("c", "S", 0, -S, b"", 8192, 200), "3whs_syn_flood"),
    (SYNS, ("c", "S", 0, -S, b"", 8192, 103), "3whs_syn_flood"),
    ([SYN, *SYNS[1:]], ("c", "S", 0, -S, b"", 8192, 200), "3whs_syn_flood"),
    (SYNS[:10], ("c", "S", 0, -S, b"", 8192, 200), ""),
    ([*SYNS[:10], *SYNS[:10]], ("c", "S", 0, -S, b"", 8192, 200), ""),
    ([SYN] * 12, ("c", "S", 0, -S, b"", 4096), ""),
    (OPEN[:2], ("c", "A", 1, 100, b""), "3whs_right_seq_wrong_ack_evasion"),
    (OPEN[:2], ("c", "A", 100, 100, b""), "3whs_wrong_seq_wrong_ack"),
    (OPEN[:2], ("c", "A", -100, 1, b""), "3whs_wrong_seq_wrong_ack"),
    (OPEN[:2], ("s", "A", 20, 1, b""), "3whs_wrong_seq_wrong_ack"),
    (OPEN[:2], ("c", "A", 100, 1, b""), ""),
    (OPEN[:2], ("s", "A", 1, 1, b""), ""),
    (OPEN[:2], ("s", "PA", 1, 1, b"hello"), ""),
    (OPEN[:1], ("c", "PA", 5, 1, ASK), ""),
    (OPEN[:1], ("c", "SA", 0, 1, b""), "3whs_synack_in_wrong_direction"),
    (OPEN[:1], ("s", "SA", 0, 7, b""), "3whs_synack_with_wrong_ack"),
    (OPEN[:2], ("s", "SA", 0, 7, b""), "3whs_synack_resend_with_different_ack"),
    (OPEN[:2], ("s", "SA", 0, 1, b""), ""),
    (OPEN[:2], ("c", "SA", 0, 1, b""), "3whs_synack_toserver_on_syn_recv"),
    ([*OPEN[:2], *(("s", "SA", 7 * n, 1, b"") for n in range(1, 6))], ("s", "SA", 77, 1, b""), "3whs_synack_flood"),
    (OPEN[:2], ("c", "S", 7, -S, b""), "3whs_syn_resend_diff_seq_on_syn_recv"),
    (OPEN[:2], ("s", "S", 0, -C, b""), "3whs_syn_toclient_on_syn_recv"),
    (BOTH, ("c", "SA", 0, 7, b""), "4whs_synack_with_wrong_ack"),
    (BOTH, ("c", "SA", 7, 1, b""), "4whs_synack_with_wrong_syn"),
    ([*BOTH, ("c", "SA", 0, 1, b"")], ("s", "A", 9, 1, b""), "4whs_wrong_seq"),
    ([*BOTH, ("c", "SA", 0, 1, b"")], ("s", "A", 1, FAR, b""), "4whs_invalid_ack pkt_invalid_ack"),
    ([*BOTH, ("c", "SA", 0, 1, b"")], ("s", "A", 1, 1, b""), ""),
    (ASKED, ("s", "SA", 0, 1, b""), "est_synack_resend"),
    (OPEN, ("s", "SA", 0, 1, b""), ""),
    (USED, ("s", "SA", 0, 7, b""), "est_synack_resend_with_different_ack"),
    (ASKED, ("s", "SA", 7, 1, b""), "est_synack_resend_with_diff_seq"),
    (USED, ("c", "SA", 0, 1, b""), "est_synack_toserver"),
    (USED, ("c", "FS", C1, S1, b""), "fin_syn"),
    (USED, ("c", "A", C1, S1 + FAR, b""), "est_invalid_ack pkt_invalid_ack"),
    (USED, ("c", "PA", C1, S1 - FAR, b"abc"), "est_invalid_ack pkt_invalid_ack"),
    (USED, ("c", "A", C1 - 1, S1, b""), ""),
    (USED, ("s", "PA", 1, C1, ANSWER[:5]), "est_pkt_before_last_ack"),
    (USED, ("c", "FA", C1, S1 + FAR, b""), "fin_invalid_ack pkt_invalid_ack"),
    (USED, ("c", "FA", C1 - 5, S1, b""), "fin_out_of_window"),
    (USED, ("c", "FA", C1 + 50, S1, b""), ""),
    (USED, ("c", "RA", C1, S1 + FAR, b""), "pkt_invalid_ack rst_invalid_ack"),
    (USED, ("c", "RA", C1, S1, b""), ""),
    (CLOSEWAIT, ("s", "A", S1, C1 + FAR, b""), "closewait_invalid_ack pkt_invalid_ack"),
    (CLOSEWAIT, ("s", "A", S1 + FAR, C1 + 1, b""), "closewait_ack_out_of_window"),
    (CLOSEWAIT, ("s", "FA", S1 - 9, C1 + 1, b""), "closewait_fin_out_of_window"),
    (CLOSEWAIT, ("s", "PA", 1, C1 + 1, ANSWER[:5]), "closewait_pkt_before_last_ack pkt_retransmission"),
    (CLOSEWAIT, ("c", "FA", C1, S1, b""), ""),
    (LASTACK, ("c", "A", C1 + 50, S1 + 1, b""), "lastack_ack_wrong_seq"),
    (LASTACK, ("c", "A", C1 + 1, S1 + FAR, b""), "lastack_invalid_ack pkt_invalid_ack"),
    (LASTACK, ("c", "A", C1 + 1, S1 + 1, b""), ""),
    (FIN1, ("c", "A", C1, S1 + FAR, b""), "fin1_invalid_ack pkt_invalid_ack"),
    (FIN1, ("s", "A", S1 + FAR, C1, b""), "fin1_ack_wrong_seq"),
    (FIN1, ("c", "FA", C1 - 9, S1, b""), "fin1_fin_wrong_seq"),
    (FIN2, ("c", "A", C1, S1 + FAR, b""), "fin2_invalid_ack pkt_invalid_ack"),
    (FIN2, ("c", "A", C1 + FAR, S1 + 1, b""), "fin2_ack_wrong_seq"),
    (FIN2, ("c", "FA", C1 - 9, S1 + 1, b""), "fin2_fin_wrong_seq"),
    (CLOSING, ("c", "A", C1 + 1, S1 + 1, b""), "closing_ack_wrong_seq"),
    (CLOSING, ("s", "A", S1 + 50, C1, b""), "closing_ack_wrong_seq"),
    (CLOSING, ("c", "FA", C1 + 9, S1 + 1, b""), "closing_ack_wrong_seq"),
    (CLOSING, ("c", "A", C1, S1 + FAR, b""), "closing_invalid_ack pkt_invalid_ack"),
    (CLOSING, ("s", "A", S1 + 1, C1 + FAR, b""), "closing_invalid_ack pkt_invalid_ack"),
    (CLOSING, ("c", "A", C1, S1 + 1, b""), ""),
    (CLOSING, ("s", "A", S1 + 1, C1 + 1, b""), ""),
    (CLOSING, ("c", "A", C1 - 1, S1, b"x"), ""),
    ([*CLOSING, ("c", "A", C1, S1 + 1, b"")], ("c", "A", C1 + 1, S1 + 1, b""), ""),
    ([*FIN1, ("s", "F", S1, -C, b"")], ("c", "A", C1 + 50, S1 + 1, b""), "closing_ack_wrong_seq"),
    (FIN1, ("c", "F", C1 - 5, -S, b""), "fin1_fin_wrong_seq"),
    (FIN2, ("c", "F", C1 - 5, -S, b""), "fin2_fin_wrong_seq"),
    (USED, ("c", "F", C1 - 5, -S, b""), "fin_out_of_window"),
    (CLOSEWAIT, ("s", "F", S1 - 9, -C, b""), "closewait_fin_out_of_window"),
    (CLOSING, ("s", "F", S1 - 9, -C, b""), ""),
    (USED, ("c", "A", C1 + 100, S1 + 100, b"", 4000), "pkt_bad_window_update"),
    (USED, ("s", "A", S1 + 100, C1 + 100, b"", 4000), "pkt_bad_window_update"),
    (USED, ("c", "A", C1 + 100, S1 + 100, b"", 8192 - 133), "pkt_bad_window_update"),
    (USED, ("c", "A", C1 + 100, S1 + 100, b"", 8192 - 132), ""),
    (USED, ("c", "A", C1 + 100, S1, b"", 4000), ""),
    (USED, ("c", "A", C1, S1 + 100, b"", 4000), ""),
    (FIN1, ("s", "A", S1 + 2, C1 + 2, b"", 4000), "pkt_bad_window_update"),
    (LASTACK, ("c", "A", C1 + 2, S1 + 2, b"", 4000), "pkt_bad_window_update"),
    (LASTACK, ("c", "A", C1 + 1, S1 + 1, b"", 4000), ""),
    (TIMEWAIT, ("s", "A", S1 + 50, C1 + 1, b""), "timewait_ack_wrong_seq"),
    (TIMEWAIT, ("s", "A", S1 + 1, C1 + FAR, b""), "pkt_invalid_ack timewait_invalid_ack"),
    (TIMEWAIT, ("s", "A", S1 + 1, C1 + 1, b""), ""),
]  # fmt: skip
WAYS: dict[str, tuple[list[str], list[tuple[Sequence[Step], Step, str]]]] = {
    "usual": ([], CASES),
    "inline": (["--set", "stream.inline=yes"], [
        (OPEN[:2], ("s", "PA", 1, 1, b"hello"), "3whs_ack_data_inject"),
        (OPEN[:2], ("s", "A", 1, 1, b""), "3whs_ack_in_wrong_dir"),
        (OPEN[:2], ("s", "PA", 9, 1, b"hello"), "3whs_ack_in_wrong_dir"),
        (OPEN, ("s", "PA", 1, 1, b"hello"), ""),
        (OPEN[:2], ("s", "SA", 0, 1, b""), ""),
        ([*BOTH, ("c", "SA", 0, 1, b"")], ("s", "A", 1, 1, b""), ""),
    ]),
    "one-sided": (["--set", "stream.async-oneside=true"], [
        (OPEN[:1], ("c", "PA", 5, 1, ASK), "3whs_async_wrong_seq"),
        (OPEN[:1], ("c", "A", 5, 1, b""), "3whs_async_wrong_seq"),
        (OPEN[:1], ("c", "PA", 1, 1, ASK), ""),
        ([SYN, ("c", "PA", 1, 1, ASK)], ("c", "PA", C1, 1, ASK), ""),
        (OPEN, ("c", "PA", 5, 1, ASK), ""),
    ]),
}  # fmt: skip
"""How Suricata is set up, and what is found there."""
EVENTS = sorted({word for _, cases in WAYS.values() for _, _, words in cases for word in words.split()})


def frame(number: int, step: Step) -> Packet:
    """Return a packet of the connection with this number."""
    who, flags, seq, ack, data, *more = step
    window, stamp = more[0] if more else 8192, more[1:]
    mine, theirs = (C, S) if who == "c" else (S, C)
    ports = {"sport": 20_000 + number, "dport": 80} if who == "c" else {"sport": 80, "dport": 20_000 + number}
    ends = {"src": CLIENT, "dst": SERVER} if who == "c" else {"src": SERVER, "dst": CLIENT}
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(**ends) / TCP(
        **ports, flags=flags, seq=(mine + seq) & 0xFFFFFFFF, ack=(theirs + ack) & 0xFFFFFFFF, window=window,
        options=[("Timestamp", (stamp[0], 0))] if stamp else []
    ) / data  # fmt: skip


def made(way: str = "usual") -> tuple[list[Packet], dict[int, set[str]]]:
    """Return the packets of all connections, and the events that those with any have, by number from 1 on."""
    packets: list[Packet] = []
    expected: dict[int, set[str]] = {}
    for number, (before, last, events) in enumerate(WAYS[way][1]):
        packets += [frame(number, step) for step in (*before, last)]
        if events:
            expected[len(packets)] = set(events.split())
    return packets, expected


@pytest.mark.parametrize("cuts", ["none", "each"])
@pytest.mark.parametrize("way", WAYS)
def test_each_event_is_found_where_it_is(way: str, cuts: str) -> None:
    packets, expected = made(way)
    rules = (packet_rule(sid, Noted("stream", event)) for sid, event in enumerate(EVENTS, 1))
    bench = Bench(*rules, midstream=way == "one-sided", inline=way == "inline")
    found: dict[int, set[str]] = {}
    for sid, numbers in bench.numbers(packets, range(1, len(packets)) if cuts == "each" else ()).items():
        for number in numbers:
            found.setdefault(number, set()).add(EVENTS[sid - 1])
    assert found == expected


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
@pytest.mark.parametrize("way", WAYS)
def test_suricata_finds_the_same(way: str, tmp_path: Path) -> None:
    packets, expected = made(way)
    for number, packet in enumerate(packets):
        packet.time = 1_700_000_000 + number / 1000
    wrpcap(str(tmp_path / "t.pcap"), packets)
    rules = (
        f"alert tcp any any -> any any (stream-event:{event}; sid:{sid};)\n" for sid, event in enumerate(EVENTS, 1)
    )
    (tmp_path / "t.rules").write_text("".join(rules))
    command = ["suricata", "-r", "t.pcap", "-S", "t.rules", "-l", ".", "-k", "none", "--runmode", "single"]
    command += WAYS[way][0]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found: dict[int, set[str]] = {}
    for line in (tmp_path / "eve.json").read_text().splitlines():
        event = json.loads(line)
        if event["event_type"] == "alert":
            found.setdefault(event["pcap_cnt"], set()).add(EVENTS[event["alert"]["signature_id"] - 1])
    assert found == expected


def test_retransmissions_are_noted_each_time_and_others_once() -> None:
    repeat, far = ("s", "PA", 1, C1, ANSWER[:5]), ("s", "A", S1, C1 + FAR, b"")
    packets = [frame(0, step) for step in (*USED, repeat, far, repeat, far, repeat)]
    rules = [
        packet_rule(1, Noted("stream", "est_pkt_before_last_ack")),
        packet_rule(2, Noted("stream", "est_invalid_ack")),
    ]
    for cuts in ([], [8], range(1, 12)):
        assert Bench(*rules).numbers(packets, cuts) == {1: [8, 10, 12], 2: [9]}


def test_a_crowd_of_retransmissions_is_bounded_and_hides_nothing() -> None:
    repeat, far = ("s", "PA", 1, C1, ANSWER[:5]), ("s", "A", S1, C1 + FAR, b"")
    packets = [frame(0, step) for step in (*USED, *[repeat] * (MAX_REPEATED + 6), far)]
    bench = Bench(
        packet_rule(1, Noted("stream", "est_pkt_before_last_ack")), packet_rule(2, Noted("stream", "est_invalid_ack"))
    )
    found = bench.numbers(packets)
    assert len(found[1]) == MAX_REPEATED
    assert found[2] == [len(packets)]
    assert bench.counters["flow.tcp.notes_dropped"] == 6


def test_every_note_has_an_event_and_a_place_in_its_column() -> None:
    assert len({note.event for note in Note}) == len(Note)
    assert max(Note) < 64
    assert set(Note) >= REPEATED


@pytest.mark.parametrize(("setting", "expected"), [("true", [1]), ("false", [])])
def test_a_server_that_speaks_too_soon_is_noted_where_single_packets_are_dropped(
    setting: str, expected: list[int], tmp_path: Path
) -> None:
    rules = tmp_path / "t.rules"
    rules.write_text("alert tcp any any -> any any (flow:to_client; stream-event:3whs_ack_data_inject; sid:1;)\n")
    session = Session(f"rules.paths=[{rules}]", f"respond.drop_packets={setting}", rules=Rules())
    session.frames(*(bytes(frame(0, step)) for step in (*OPEN[:2], ("s", "PA", 1, 1, ANSWER))))
    session.end()
    assert session.sids == expected
