"""The control socket: where it cannot be made, the remedy fits the reason."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ids import control
from ids.control import TIMEOUT_S, ControlServer, request
from ids.errors import KernelError, NoAnswer, NotRunning


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EACCES, "Run as root"), (errno.EPERM, "Run as root"), (errno.EROFS, "runtime_dir")]
)
@pytest.mark.parametrize("step", ["mkdir", "exists"])
def test_the_remedy_for_a_socket_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, remedy: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, step, refuse)
    with pytest.raises(KernelError, match=remedy):
        ControlServer(tmp_path / "default.sock", {})


def test_a_path_that_is_no_folder_asks_for_another_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelError, match=r"Choose another engine\.runtime_dir"):
        ControlServer(tmp_path / "file" / "default.sock", {})


@pytest.mark.parametrize("waiting", [0, 20])
def test_an_engine_that_hangs_is_named_within_the_time_given(tmp_path: Path, waiting: int) -> None:
    """It listens and takes nothing, with requests of others before ours or without."""
    path = tmp_path / "default.sock"
    server = ControlServer(path, {})
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(waiting)]
    for client in clients:
        client.connect_ex(str(path))
    with pytest.raises(NoAnswer, match=r"has not answered within 0\.1 s: it hangs, or it is loading rules"):
        request(path, "stats", 0.1)
    for client in clients:
        client.close()
    server.close()
    with pytest.raises(NotRunning):
        request(path, "stats", 0.1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    def broken() -> dict[str, Any]:
        raise KeyError("oops")

    made = ControlServer(tmp_path / "s", {"broken": broken, "odd": lambda: {"": object()}, "ping": lambda: {"up": 1}})
    yield made
    made.close()


def answers(server: ControlServer, path: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Return what clients get that all wait before the engine looks."""
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in lines]
    for client, line in zip(clients, lines, strict=True):
        client.connect(str(path))
        client.sendall(line)
    server.serve()
    found = []
    for client in clients:
        with client:
            found.append(json.loads(client.recv(65536)))
    return found


@pytest.mark.parametrize("command", ["broken", "odd"])
def test_a_command_that_fails_is_an_answer_and_not_the_engines_end(
    server: ControlServer, tmp_path: Path, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = json.dumps({"command": command}).encode() + b"\n"
    failed, fine = answers(server, tmp_path / "s", asked, b'{"command": "ping"}\n')
    assert f"the engine failed in {command}" in failed["error"]
    assert fine == {"up": 1}
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("line", [b"[" * 4000 + b"\n", b'{"command": ' * 300 + b"\n", b"\n", b"7\n", b"\xff\n"])
def test_nonsense_is_answered_with_what_is_expected(server: ControlServer, tmp_path: Path, line: bytes) -> None:
    assert answers(server, tmp_path / "s", line) == [{"error": "expected a command: broken, odd, ping"}]


def test_a_client_that_trickles_is_hung_up_on_when_the_time_of_one_request_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    waits: list[float] = []

    class Trickle:
        def settimeout(self, seconds: float) -> None:
            waits.append(seconds)

        def recv(self, size: int) -> bytes:
            now[0] += 0.9 * TIMEOUT_S
            return b"x"

    monkeypatch.setattr("ids.control.time", SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(TimeoutError):
        control._line(Trickle(), TIMEOUT_S)  # type: ignore[arg-type]
    assert waits == pytest.approx([TIMEOUT_S, 0.1 * TIMEOUT_S])
