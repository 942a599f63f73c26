"""Clients with patience: on a machine that does other work too, what is late was not refused. And an operator."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress

import pytest

from ids.cli import main
from ids.config import load_config
from ids.lab.actors import LOG4SHELL, PAGE, Request, connect, fetch
from ids.lab.guard import Guard
from ids.lab.topology import Lab
from ids.snapshot import take_snapshot

PATIENCE_S = 60.0
"""For what must come. It ends a test that fails; one that passes waits no longer than it has to."""
ANSWER_S = 0.1
"""How long an attacker listens for the answer to his exploit, who may be cut off by then."""
SILENCE_S = 0.5
"""For what must not come. A machine that is slow makes such a test pass too easily; it makes none fail."""


def exploit(lab: Lab, source: str, request: Request = LOG4SHELL, target: str = "", answer_s: float = ANSWER_S) -> None:
    """Send an exploit from a source that may still connect; the server, or the gateway, may answer or not."""
    with connect(lab.attacker, source, PATIENCE_S, target) as connection:
        connection.sendall(request.encode())
        connection.settimeout(answer_s)
        with suppress(OSError):  # cut off while it waited for the answer
            while connection.recv(65536):
                pass


def is_served(lab: Lab, source: str, target: str = "") -> bool:
    """Return whether a page comes; raises OSError where none does in all that time."""
    return fetch(lab.attacker, source, PAGE, PATIENCE_S, target).status == 200


def is_cut_off(lab: Lab, source: str) -> bool:
    """Return whether no connection comes about for a while; to show that one does, ask `is_served`."""
    with suppress(TimeoutError):
        connect(lab.attacker, source, SILENCE_S).close()
        return False
    return True


def has_inspected(guard: Guard) -> bool:
    """Return whether an engine of one process is through with all that the kernel has shown it: its rings are empty,
    and it inspects nothing more between two answers."""

    def packets() -> int:
        return int(guard.command("stats")["engine"]["ids"]["decode"]["packets"])

    before = packets()
    rings = take_snapshot(load_config(guard.config), PATIENCE_S).rings
    return bool(rings) and not any(ring.waiting_bytes for ring in rings) and packets() == before


def in_this_process(words: Sequence[str]) -> tuple[int, str, str]:
    """Do what `ids.lab.guard.in_a_process` does without a process: to start one takes longer than most verbs."""
    printed, said = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ids", *words])  # the database keeps what was typed
        with pytest.raises(SystemExit) as ended:
            main([*words])
    return int(ended.value.code or 0), printed.getvalue(), said.getvalue()
