"""QUIC: Initial packets lose their protection, and what their handshakes say reaches rules and EVE."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.quic.frames import MAX_PIECES
from ids.protocols.quic.packet import V1, V2, is_quic
from ids.protocols.quic.parser import MAX_KEYS
from ids.protocols.quic.protection import initial_keys
from tests.protocols.initials import ANSWER, DCID, HELLO, SCID, chlo, crypto, initial
from tests.protocols.said import CLIENT, SERVER, Heard, over_udp

ASKED = initial(crypto(0, HELLO))
ANSWERED = initial(crypto(0, ANSWER), dcid=SCID, by_server=True)


def test_keys_are_those_of_the_standard() -> None:
    """RFC 9001 appendix A.1 and RFC 9369 appendix A.1 have the nonces of a connection with this id."""
    of = bytes.fromhex("8394c8f03e515708")
    client, server = initial_keys(V1, of)
    assert client.nonce == 0xFA044B2F42A3FD3B46FB255C
    assert server.nonce == 0x0AC1493CA1905853B0BBA03E
    assert initial_keys(V2, of)[0].nonce == 0x91F73E2351D8FA91660E909F


@pytest.mark.parametrize(
    ("version", "name"), [(V1, "1"), (V2, "v2"), (0xFF00001D, "ff00001d"), (0xFF000017, "ff000017")]
)
def test_hellos_of_both_sides(version: int, name: str) -> None:
    heard = over_udp(
        (CLIENT, initial(crypto(0, HELLO), version=version)),
        (SERVER, initial(crypto(0, ANSWER), version=version, dcid=SCID, by_server=True)),
    )
    asked, answered = heard.events
    assert (asked["version"], asked["sni"]) == (name, "quic.example")
    assert asked["extensions"][1] == {"name": "alpn", "type": 16, "values": ["h3"]}  # type: ignore[index]
    assert answered["ja3s"]["string"].startswith("771,")  # type: ignore[index]
    assert heard.of("quic.sni") == [b"quic.example"]
    assert heard.of("quic.version") == [version.to_bytes(4, "big")] * 2
    assert heard.of("ja4.hash")[0].startswith(b"q13d")
    assert heard.flow.app_proto == "quic"


def test_ja4_is_in_alerts_and_where_it_is_asked_for_in_events() -> None:
    assert "ja4" not in over_udp((CLIENT, ASKED)).events[0]
    assert "ja4" in over_udp((CLIENT, ASKED)).seen[0].fields
    assert "ja4" in over_udp((CLIENT, ASKED), quic={"ja4_in_events": True}).events[0]


def heard_of(heard: Heard) -> tuple[list[bytes], list[bytes]]:
    return heard.of("quic.sni"), heard.of("ja3.hash")


@given(
    st.lists(st.integers(1, len(HELLO) - 1), max_size=12, unique=True), st.randoms(use_true_random=False), st.booleans()
)
def test_pieces_come_in_any_order_over_any_datagrams(cuts: list[int], random: Random, apart: bool) -> None:
    ends = [0, *sorted(cuts), len(HELLO)]
    frames = [crypto(start, HELLO[start:end]) for start, end in pairwise(ends)]
    random.shuffle(frames)
    packets = frames if apart else [b"\x01".join(frames)]
    turns = [(CLIENT, initial(of, number=number)) for number, of in enumerate(packets)]
    assert heard_of(over_udp(*turns)) == heard_of(over_udp((CLIENT, ASKED)))


def test_a_retry_makes_new_keys() -> None:
    new = b"\xcc" * 8
    again = initial(crypto(0, HELLO), dcid=new, of=new, token=b"token")
    assert heard_of(over_udp((CLIENT, ASKED), (CLIENT, again)))[0] == [b"quic.example"] * 2


def test_a_packet_that_cannot_be_opened_hides_no_other() -> None:
    """Whoever sends something with a wrong checksum first does not blind us for what follows."""
    heard = over_udp(
        (CLIENT, ASKED[:-1] + b"\0"), (CLIENT, initial(crypto(0, HELLO), dcid=b"\xcc" * 8, of=b"\xcc" * 8))
    )
    assert heard.odd == [b"quic.failed_decrypt"]
    assert heard.of("quic.sni") == [b"quic.example"]


def test_an_opened_decoy_hides_no_other() -> None:
    """Nor does who sends an Initial packet of a connection that the server will not have."""
    heard = over_udp((CLIENT, initial(b"\x01")), (CLIENT, initial(crypto(0, HELLO), dcid=b"\xcc" * 8, of=b"\xcc" * 8)))
    assert heard.of("quic.sni") == [b"quic.example"]


def test_keys_for_one_flow_have_a_bound() -> None:
    turns = [(CLIENT, initial(b"\x01", dcid=bytes(8), of=number.to_bytes(8, "big"))) for number in range(4)]
    many = [(CLIENT, initial(b"\x01", dcid=number.to_bytes(8, "big"), of=b"else")) for number in range(1, 40)]
    heard = over_udp(*turns, *many)
    assert heard.counters.values["quic.too_many_keys"] == 1 + len(many) - MAX_KEYS


def test_pieces_of_one_handshake_have_a_bound() -> None:
    turns = [
        (CLIENT, initial(b"".join([crypto(2 * (100 * n + at) + 1, b"x") for at in range(100)]), number=n))
        for n in range(5)
    ]
    heard = over_udp(*turns)
    assert heard.counters.values["quic.pieces_passed_over"] == 500 - MAX_PIECES


@pytest.mark.parametrize(("offset", "odd"), [(65_531, []), (65_532, [b"quic.crypto_frag_too_long"])])
def test_a_handshake_that_would_be_too_long_is_odd(offset: int, odd: list[bytes]) -> None:
    """Once a packet, however many of its pieces are beyond, as Suricata has it; its hello is read."""
    packet = initial(crypto(offset, b"abc") + crypto(offset, b"abc") + crypto(0, HELLO))
    heard = over_udp((CLIENT, packet))
    assert heard.odd == odd
    assert heard.of("quic.sni")


def test_short_heads_are_passed_over() -> None:
    """A flow that is known costs nothing for packets that say nothing."""
    heard = over_udp((CLIENT, ASKED), (SERVER, ANSWERED), (CLIENT, b"\x40" + bytes(40)))
    assert len(heard.events) == 2


def test_google_s() -> None:
    heard = over_udp((CLIENT, chlo(PAD=b"-" * 20, SNI=b"g.example", VER=b"Q046", UAID=b"Agent/1")))
    (asked,) = heard.events
    assert (asked["version"], asked["sni"], asked["ua"]) == ("Q046", "g.example", "Agent/1")
    assert heard.of("quic.cyu.string") == [b"46,PAD-SNI-VER-UAID"]


@pytest.mark.parametrize(
    "data", [b"", b"\xc0", b"\xc0\0\0\0\1", b"\x40" * 60, b"\xff" * 60, ASKED[:40], b"\xc0" + bytes(60)]
)
def test_what_is_no_quic(data: bytes) -> None:
    assert not is_quic(data)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([ASKED, ANSWERED, chlo(SNI=b"x"), initial(b"\x02\xff")]),
                          st.integers(0, 1300), st.integers(0, 255)), min_size=1, max_size=4))  # fmt: skip
def test_no_bytes_make_the_parser_fail(turns: list[tuple[bool, bytes, int, int]]) -> None:
    made = []
    for of_client, data, at, byte in turns:
        hit = bytearray(data)
        hit[at % len(hit)] = byte
        made.append((CLIENT if of_client else SERVER, bytes(hit)))
    heard = over_udp((CLIENT, ASKED), *made)
    assert not [name for name in heard.counters.values if name.startswith("app_layer.error")]


@given(st.binary(max_size=200))
def test_no_frames_make_the_parser_fail(frames: bytes) -> None:
    heard = over_udp((CLIENT, initial(frames, size=20)), (CLIENT, initial(frames, number=1, size=20)))
    assert not [name for name in heard.counters.values if name.startswith("app_layer.error")]
    assert DCID
