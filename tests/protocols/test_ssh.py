"""SSH: banners and offers with their buffers and events, however they are cut; and hostile ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols import ODDITY
from tests.factory import NO_DATAGRAMS, make_streams
from tests.protocols.sessions import complete, events, faults, held, limited, played, said, said_in_pieces, values
from tests.protocols.wire import CLIENT, SERVER, Wire

LISTS = [b"kex1,kex2", b"hostkey", b"enc-c", b"enc-s", b"mac-c", b"mac-s", b"none,zip-c", b"none", b"", b""]
CLIENT_STRING = b"kex1,kex2;enc-c;mac-c;none,zip-c"
SERVER_STRING = b"kex1,kex2;enc-s;mac-s;none"


def packet(kind: int, body: bytes = b"") -> bytes:
    """Return a packet in clear (RFC 4253 section 6)."""
    payload = bytes((kind,)) + body
    padding = 8 - (5 + len(payload)) % 8 + 8
    return (1 + len(payload) + padding).to_bytes(4, "big") + bytes((padding,)) + payload + bytes(padding)


def offer(lists: list[bytes] = LISTS) -> bytes:
    """Return a message with the algorithms of a side."""
    return packet(20, bytes(16) + b"".join(len(one).to_bytes(4, "big") + one for one in lists) + bytes(5))


def md5(of: bytes) -> bytes:
    return hashlib.md5(of).hexdigest().encode()


NEWKEYS = packet(21)
SECRET = b"\xd1" * 200
SAYS = b"SSH-2.0-OpenSSH_9.2 Debian-2\r\n" + offer() + packet(30, b"e") + NEWKEYS
ANSWERS = b"SSH-1.99-dropbear_2022\n" + offer() + packet(31, b"f") + NEWKEYS
TURNS = ((0, SAYS), (1, ANSWERS), (0, SECRET), (1, SECRET))


def test_a_connection_is_one_transaction_in_parts() -> None:
    wire = said(*TURNS)
    assert wire.flow.app_proto == "ssh"
    assert {(one.protocol, one.tx_id) for one in wire.seen} == {("ssh", 0)}
    assert [dict(one.buffers) for one in wire.seen] == [
        {"ssh.proto": b"2.0", "ssh.software": b"OpenSSH_9.2"},
        {"ssh.proto": b"2.0", "ssh.software": b"OpenSSH_9.2", "ssh.hassh": md5(CLIENT_STRING),
         "ssh.hassh.string": CLIENT_STRING},
        {"ssh.proto": b"1.99", "ssh.software": b"dropbear_2022"},
        {"ssh.proto": b"1.99", "ssh.software": b"dropbear_2022", "ssh.hassh.server": md5(SERVER_STRING),
         "ssh.hassh.server.string": SERVER_STRING},
        {},
    ]  # fmt: skip
    assert [(one.direction, one.complete) for one in wire.seen] == [
        (CLIENT, False), (CLIENT, False), (SERVER, False), (SERVER, False), (SERVER, True),
    ]  # fmt: skip
    assert events(wire) == [
        {
            "client": {
                "proto_version": "2.0", "software_version": "OpenSSH_9.2",
                "hassh": {"hash": md5(CLIENT_STRING).decode(), "string": CLIENT_STRING.decode()},
            },
            "server": {
                "proto_version": "1.99", "software_version": "dropbear_2022",
                "hassh": {"hash": md5(SERVER_STRING).decode(), "string": SERVER_STRING.decode()},
            },
        }
    ]  # fmt: skip
    assert held(wire, "ssh") == 0


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int]) -> None:
    assert said_in_pieces(TURNS, cuts).what() == said(*TURNS).what()


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=200)), max_size=8), st.booleans(), st.booleans())
def test_no_bytes_make_it_fail(turns: list[tuple[int, bytes]], offered: bool, gap: bool) -> None:
    wire = Wire().client(SAYS if offered else b"SSH-2.0-a\r\n")
    for side, data in turns:
        wire.send((CLIENT, SERVER)[side], data, gap=int(gap))
    wire.close()
    assert wire.counters["app_layer.error.ssh.internal"] == 0
    assert held(wire, "ssh") == 0


def opaque(wire: Wire) -> list[int]:
    """Return the slots that may be bypassed once these bytes were fed."""
    rows = make_streams([wire.chunk(CLIENT, SECRET), wire.chunk(SERVER, SECRET)])
    wire.all += wire.stage.feed(rows, NO_DATAGRAMS)
    return wire.stage.opaque(rows, frozenset({"ssh"}), 1)


def test_a_flow_need_not_be_seen_once_both_sides_have_begun_to_encrypt() -> None:
    assert opaque(said(*TURNS)) == [0]


@pytest.mark.parametrize(
    "turns",
    [
        ((0, SAYS), (1, b"220 mail.example ESMTP\r\n")),
        ((0, SAYS), (1, b"SSH-2.0-x\r\n")),
        ((0, SAYS), (1, b"SSH-2.0-x\r\n" + NEWKEYS)),
        ((0, b"SSH-2.0-x\r\n" + offer()), (1, ANSWERS)),
    ],
)
def test_what_a_client_claims_alone_buys_no_silence(turns: tuple[tuple[int, bytes], ...]) -> None:
    assert opaque(said(*turns)) == []


@pytest.mark.parametrize(
    ("banner", "proto", "software"),
    [
        (b"SSH-2.0-a b c", b"2.0", b"a"),
        (b"SSH-2.0-a-b_c-d\r", b"2.0", b"a-b_c-d"),
        (b"SSH-2.0-", b"2.0", b""),
        (b"SSH-2.0", b"2.0", b""),
        (b"SSH-1.5-1.2.27", b"1.5", b"1.2.27"),
        (b"SSH-2.0-\xff\xfe", b"2.0", b"\xff\xfe"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_banners_are_read_as_leniently_as_peers_do(banner: bytes, proto: bytes, software: bytes, end: bytes) -> None:
    wire = said((0, banner + end))
    assert (values(wire, "ssh.proto"), values(wire, "ssh.software")) == ([proto], [software])


def test_lines_before_the_banner_are_passed_over() -> None:
    wire = said((0, SAYS), (1, b"Welcome\r\nto all\r\n" + ANSWERS))
    assert values(wire, "ssh.hassh.server")
    assert values(wire, ODDITY) == [b"ssh.invalid_banner"]


def test_no_more_lines_are_passed_over_than_a_peer_would() -> None:
    wire = said((0, SAYS), (1, b"x\n" * 4 + ANSWERS), wire=limited("ssh", banner_lines=4))
    assert (values(wire, "ssh.hassh.server"), wire.counters["ssh.no_banner"]) == ([], 1)


def test_a_long_banner_is_odd_and_reported_up_to_the_limit() -> None:
    wire = said((0, b"SSH-2.0-" + b"a" * 300 + b"\r\n" + offer()))
    assert values(wire, ODDITY) == [b"ssh.long_banner"]
    assert values(wire, "ssh.software")[0] == b"a" * 255
    assert values(wire, "ssh.hassh"), "the offer behind it is read"


def test_what_is_no_packet_is_odd() -> None:
    wire = said((0, b"SSH-2.0-a\r\n" + b"\xff" * 40))
    assert values(wire, ODDITY) == [b"ssh.invalid_record"]
    assert wire.counters["ssh.malformed"] == 1


@pytest.mark.parametrize("cut", range(20, 60, 7))
def test_an_offer_that_lies_about_its_lists_is_odd(cut: int) -> None:
    body = bytes(16) + (1 << 20).to_bytes(4, "big") + b"a" * cut
    wire = said((0, b"SSH-2.0-a\r\n" + packet(20, body)))
    assert (values(wire, ODDITY), values(wire, "ssh.hassh")) == ([b"ssh.invalid_record"], [])


def test_version_1_has_other_packets_which_are_not_read() -> None:
    wire = said((0, b"SSH-1.5-a\r\n" + b"\xff" * 40), (1, b"SSH-1.5-b\r\n" + b"\xff" * 40))
    assert (values(wire, ODDITY), len(complete(wire))) == ([], 1)


def test_a_connection_is_logged_when_both_sides_begin_to_encrypt() -> None:
    """Not when both have offered: Suricata's event says that the keys were exchanged."""
    wire = said((0, SAYS), (1, ANSWERS.removesuffix(NEWKEYS)))
    assert complete(wire) == []
    wire.server(NEWKEYS)
    assert [one.last for one in complete(wire)] == [True]


