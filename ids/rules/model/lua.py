"""Asks scripts of rules, in a child that is ended when one takes too long or too much (`ids.aside`).

What a script costs is bounded as a search is that backtracks (`ids.rules.model.patterns`): each call has a tenth of a
second, and who evaluates rules sets one aside that takes it again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ids.aside import Aside, Declined, TooCostly
from ids.literal import literal
from ids.rules.model.script import LOOKUPS, VALUES, Script

MATCH_CPU_S = 0.1
"""Processor time of one call, of which most take some microseconds. It ends no sooner than the kernel's clock ticks."""

LOAD_CPU_S = 0.5
"""Processor time to load a script, and to ask it what it needs."""

ORDINARY_S = 0.01
"""Processor time to load a script of the ordinary size, and more: most take half a millisecond."""

COSTLY_S = 5.0
"""Processor time beyond the ordinary that a load of rules may spend on all its scripts."""

MEMORY_BYTES = 256 << 20
"""Of all scripts of a process together."""

_CHILD = Path(__file__).with_name("lua_child.py")
"""It is not imported here, so that this process never has Lua in it."""

SCRIPTS = Aside(_CHILD)
"""Where scripts are asked; one for each process."""

LOADER = Aside(_CHILD)
"""Where they are tried by who loads rules, which may be another thread. Whoever has loaded what there is lets it rest.
"""

Facts: TypeAlias = Mapping[bytes, Any]
"""By name of a function, what it returns: its values by place from 1 on, with their number under ``n``; or what is
known by name or number. In bytes and numbers, and mappings of these."""


class ScriptError(Exception):
    """A script failed: whether there is a match is not known."""


class ScriptTimeout(ScriptError):
    """A script took more than it may."""


Needs: TypeAlias = tuple[tuple[str, str | tuple[str, ...]], ...]
"""What a script says it needs, by name: ``true``, or names of variables."""


@lru_cache(64)
def needs_of(name: str, source: bytes, functions: tuple[str, ...]) -> tuple[Needs, float]:
    """Return what a script needs, and the seconds of processor time that it took to say so; raises `ScriptError`."""
    try:
        found, took_s = LOADER.ask(
            "load", name, *_loading(name, source, functions, {}), cpu_s=LOAD_CPU_S, memory_bytes=MEMORY_BYTES
        )
    except TooCostly as error:
        raise ScriptTimeout(str(error)) from None
    except Declined as error:
        raise ScriptError(literal(str(error))) from None
    needs = [
        (need.decode("latin-1"), value.decode("latin-1") if isinstance(value, bytes) else _texts(value))
        for need, value in found
    ]
    return tuple(needs), took_s


class Trials:
    """Tries the scripts of one load of rules. Those that take long have some seconds together, so the load ends."""

    def __init__(self) -> None:
        self._spent_s = 0.0

    def needs_of(self, name: str, source: bytes, functions: tuple[str, ...]) -> Mapping[str, str | tuple[str, ...]]:
        """Return what a script needs; raises `ScriptError`."""
        if self._spent_s >= COSTLY_S:
            raise ScriptTimeout(f"it is not tried: scripts before it took {COSTLY_S:g} s to load")
        try:
            needs, took_s = needs_of(name, source, functions)
        except ScriptTimeout:
            self._spent_s += LOAD_CPU_S
            raise
        self._spent_s += max(took_s - ORDINARY_S, 0.0)
        return dict(needs)


def says_yes(script: Script, args: Mapping[bytes, Any], facts: Facts) -> bool:
    """Return what a script says; raises `ScriptError`."""
    key = script.key
    try:
        answer = SCRIPTS.ask("match", key, args, facts, cpu_s=MATCH_CPU_S, memory_bytes=MEMORY_BYTES)
        if answer is None:  # it is new there, or the child is
            gid, sid, rev = script.rule[:3]
            constants = {b"SCRuleSid": sid, b"SCRuleRev": rev, b"SCRuleGid": gid}
            loading = _loading(script.name, script.source, script.functions, constants)
            SCRIPTS.ask("load", key, *loading, cpu_s=LOAD_CPU_S, memory_bytes=MEMORY_BYTES)
            answer = SCRIPTS.ask("match", key, args, facts, cpu_s=MATCH_CPU_S, memory_bytes=MEMORY_BYTES)
    except TooCostly as error:
        raise ScriptTimeout(f"script {script.name}: {error}") from None
    except Declined as error:
        raise ScriptError(literal(f"script {script.name}: {error}")) from None  # which a packet may have chosen
    return bool(answer)


def _loading(name: str, source: bytes, functions: tuple[str, ...], constants: Mapping[bytes, int]) -> tuple[Any, ...]:
    """Return what the order to load a script has behind its key."""
    values, lookups = ([one.encode() for one in functions if one in known] for known in (VALUES, LOOKUPS))
    return source, name.encode("utf-8", "surrogateescape"), values, lookups, constants


def _texts(values: list[bytes]) -> tuple[str, ...]:
    return tuple(value.decode("latin-1") for value in values)
