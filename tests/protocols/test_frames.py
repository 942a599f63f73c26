"""Frames: messages as they were sent, each found once, made only where a rule asks."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.frame import Framed, Place, whole_message
from ids.protocols.rare.sip import SipFlow
from ids.protocols.smb.starts import spans_of
from ids.rules.language.suricata.frames import KNOWN
from ids.testing import Said, Session, to_client
from ids.types import Direction, FlowColumns
from plugins.rules import Rules
from tests.rules.suricata.making import TCP, fault_of, rule_of

MQTT = "alert mqtt any any -> any any"
CONNECT = bytes.fromhex("101100044d5154540402003c00056f74686572")
CONNACK = bytes.fromhex("20020000")
UNSUBSCRIBE = bytes.fromhex("a20700090003632f23")


def played(tmp_path: Path, rules: str, *said: bytes | Said, batch: int | None = None) -> Session:
    path = tmp_path / "r.rules"
    path.write_text(rules + "\n")
    session = Session(f"rules.paths=[{path}]", "rules.strict=true", rules=Rules())
    session.tcp(CONNECT, to_client(CONNACK), *said, dport=1883, batch=batch)
    session.end()
    return session


@pytest.mark.parametrize("batch", [None, 1])
def test_each_message_has_frames_of_its_own_and_events_say_which(tmp_path: Path, batch: int | None) -> None:
    rules = f'{MQTT} (frame:header; content:"|a2|"; startswith; bsize:2; sid:1;)'
    session = played(tmp_path, rules, UNSUBSCRIBE + UNSUBSCRIBE, batch=batch)
    begin = len(CONNECT)
    assert [alert["frame"] for alert in session.alerts] == [
        {"type": "header", "id": number, "direction": "toserver", "stream_offset": at, "length": 2, "complete": True}
        for number, at in ((6, begin), (9, begin + len(UNSUBSCRIBE)))
    ]
    assert all("tx_id" not in alert and "mqtt" not in alert for alert in session.alerts)


def test_a_frame_of_the_server_is_its(tmp_path: Path) -> None:
    rules = f'{MQTT} (flow:to_client; frame:pdu; content:"|20 02|"; startswith; sid:1;)'
    (alert,) = played(tmp_path, rules).alerts
    assert alert["frame"]["direction"] == "toclient"


def test_a_message_that_comes_in_pieces_is_one_frame(tmp_path: Path) -> None:
    rules = f'{MQTT} (frame:pdu; content:"|a2 07 00 09 00 03 63 2f 23|"; startswith; endswith; sid:1;)'
    session = played(tmp_path, rules, UNSUBSCRIBE[:3], to_client(CONNACK), UNSUBSCRIBE[3:])
    assert session.sids == [1]


def test_without_a_rule_that_asks_there_are_none() -> None:
    framed = Framed()
    assert framed.framer("mqtt", stream=True) is None
    framed.want({"mqtt.frame.pdu", "http.uri", "http.frame.request"})
    assert framed.protocols == {"mqtt"}, "those of HTTP are made of other buffers"
    assert framed.framer("mqtt", stream=True) is not None


def test_what_events_say_of_a_frame_travels_between_processes() -> None:
    framed = Framed()
    framed.want({"dns.frame.pdu"})
    framer = framed.framer("dns", stream=False)
    assert framer is not None
    row = framer.row(
        Direction.TO_CLIENT, b"abc", whole_message(b"abc", Direction.TO_CLIENT), Place(FlowColumns(1), 0, 0, 1, 0)
    )
    assert pickle.loads(pickle.dumps(row)).frames == row.frames
    assert row.instances("dns.frame.pdu") == (b"abc",)


def test_each_message_of_a_compound_is_a_frame() -> None:
    first = b"\xfeSMB" + bytes(16) + (72).to_bytes(4, "little") + bytes(40) + b"a" * 8
    last = b"\xfeSMB" + bytes(60) + b"b" * 3
    message = b"\0\0\0" + bytes([len(first + last)]) + first + last
    assert spans_of(message)[3:] == [
        ("smb2.pdu", 4, 76), ("smb2.hdr", 4, 68), ("smb2.data", 68, 76),
        ("smb2.pdu", 76, 143), ("smb2.hdr", 76, 140), ("smb2.data", 140, 143),
    ]  # fmt: skip


@given(st.binary(max_size=300), st.sampled_from(Direction))
def test_frames_lie_within_their_message(data: bytes, side: Direction) -> None:
    heads = b"\0\0\0\x99\xfeSMB", b"\0\0\0\x20\xffSMB", b"INVITE sip:a SIP/2.0\r\n", b""
    for message in (head + data for head in heads):
        for _, start, end in (*spans_of(message), *SipFlow.frames(message, side)):
            assert 0 <= start <= end <= len(message)


@pytest.mark.parametrize(
    ("options", "header", "buffer"),
    [
        ("frame:pdu;", MQTT, "mqtt.frame.pdu"),
        ("frame:mqtt.pdu;", TCP, "mqtt.frame.pdu"),
        ("frame:http1.request;", TCP, "http.frame.request"),
        ("frame:request;", "alert http any any -> any any", "http.frame.request"),
        ("frame:smb2.data;", "alert smb any any -> any any", "smb.frame.smb2.data"),
        ("frame:request.line;", "alert sip any any -> any any", "sip.frame.request.line"),
    ],
)
def test_frames_are_named_by_the_header_or_by_themselves(options: str, header: str, buffer: str) -> None:
    assert rule_of(f'{options} content:"a";', header).buffers == {buffer}
    assert buffer in KNOWN


@pytest.mark.parametrize("name", ["http1.stream", "tls.pdu", "mqtt.what"])
def test_frames_that_no_parser_gives_are_refused_by_name(name: str) -> None:
    cause, _ = fault_of(f'frame:{name}; content:"a";')
    assert cause.startswith("frame ")