def test_what_is_said_by_one_side_alone_is_logged_at_the_end() -> None:
    wire = said((0, b"SSH-2.0-a\r\n")).close()
    assert events(wire) == [{"client": {"proto_version": "2.0", "software_version": "a"}}]


def test_a_gap_ends_the_reading_of_a_side() -> None:
    wire = said((0, b"SSH-2.0-a\r\n" + offer()[:30]))
    wire.client(offer() + NEWKEYS, gap=10).server(ANSWERS)
    assert (wire.counters["ssh.gap"], values(wire, "ssh.hassh"), len(complete(wire))) == (1, [], 1)


def test_memory_is_bounded_and_given_back() -> None:
    wire = Wire().client(SAYS[:60])
    assert held(wire, "ssh") == len(SAYS[:60]) - SAYS.index(b"\n") - 1
    wire.client(SAYS[60:])
    assert held(wire, "ssh") == len(CLIENT_STRING)
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert held(wire, "ssh") == 0


def test_an_offer_for_which_there_is_no_room_is_not_kept() -> None:
    lists = [b"x" * 17_000] * 4 + [b""] * 6
    shared = limited("ssh", memcap_bytes=65_536)
    said((0, b"SSH-2.0-a\r\n" + offer(lists)), (1, b"SSH-2.0-b\r\n" + offer(lists)), wire=shared)
    assert shared.counters["ssh.memcap"] + shared.counters["ssh.cut_offer"] > 0
    assert held(shared, "ssh") == 0


