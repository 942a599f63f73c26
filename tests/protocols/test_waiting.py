"""What waits for the other side: bounded by number in each flow, and by bytes over all flows of a protocol."""

from __future__ import annotations

from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.framing import Pool
from ids.protocols.http2.frames import PREFACE, PRIORITY
from ids.protocols.waiting import SPARE_BYTES, WAITING_BYTES, Waiting
from tests.protocols import calls, databases, directories, questions, said, shares
from tests.protocols.frames2 import frame
from tests.protocols.questions import framed
from tests.protocols.wire import CLIENT, SERVER, Wire

CAP = 65536
CAPS = {"http2": 8192, "smb": 1 << 20}
"""Where it is not `CAP`."""
MANY = 700


def shared(memcap_bytes: int) -> Any:
    counters = Counters()
    return SimpleNamespace(protocol="toy", counters=counters, pool=Pool("toy", memcap_bytes, counters))


def test_what_waits_is_found_by_its_key_the_oldest_first() -> None:
    waiting: Waiting[int, str] = Waiting(shared(CAP), 8)
    assert [waiting.put(key, value, 0) for key, value in ((2, "a"), (1, "b"), (2, "c"))] == [[], [], ["a"]]
    assert (waiting.oldest(), waiting.newest(), waiting.get(2), waiting.get(3)) == ("b", "c", "c", None)
    assert (waiting.take(1), waiting.take(1), list(waiting.values()), len(waiting)) == ("b", None, ["c"], 1)


def test_beyond_the_number_of_a_flow_the_oldest_gives_way() -> None:
    toy = shared(CAP)
    waiting: Waiting[int, int] = Waiting(toy, 3)
    assert [waiting.put(key, key, 0) for key in range(5)] == [[], [], [], [0], [1]]
    assert toy.counters["toy.requests_evicted"] == 2


def test_beyond_the_memory_of_all_flows_a_flow_s_own_give_way() -> None:
    toy = shared(4 * WAITING_BYTES)
    other: Waiting[int, int] = Waiting(toy, 100)
    mine: Waiting[int, int] = Waiting(toy, 100)
    for key in range(2):
        other.put(key, key, 0)
    assert [mine.put(key, key, 0) for key in range(3)] == [[], [], [0]]
    assert list(other.values()) == [0, 1]
    assert mine.put(9, 9, WAITING_BYTES) == [1, 2]
    assert not mine.grow(9, 1)
    assert mine.put(10, 10, 10 * WAITING_BYTES) == [9, 10], "there is no room for it even so"
    assert (toy.pool.held, toy.counters["toy.memcap"] > 0) == (2 * WAITING_BYTES, True)


def test_one_small_thing_of_a_flow_waits_in_any_case() -> None:
    waiting: Waiting[int, int] = Waiting(shared(0), 100)
    assert [waiting.put(key, key, 10) for key in range(3)] == [[], [0], [1]]
    assert waiting.put(3, 3, SPARE_BYTES) == [2, 3]
    assert waiting.rest() == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2000), st.booleans())), st.integers(0, 6000))
def test_all_that_was_taken_is_given_back(steps: list[tuple[int, int, bool]], memcap: int) -> None:
    toy = shared(memcap)
    waiting: Waiting[int, tuple[int, int]] = Waiting(toy, 4)
    put, gone = 0, []
    for number, (key, size, takes) in enumerate(steps):
        if takes:
            gone += [found] if (found := waiting.take(key)) else []
        else:
            gone += waiting.put(key, (key, number), size)
            put += 1
        assert 0 <= toy.pool.held <= memcap
        assert len(waiting) <= 4
    gone += waiting.rest()
    assert (len(gone), len(set(gone)), toy.pool.held) == (put, put, 0)


NAME = b"n" * 300


