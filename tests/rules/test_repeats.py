"""A rule on raw bytes that is counted sees each request: once a message, or once in 2,560 bytes.

What Suricata 7.0.10 does was measured: it inspects a stream in pieces, which end with the packet that ends a request, a
response, a call or a TLS record, or that brings 2,560 bytes, and a rule matches once in each. Here each of several
requests in a packet counts.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ids.protocols import brief
from ids.rules.match.spans import MAX_SPANS
from ids.testing import Said, Session, to_client, to_server
from plugins.rules import Rules

GUESS = b"POST /login HTTP/1.1\r\nHost: a.example\r\nContent-Length: 17\r\n\r\nuser=a&pass=wrong"
DENIED = b"HTTP/1.1 401 No\r\nContent-Length: 7\r\n\r\ndenied\n"
TIMES = 20

GUESSES = 'flow:established,to_server; content:"pass=wrong"'
COUNTED = f"{GUESSES}; threshold:type both,track by_src,count 10,seconds 60"
WITHOUT_LITERAL = 'flow:established,to_server; pcre:"/pass=[w]rong/"'
RESPONSES = 'flow:established,to_client; content:"denied"'
FILTERED = f"{GUESSES}; detection_filter:track by_src,count 10,seconds 60"


def played(
    folder: Path, rules: list[str], *said: Said | bytes, batch: int | None = None, dport: int = 80, close: bool = True
) -> list[dict[str, Any]]:
    """Return the alerts of rules with these options, which have the sids 1, 2, ..."""
    path = folder / "r.rules"
    path.write_text("".join(f"alert tcp any any -> any any ({one}; sid:{n};)\n" for n, one in enumerate(rules, 1)))
    session = Session(f"rules.paths=[{path}]", "rules.strict=true", rules=Rules())
    session.tcp(*said, dport=dport, batch=batch, close=close)
    session.end()
    return session.alerts


def numbers(folder: Path, rules: list[str], *said: Said | bytes, **how: Any) -> list[int]:
    """Return how often each rule alerts."""
    counted = Counter(alert["alert"]["signature_id"] for alert in played(folder, rules, *said, **how))
    return [counted[sid] for sid in range(1, len(rules) + 1)]


def alerts(folder: Path, options: str, *said: Said | bytes, **how: Any) -> list[int]:
    """Return the numbers of the packets on which a rule alerts."""
    return [alert["pcap_cnt"] for alert in played(folder, [options], *said, **how)]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


KEPT_ALIVE: list[Said | bytes] = [said for _ in range(TIMES) for said in (to_server(GUESS), to_client(DENIED))]
PIPELINED: list[Said | bytes] = [GUESS] * TIMES + [to_client(DENIED * TIMES)]
TEN_IN_A_PACKET: list[Said | bytes] = [GUESS * 10, GUESS * 10, to_client(DENIED * TIMES)]
SMALL: list[Said | bytes] = [*cut(GUESS * TIMES, 40), to_client(DENIED * TIMES)]
SMALL_KEPT_ALIVE: list[Said | bytes] = [
    said for _ in range(TIMES) for said in (*map(to_server, cut(GUESS, 40)), to_client(DENIED))
]
WAYS: dict[str, list[Said | bytes]] = {
    "kept alive": KEPT_ALIVE,
    "pipelined": PIPELINED,
    "ten in a packet": TEN_IN_A_PACKET,
    "small segments": SMALL,
    "kept alive, small segments": SMALL_KEPT_ALIVE,
}


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize("way", WAYS)
def test_each_request_is_counted_however_it_is_sent(tmp_path: Path, way: str, batch: int | None) -> None:
    rules = [GUESSES, COUNTED, FILTERED, WITHOUT_LITERAL, RESPONSES]
    assert numbers(tmp_path, rules, *WAYS[way], batch=batch) == [TIMES, 1, 10, TIMES, TIMES]


@pytest.mark.parametrize("batch", [None, 5])
def test_so_it_is_where_a_connection_begins_with_a_whole_exchange(
    tmp_path: Path, batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is taken by a short way, with both its messages."""
    monkeypatch.setattr(brief, "WORTH_A_LOOK", 2)
    asked = b"GET /login?pass=wrong HTTP/1.1\r\nHost: a.example\r\n\r\n"
    said = [one for _ in range(TIMES) for one in (to_server(asked), to_client(DENIED))]
    assert numbers(tmp_path, [GUESSES, RESPONSES], *said, batch=batch) == [TIMES, TIMES]


