"""The control socket: where it cannot be made, the remedy fits the reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ids.control import ControlServer
from ids.errors import KernelError


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
