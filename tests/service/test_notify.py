"""What systemd hears of the engine, by a socket that stands for it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.service.notify import MAX_STATUS, STATUS_S, Notifier


class Systemd:
    """The receiving end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def heard(self) -> list[dict[str, str]]:
        """Return the messages that have come, as name and value."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                lines = self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in lines))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@ids-test-{os.getpid()}"
    receiver = Systemd(address)
    yield receiver
    receiver.close()


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifier(systemd: Systemd, clock: Clock) -> Iterator[Notifier]:
    notifier = Notifier(systemd.address, clock)
    yield notifier
    notifier.close()


def test_the_life_of_a_service(systemd: Systemd, notifier: Notifier) -> None:
    notifier.status("loading rules")
    notifier.ready("guarding eth0")
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    notifier.ready("guarding eth0 and eth1")
    notifier.stopping()
    loading, ready, beat, reloading, again, stopping = systemd.heard()
    assert loading == {"STATUS": "loading rules"}
    assert ready == {"READY": "1", "STATUS": "guarding eth0"}
    assert beat == {"WATCHDOG": "1"}, "the watchdog runs from readiness on"
    assert reloading["RELOADING"] == "1"
    assert before_us <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert again["READY"] == "1"
    assert stopping["STOPPING"] == "1"


def test_a_loop_may_beat_as_often_as_it_likes(systemd: Systemd, notifier: Notifier, clock: Clock) -> None:
    for _ in range(100):
        notifier.beat()
        clock.now += 0.1
    assert systemd.heard() == [{"WATCHDOG": "1"}] * 10


def test_a_status_that_changes_is_shown_now_and_then(systemd: Systemd, notifier: Notifier, clock: Clock) -> None:
    notifier.ready("0 blocks")
    heard = systemd.heard()[:0]
    for blocks in range(100):
        clock.now += STATUS_S / 10
        notifier.beat(f"{blocks} blocks")
        heard += systemd.heard()
    shown = [message["STATUS"] for message in heard if "STATUS" in message]
    assert len(shown) == 10
    assert shown[-1] == "99 blocks"


def test_a_status_is_one_line_of_bounded_length(systemd: Systemd, notifier: Notifier) -> None:
    notifier.status("guarding\nREADY=1 " + "x" * 10_000)
    (only,) = systemd.heard()
    assert list(only) == ["STATUS"]
    assert len(only["STATUS"]) == MAX_STATUS


def test_nobody_supervises() -> None:
    environment: dict[str, str] = {}
    notifier = Notifier.from_environment(environment)
    assert not notifier.supervised
    notifier.ready("yes")
    notifier.beat("on and on")
    notifier.stopping()


def test_the_socket_is_not_for_programs_that_are_started(systemd: Systemd) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address}
    notifier = Notifier.from_environment(environment)
    assert notifier.supervised
    notifier.close()
    notifier.ready()  # says nothing any more
    assert environment == {}
    assert not Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1"}).supervised, "no kind that we know"


def test_a_supervisor_that_is_gone_is_no_failure(
    caplog: pytest.LogCaptureFixture, systemd: Systemd, notifier: Notifier
) -> None:
    systemd.close()
    notifier.ready()
    notifier.stopping()
    assert caplog.text.count("cannot be notified") == 1


def test_a_supervisor_that_hears_nothing_holds_nobody_up(systemd: Systemd, notifier: Notifier, clock: Clock) -> None:
    for _ in range(10_000):  # far more than its queue takes
        clock.now += 1
        notifier.beat()
    assert len(systemd.heard()) < 10_000
