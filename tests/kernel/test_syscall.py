"""The same error number has another remedy where the verifier speaks."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ids.kernel.system import syscall


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (lambda: syscall.obj_get("/sys/fs/bpf/ids/default/ids_block4"), "Run as root"),
        (lambda: syscall.obj_pin(3, "/sys/fs/bpf/ids/default/ids_block4"), "Run as root"),
        (lambda: syscall.prog_load("xdp_ids", bytes(8)), "The verifier refused the program"),
    ],
    ids=["open a pin", "pin", "load"],
)
def test_permission_denied(command: Callable[[], object], remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> tuple[int, bytes]:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(syscall, "call", refuse)
    with pytest.raises(syscall.BpfError, match=remedy) as refused:
        command()
    assert refused.value.errno == errno.EACCES