def requests(protocol: str) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """Return how a session of a protocol begins, and requests that nobody answers."""
    numbers = range(1, MANY)
    match protocol:
        case "mqtt":
            topics = [pack(">H", number) + said.said(NAME) + b"\1" for number in numbers]
            return [(0, said.MQTT_CONNECT), (1, said.MQTT_CONNACK)], [said.mqtt(0x82, topic) for topic in topics]
        case "modbus":
            return list(enumerate(said.MODBUS[:2])), [pack(">HHHBBHH", number, 0, 6, 1, 3, 0, 1) for number in numbers]
        case "ldap":
            return [], [directories.search(number, NAME) for number in numbers]
        case "redis":
            return [], [databases.words(b"GET", NAME) for _ in numbers]
        case "mysql":
            opening = [(int(side), data) for side, data in databases.LOGIN]
            return opening, [databases.asked(3, NAME) for _ in numbers]
        case "imap":
            return [(1, b"* OK hi\r\n")], [b"a%d SELECT %s\r\n" % (number, NAME) for number in numbers]
        case "pop3":
            return [(1, b"+OK hi\r\n")], [b"RETR %d %s\r\n" % (number, NAME) for number in numbers]
        case "smtp":
            opening = [(1, b"220 hi\r\n"), (0, b"EHLO me\r\n"), (1, b"250 ok\r\n"), (0, b"MAIL FROM:<a@b>\r\n")]
            return opening, [b"RCPT TO:<%d%s@c>\r\n" % (number, NAME) for number in numbers]
        case "dns":
            query = questions.question(b"www.example.com")
            return [(0, framed(questions.message(query)))], [
                framed(pack(">H", number) + questions.message(query)[2:]) for number in numbers
            ]
        case "dcerpc":
            opening = [(0, calls.bind((0, calls.SVCCTL, 2))), (1, calls.bind_ack(0))]
            return opening, [calls.request(1, b"x", call_id=number) for number in numbers]
        case "http2":
            return [(0, PREFACE)], [frame(PRIORITY, pack(">IB", 0, 7), stream=2 * number + 1) for number in numbers]
        case _:
            hello = shares.netbios(shares.second(shares.NEGOTIATE, shares.negotiate(0x0202)))
            return [(0, hello)], [
                shares.netbios(shares.second(shares.CREATE, shares.create(NAME.decode()), message_id=number))
                for number in numbers
            ]


@pytest.mark.parametrize(
    "protocol", ["mqtt", "modbus", "ldap", "redis", "imap", "pop3", "smtp", "http2", "smb", "dns", "dcerpc"]
)
def test_what_waits_counts_in_the_memory_of_its_protocol(protocol: str) -> None:
    cap = CAPS.get(protocol, CAP)
    opening, asked = requests(protocol)
    limits = {"dns": "open_queries", "dcerpc": "open_calls"} | dict.fromkeys(
        ("mqtt", "modbus", "ldap", "redis"), "open_requests"
    )
    settings: dict[str, Any] = {
        protocol: {"memcap_bytes": cap, **({limits[protocol]: MANY} if protocol in limits else {})}
    }
    wire = Wire(**settings)
    for side, data in opening:
        wire.send((CLIENT, SERVER)[side], data)
    before = wire.pool(protocol).held
    for data in asked:
        wire.client(data)
    assert wire.flow.app_proto == protocol
    pool = wire.pool(protocol)
    assert before < cap // 2 < pool.held <= cap
    assert wire.counters[f"{protocol}.memcap"] > 0
    assert wire.counters["app_layer.error." + protocol + ".internal"] == 0
    (talk,) = wire.stage._talks.by_id.values()
    talk.release()
    assert pool.held == 0


@pytest.mark.parametrize("protocol", ["mqtt", "modbus", "ldap", "redis", "mysql", "imap", "pop3", "smb"])
def test_what_gives_way_is_reported_once(protocol: str) -> None:
    opening, asked = requests(protocol)
    settings: dict[str, Any] = {protocol: {"memcap_bytes": CAPS.get(protocol, CAP)}}
    wire = Wire(**settings)
    for side, data in opening:
        wire.send((CLIENT, SERVER)[side], data)
    for data in asked:
        wire.client(data)
    wire.close()
    ended = [one.tx_id for one in wire.seen if one.complete]
    assert len(ended) == len(set(ended))
    assert len(ended) >= len(asked)
