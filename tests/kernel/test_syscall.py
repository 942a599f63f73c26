"""The same error number has another remedy where the verifier speaks."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ids.kernel.system import syscall
from ids.kernel.system.syscall import BpfError


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


@pytest.mark.parametrize(("interrupted", "loaded"), [(4, True), (5, False)])
def test_a_load_that_a_signal_interrupts_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, interrupted: int, loaded: bool
) -> None:
    answers = [OSError(errno.EAGAIN, "again")] * interrupted

    def call(command: syscall.Command, attr: bytes) -> tuple[int, bytes]:
        if answers:
            raise answers.pop()
        return 7, b""

    monkeypatch.setattr(syscall, "call", call)
    if loaded:
        assert syscall.prog_load("x", bytes(8)) == 7
    else:
        with pytest.raises(BpfError, match="the kernel refused the program x: Resource temporarily unavailable"):
            syscall.prog_load("x", bytes(8))
