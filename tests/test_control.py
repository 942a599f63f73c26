"""The control socket: where it cannot be made, the remedy fits the reason."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from ids.control import ControlServer, request
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
