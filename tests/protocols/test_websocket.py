"""WebSocket: messages are unmasked, put together and decompressed; and hostile frames cost what they weigh."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.protocols import ODDITY
from ids.protocols.websocket.inflating import MOST_RATIO, Inflater
from ids.protocols.websocket.parser import SMALL_FRAMES
from ids.testing import Session, to_client
from ids.types import Direction
from plugins.rules import Rules
from tests.protocols.frames2 import SWITCHED, UPGRADE, Deflater, ws
from tests.protocols.wire import CLIENT, Wire
from tests.shared import event_validator

ATTACK = b"' or 1=1 --"


def opened(**options: Any) -> Wire:
    wire = Wire(**options).client(UPGRADE).server(SWITCHED)
    assert wire.flow.app_proto == "websocket"
    return wire


def payloads(wire: Wire, direction: Direction | None = None) -> list[bytes]:
    return [
        found.buffers["websocket.payload"]
        for found in wire.all
        if "websocket.payload" in found.buffers and direction in (None, found.direction)
    ]


@pytest.mark.parametrize("lane", [True, False])
def test_a_message_is_unmasked(lane: bool) -> None:
    wire = opened(ordinary_lane=lane).client(ws(ATTACK)).server(ws(b"answer", mask=None))
    asked, answered = wire.seen[-2:]
    assert asked.buffers == {
        "websocket.payload": ATTACK,
        "websocket.opcode": b"1",
        "websocket.flags": b"128",
        "websocket.mask": b"16909060",
    }
    assert asked.fields == {"fin": True, "mask": 16909060, "opcode": "text"}
    assert (asked.direction, asked.complete, asked.protocol) == (CLIENT, True, "websocket")
    assert "websocket.mask" not in answered.buffers
    assert answered.fields == {"fin": True, "opcode": "text"}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_any_length_is_read(size: int) -> None:
    wire = opened().client(ws(b"x" * size, 2)).client(ws(b"next"))
    assert payloads(wire) == [b"x" * size, b"next"][not size :]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20))
@settings(max_examples=50)
def test_any_cut_gives_the_same(sizes: list[int]) -> None:
    stream = ws(b"one") + ws(b"tw", fin=False) + ws(b"ping", 9) + ws(b"o", 0) + ws(b"\3\xe8", 8) + ws(b"y" * 300)
    whole, cut = opened().client(stream), opened()
    at = 0
    for number in range(1000):
        size = sizes[number % len(sizes)]
        if at < len(stream):
            cut.client(stream[at : at + size])
        at += size
    assert cut.what() == whole.what()
    assert payloads(whole)[-2:] == [b"\3\xe8", b"y" * 300]


@given(st.lists(st.binary(max_size=80), max_size=8))
@settings(max_examples=150)
def test_no_bytes_make_it_fail(pieces: list[bytes]) -> None:
    wire = opened()
    for number, piece in enumerate(pieces):
        wire.send(Direction(number % 2), piece, gap=number % 5 == 4)
    wire.close()
    assert wire.counters["app_layer.error.websocket.internal"] == 0
    (talk,) = wire.stage._talks.by_id.values()
    parser: Any = talk.parser
    talk.release()
    assert parser._shared.pool.held == 0


def test_a_message_of_many_frames_is_put_together() -> None:
    parts = [ATTACK[at : at + 3] for at in range(0, len(ATTACK), 3)]
    stream = ws(parts[0], fin=False) + ws(b"", 9) + b"".join(ws(part, 0, fin=False) for part in parts[1:]) + ws(b"", 0)
    wire = opened().client(stream)
    found = wire.seen[-1]
    assert found.buffers["websocket.payload"] == ATTACK
    assert found.buffers["websocket.opcode"] == b"1"
    assert found.complete


def test_a_message_whose_end_never_comes_is_reported_as_it_grows() -> None:
    wire = opened().client(ws(b"abc", fin=False) + ws(b"def", 0, fin=False) + ws(b"g", 0, fin=False))
    assert payloads(wire) == [b"abc", b"abcdef"]
    wire.close()
    assert payloads(wire)[-1] == b"abcdefg"


def test_of_tiny_fragments_few_looks_are_taken() -> None:
    wire = opened().client(ws(b"x", fin=False) + ws(b"x", 0, fin=False) * 5000)
    assert len(payloads(wire)) <= 14


@pytest.mark.parametrize("fragments", [1, 3])
def test_compressed_messages_are_read_with_what_came_before(fragments: int) -> None:
    deflater = Deflater()
    wire = opened()
    for text in (b"some words that come again", b"some words that come again, and " + ATTACK):
        coded = deflater.message(text)
        size = -(-len(coded) // fragments)
        parts = [coded[at : at + size] for at in range(0, len(coded), size)]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            wire.client(ws(part, 0 if number else 1, fin=last, rsv=0 if number else 0x40))
        assert payloads(wire)[-1] == text
    assert wire.seen[-1].buffers["websocket.flags"] == b"192"


def test_a_sender_may_begin_afresh_with_each_message() -> None:
    wire = opened()
    for text in (b"first", ATTACK):
        wire.client(ws(Deflater().message(text), rsv=0x40))
    assert payloads(wire) == [b"first", ATTACK]


def test_what_is_called_compressed_and_is_not_is_reported_as_it_is() -> None:
    wire = opened().client(ws(ATTACK, rsv=0x40)).client(ws(ATTACK, rsv=0x40))
    assert payloads(wire) == [ATTACK, ATTACK]
    assert wire.counters["websocket.deflate_broken"] == 1
    assert wire.counters["websocket.not_decompressed"] == 1


def test_a_bomb_is_not_decompressed_to_its_end() -> None:
    machine = Inflater()
    found, whole = machine.inflate(Deflater().message(bytes(64 << 20)), 4096, True)
    assert (len(found), whole) == (4096, False)
    _, whole = Inflater().inflate(Deflater().message(bytes(4096 * (MOST_RATIO - 1))), 4096, True)
    assert whole, "a message somewhat too long is no bomb"


def test_a_long_message_is_reported_in_parts_that_overlap() -> None:
    part = b"." * 990 + ATTACK
    stream = ws(part, fin=False) + b"".join(ws(part, 0, fin=False) for _ in range(200)) + ws(b"end", 0)
    wire = opened(websocket={"message_bytes": 8192}).client(stream)
    assert max(map(len, payloads(wire))) <= 8192
    assert payloads(wire)[-1].endswith(b"end")
    assert b"websocket.reassembly_limit_reached" in [found.buffers.get(ODDITY) for found in wire.seen]


def test_of_a_long_frame_the_beginning_is_read() -> None:
    wire = opened(websocket={"message_bytes": 1024}).client(ws(ATTACK + b"." * 5000) + ws(b"next"))
    first, second = payloads(wire)
    assert first.startswith(ATTACK)
    assert second == b"next"
    assert wire.counters["websocket.frame_too_long"] == 1


def test_a_length_that_never_comes_holds_nothing() -> None:
    wire = opened().client(b"\x82\xff" + b"\xff" * 8 + b"abcd" + b"." * 100_000)
    (talk,) = wire.stage._talks.by_id.values()
    parser: Any = talk.parser
    assert parser._shared.pool.held <= 64 * 1024


@pytest.mark.parametrize("one", [ws(b"", 9), ws(b"a"), ws(b"", 0)])
def test_of_frames_with_nothing_in_them_some_are_reported(one: bytes) -> None:
    wire = opened().client(one * 5000)
    assert len(wire.seen) < SMALL_FRAMES + 10
    assert wire.counters["websocket.frames_unreported"] == 5000 - SMALL_FRAMES
    assert b"websocket.flood" in [found.buffers.get(ODDITY) for found in wire.seen]
    assert payloads(wire.client(ws(ATTACK)))[-1] == ATTACK


def test_a_client_that_does_not_mask_is_noted() -> None:
    assert opened().client(ws(ATTACK, mask=None)).seen[-1].buffers[ODDITY] == b"websocket.not_masked"


def test_behind_missing_bytes_frames_are_found_where_a_piece_begins() -> None:
    wire = opened().client(ws(b"0123456789")[:9])
    wire.client(b"89" + ws(b"next"), gap=5)
    wire.client(b"rest of something", gap=100)
    wire.client(ws(ATTACK))
    assert payloads(wire) == [b"next", ATTACK]


def test_what_both_sides_agreed_on_is_what_the_server_says() -> None:
    other = SWITCHED.replace(b"websocket", b"something")
    wire = Wire().client(UPGRADE).server(other).client(ws(ATTACK)).close()
    assert wire.flow.app_proto != "websocket"
    wire = Wire().client(UPGRADE).server(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").client(ws(ATTACK)).close()
    assert wire.flow.app_proto == "http"


RULES = [
    ('websocket.payload; content:"1=1";', True),
    ("websocket.opcode:text;", True),
    ("websocket.opcode:1;", True),
    ("websocket.opcode:ping;", False),
    ("websocket.opcode:!text;", False),
    ("websocket.flags:fin;", True),
    ("websocket.flags:fin,!comp;", True),
    ("websocket.flags:comp;", False),
    ("websocket.flags:128;", True),
    ("websocket.flags:&0x40=0x40;", False),
    ("websocket.flags:&0x80=0x80;", True),
    ("websocket.mask:16909060;", True),
    ("websocket.mask:>16909060;", False),
]


@pytest.mark.parametrize(("option", "fires"), RULES)
def test_rules(tmp_path: Any, option: str, fires: bool) -> None:
    path = tmp_path / "r.rules"
    path.write_text(f'alert websocket any any -> any any (msg:"x"; {option} sid:1;)\n')
    found = Session(f"rules.paths=[{path}]", rules=Rules())
    found.tcp(UPGRADE, to_client(SWITCHED), ws(ATTACK))
    assert bool(found.sids) is fires


def test_events_are_valid(tmp_path: Any) -> None:
    validator = event_validator()
    found = Session(rules=Rules())
    found.tcp(UPGRADE, to_client(SWITCHED), ws(ATTACK), to_client(ws(b"", 9, mask=None)))
    events = [event for event in found.events if event["event_type"] == "websocket"]
    assert [event["websocket"]["opcode"] for event in events] == ["text", "ping"]
    for event in events:
        validator.validate({key: value for key, value in event.items() if key != "ids"})
