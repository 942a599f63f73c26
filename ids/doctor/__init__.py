"""What this machine lacks for the engine's work, and what to do about it.

`machine` is the window to the machine: everything a check reads comes through it, so that tests can put another one in
its place. `host` checks the machine, `interface` the interfaces, `engine` the one that runs, `lab` whether `ids lab`
can run; each check is a small function that returns a `Check`. Nothing here changes the machine, and nothing parses
text that is meant for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    """The engine works, but less well than it could, or sees less."""
    FAIL = "fail"
    """Something of the engine does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    status: Status
    found: str
    """What is the case, in a few words."""
    remedy: str = ""
    """What to do about it; empty where all is well."""


def ok(name: str, found: str) -> Check:
    """Return a check that holds."""
    return Check(name, Status.OK, found)


def warn(name: str, found: str, remedy: str) -> Check:
    """Return a check that nearly holds."""
    return Check(name, Status.WARN, found, remedy)


def fail(name: str, found: str, remedy: str) -> Check:
    """Return a check that does not hold."""
    return Check(name, Status.FAIL, found, remedy)


__all__ = ["Check", "Status", "fail", "ok", "warn"]