RULES = f"""\
alert ssh any any -> any any (msg:"a"; flow:to_server; ssh.proto; content:"2.0"; sid:1;)
alert ssh any any -> any any (msg:"b"; ssh.software; content:"dropbear"; startswith; sid:2;)
alert ssh any any -> any any (msg:"c"; ssh.hassh; content:"{md5(CLIENT_STRING).decode()}"; sid:3;)
alert ssh any any -> any any (msg:"d"; ssh.hassh.server; content:"{md5(SERVER_STRING).decode()}"; sid:4;)
alert ssh any any -> any any (msg:"e"; ssh.hassh.string; content:"zip-c"; endswith; sid:5;)
alert ssh any any -> any any (msg:"f"; ssh.hassh.server.string; content:"enc-s"; sid:6;)
alert ssh any any -> any any (msg:"g"; ssh.software; content:"OpenSSH"; ssh.hassh; content:"{md5(CLIENT_STRING).decode()}"; sid:7;)
alert ssh any any -> any any (msg:"h"; flow:to_client; ssh.protoversion:2_compat; sid:8;)
alert ssh any any -> any any (msg:"i"; flow:to_server; ssh.protoversion:2.0; sid:9;)
alert ssh any any -> any any (msg:"j"; flow:to_server; ssh.softwareversion:"OpenSSH_9.2"; sid:10;)
alert ssh any any -> any any (msg:"k"; ssh.softwareversion:"OpenSSH"; sid:11;)
alert ssh any any -> any any (msg:"l"; flow:to_server; ssh.protoversion:1.99; sid:12;)
alert ssh any any -> any any (msg:"m"; ssh.software; content:"openssh"; sid:13;)
"""  # noqa: E501


def test_rules_in_suricatas_language(tmp_path: Path) -> None:
    session = played(tmp_path, RULES, TURNS)
    assert sorted(session.sids) == list(range(1, 11))


def test_events_and_alerts_fit_the_schema(tmp_path: Path) -> None:
    found = [one for one in played(tmp_path, RULES, TURNS).events if "ssh" in one]
    assert [one["event_type"] for one in found].count("ssh") == 1
    assert len(found) == 11
    assert faults(found) == []
    quiet = played(tmp_path, "", TURNS, "protocols.ssh.hassh_in_events=false").events
    (logged,) = [one["ssh"] for one in quiet if one["event_type"] == "ssh"]
    assert logged["client"] == {"proto_version": "2.0", "software_version": "OpenSSH_9.2"}