def test_an_alert_names_the_packet_of_its_request(tmp_path: Path) -> None:
    assert alerts(tmp_path, GUESSES, *PIPELINED[:3]) == [4, 5, 6]
    whole = 'flow:to_server; content:"POST"; content:"wrong"; distance:0'
    split = [GUESS[:30], GUESS[30:], GUESS[:30], GUESS[30:]]
    for batch in (None, 1):
        assert alerts(tmp_path, whole, *split, batch=batch) == [5, 7]


def test_a_request_is_counted_once_however_long_it_is_or_often_it_says_so(tmp_path: Path) -> None:
    often = b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"pass=wrong" * 100
    for batch in (None, 1):
        assert len(alerts(tmp_path, GUESSES, *cut(often, 100), batch=batch)) == 1
        assert len(alerts(tmp_path, GUESSES, *cut(often * 3, 100), batch=batch)) == 3


def test_each_request_is_judged_by_itself(tmp_path: Path) -> None:
    """One that carries what the rule excepts hides no other, before or behind it."""
    good = GUESS.replace(b"user=a", b"good=a")
    options = f'{GUESSES}; content:!"good"'
    for batch in (None, 1, 2):
        assert alerts(tmp_path, options, GUESS, GUESS, good, GUESS, to_client(DENIED * 4), batch=batch) == [4, 5, 7]
        assert alerts(tmp_path, options, good, to_client(DENIED), GUESS, GUESS, batch=batch) == [6, 7]


@pytest.mark.parametrize("batch", [None, 1])
def test_what_has_no_messages_is_counted_in_so_many_bytes(tmp_path: Path, batch: int | None) -> None:
    """Suricata finds as many: 1 in lines of 20 bytes, 7 in those of 900, and one in two full segments."""
    rules = ['content:"wrong"', 'pcre:"/wr[o]ng/"']
    for line, found in ((b"PWD wrong  \n", 1), (b"PWD wrong" + b"z" * 900 + b"\n", 7), (b"PWD wrong".ljust(1400), 10)):
        assert numbers(tmp_path, rules, *[line] * TIMES, dport=7777, batch=batch) == [found, found]


def test_judging_anew_is_bounded(tmp_path: Path) -> None:
    least = b"GET / HTTP/1.0\r\n\r\n"
    found = alerts(tmp_path, 'flow:to_server; content:"GET"; nocase', least * 3000)
    assert TIMES < len(found) <= MAX_SPANS + 2, "the first, those, and one of all that is left"


def record(kind: int, content: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def test_each_flight_of_a_tls_handshake_is_counted(tmp_path: Path) -> None:
    """Suricata inspects the stream where a record ends, once a packet."""
    hello = record(22, b"\1\0\0\x29" + b"\3\3" + b"r" * 32 + b"\0" + b"\0\2\0\x2f" + b"\1\0")
    answer = record(22, b"\2\0\0\x26" + b"\3\3" + b"s" * 32 + b"\0" + b"\0\x2f\0")
    done = record(22, b"\x0e\0\0\0")
    keys = record(22, b"\x10\0\0\4" + b"keys") + record(20, b"\1") + record(22, b"encrypted")
    last = record(20, b"\1") + record(22, b"encrypted")
    flights: list[Said | bytes] = [hello, to_client(answer + done), keys, to_client(last)]
    options = 'flow:established; content:"|16 03 03|"'
    for batch in (None, 1):
        assert alerts(tmp_path, options, *flights, dport=443, batch=batch, close=False) == [4, 5, 6, 7]
