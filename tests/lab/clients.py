"""Clients with patience: on a machine that does other work too, what is late was not refused. And an operator."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress

import pytest

from ids.cli import main
from ids.lab.actors import LOG4SHELL, PAGE, Request, connect, fetch
from ids.lab.topology import Lab

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


def in_this_process(words: Sequence[str]) -> tuple[int, str, str]:
    """Do what `ids.lab.guard.in_a_process` does without a process: to start one takes longer than most verbs."""
    printed, said = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(said), pytest.raises(SystemExit) as ended:
        main([*words])
    return int(ended.value.code or 0), printed.getvalue(), said.getvalue()
