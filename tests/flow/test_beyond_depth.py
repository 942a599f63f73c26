"""What a client says behind a download of which no more was shown than the depth is read at once, answered or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.config import Config
from ids.counters import Counters
from ids.engine import Engine
from ids.replay import ReplayGate
from tests.replay.batches import batch_of

DEPTH, SIZE, SEGMENT = 64 << 10, 200_000, 1400
ASK, EXPLOIT = (b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % target for target in (b"big", b"evil"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
RULE = 'alert http any any -> any any (http.uri; content:"/evil"; sid:1;)\n'
ON_ANSWERS = 'alert http any any -> any any (flow:to_client; file.data; content:"evil"; sid:1;)\n'
THERE = Ether() / IP(src="192.0.2.1", dst="203.0.113.1")
BACK = Ether() / IP(src="203.0.113.1", dst="192.0.2.1")


@dataclass
class Download:
    """A connection on which a download was shown as far as the depth, as the gate does."""

    size: int = SIZE
    client: int = 1000
    server: int = 5000
    frames: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Shake hands, ask, and be answered."""
        self._frame(THERE, 40000, 80, "S", self.client - 1, 0)
        self._frame(BACK, 80, 40000, "SA", self.server - 1, self.client)
        self.say(b"")
        self.say(ASK)
        self.answer(OK % self.size)
        for sent in range(0, self.size, SEGMENT):
            self.answer(bytes(min(SEGMENT, self.size - sent)), shown=sent < DEPTH)
            if sent < DEPTH:
                self.say(b"")

    def _frame(self, ends: Ether, sport: int, dport: int, flags: str, seq: int, ack: int, data: bytes = b"") -> None:
        self.frames.append(
            bytes(ends / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack, window=65535) / data)
        )

    def say(self, data: bytes, ack: int = 0, seq: int = 0) -> None:
        """Let the client send something; ``ack``, ``seq``: ahead of what is right."""
        self._frame(THERE, 40000, 80, "PA" if data else "A", self.client + seq, self.server + ack, data)
        if not ack and not seq:
            self.client += len(data)

    def answer(self, data: bytes, *, shown: bool = True) -> None:
        """Let the server send something."""
        if shown:
            self._frame(BACK, 80, 40000, "PA", self.server, self.client, data)
        self.server += len(data)

    def alerts(self, tmp_path: Path, depth: int = DEPTH, *, live: bool = False, rule: str = RULE) -> int:
        """Return how many alerts there are, before the connection ends."""
        return self.counters(tmp_path, depth, live=live, rule=rule)["detect.alerts"]

    def counters(self, tmp_path: Path, depth: int = DEPTH, *, live: bool = False, rule: str = RULE) -> Counters:
        """Let an engine read it; return what it counts."""
        (tmp_path / "one.rules").write_text(rule)
        settings = {
            "rules": {"paths": [str(tmp_path / "one.rules")]},
            "stream": {"depth_bytes": depth},
            "fastpath": {"depth_tcp_bytes": DEPTH},
        }
        engine = Engine(Config.model_validate(settings), ReplayGate(), live=live)
        for at in range(0, len(self.frames), 20):
            engine.process(batch_of(self.frames[at : at + 20], first=at + 1))
        return engine.counters


def test_a_request_behind_it_is_read_before_it_is_answered(tmp_path: Path) -> None:
    """The server may never answer: the exploit may have seen to that."""
    download = Download()
    download.say(EXPLOIT)
    assert download.alerts(tmp_path) == 1


def test_a_request_in_pieces_is_read_too(tmp_path: Path) -> None:
    download = Download()
    for at in range(0, len(EXPLOIT), 7):
        download.say(EXPLOIT[at : at + 7])
    assert download.alerts(tmp_path) == 1


def test_a_live_engine_reads_no_further_than_its_gate_shows(tmp_path: Path) -> None:
    download = Download()
    download.say(EXPLOIT)
    assert download.alerts(tmp_path, depth=1 << 20, live=True) == 1


@pytest.mark.parametrize("answered", [False, True])
def test_it_is_reported_once(tmp_path: Path, answered: bool) -> None:
    download = Download()
    download.say(EXPLOIT)
    if answered:
        download.answer(OK % 0)
    download.say(ASK)
    download.answer(OK % 0)
    assert download.alerts(tmp_path) == 1


@pytest.mark.parametrize("ahead", [1, 100_000, 1 << 27])
def test_bytes_that_the_server_ignores_do_not_take_the_place_of_those_that_it_reads(tmp_path: Path, ahead: int) -> None:
    """It ignores what acknowledges more than it has sent; we cannot know, so both are read."""
    download = Download()
    download.say(b"-" * len(EXPLOIT), ack=ahead)
    download.say(EXPLOIT)
    assert download.alerts(tmp_path) == 1


def test_bytes_that_are_not_what_comes_next_have_to_acknowledge_what_was_sent(tmp_path: Path) -> None:
    """Whoever forges the client's address does not know its numbers."""
    download = Download()
    download.say(EXPLOIT, seq=64)
    download.say(b"\0" * 64)
    assert download.alerts(tmp_path) == 0


@pytest.mark.parametrize("size", [SIZE, DEPTH + 3000, 3_000_000])
@pytest.mark.parametrize("pieces", [1, 9])
def test_the_answer_behind_it_is_read_however_much_was_not_shown(tmp_path: Path, size: int, pieces: int) -> None:
    download = Download(size)
    for number in (1, 2):
        download.say(ASK)
        answer = OK % 4 + (b"evil" if number == 2 else b"good")
        for at in range(0, len(answer), len(answer) // pieces):
            download.answer(answer[at : at + len(answer) // pieces])
        download.say(b"")
    assert download.alerts(tmp_path, rule=ON_ANSWERS) == 1
    again = Download(size)
    again.say(ASK)
    again.answer(OK % 4 + b"evil")
    again.say(b"")
    assert again.alerts(tmp_path, rule=ON_ANSWERS) == 1


def test_what_was_not_shown_is_not_counted_as_lost(tmp_path: Path) -> None:
    download = Download()
    download.say(ASK)
    download.answer(OK % 0)
    download.say(b"")
    counters = download.counters(tmp_path)
    assert counters["flow.tcp.reassembly.gap_bytes"] == 0
    assert counters["flow.tcp.reassembly.unshown_bytes"] > SIZE - DEPTH - SEGMENT
