"""Runs the scripts of rules (``lua``) in Lua 5.1, each in a state of its own.

The child of `ids.aside` runs it, so it must import nothing of this package. ``lua_sandbox.lua`` has what scripts see.

Lua 5.1 is what Suricata 7 runs scripts with. LuaJIT is so too, but here its memory cannot be bounded for each state.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lupa import lua51

SANDBOX = Path(__file__).with_name("lua_sandbox.lua")

STATE_BYTES = 32 << 20
"""Memory of one script, with what it keeps from one call to the next."""

MAX_STATES = 256
"""Scripts that are kept ready; of more, the one that was asked longest ago is loaded anew, and forgets."""

MAX_MESSAGE = 300
"""Characters of an error, which a script may choose."""
TRACEBACK = "\nstack traceback:"
OUT_OF_MEMORY = "not enough memory"
"""What Lua says where there is no more."""

_PRECOMPILED = b"\x1b"
"""What byte code begins with. It is not checked when it is loaded, so it could do anything."""
_MARK = b"\xef\xbb\xbf"
"""With which some editors begin a text in UTF-8."""


class Refused(Exception):
    """A script does something that it must not, or fails."""


def _no_python(_object: object, _name: object, _setting: bool) -> str:
    raise AttributeError("scripts see nothing of Python")


class State:
    """One script, loaded."""

    def __init__(
        self,
        source: bytes,
        name: bytes,
        values: Sequence[bytes],
        lookups: Sequence[bytes],
        constants: Mapping[bytes, Any],
    ) -> None:
        """Load a script; raises `Refused`, and the errors of lupa."""
        if source.startswith(_PRECOMPILED):
            raise Refused("it is compiled; give its source")
        source = source.removeprefix(_MARK)
        if source.startswith(b"#"):  # as of a script that the shell runs
            source = b"--" + source
        self._lua = lua51.LuaRuntime(
            encoding=None, source_encoding="latin-1", register_eval=False, register_builtins=False,
            attribute_filter=_no_python, unpack_returned_tuples=True, max_memory=STATE_BYTES,
        )  # fmt: skip
        load, self._match = self._lua.execute(SANDBOX.read_bytes())
        table = self._lua.table_from
        found = load(source, name, table(values), table(lookups), table(constants))
        self.needs = [(pair[1], _plain(pair[2])) for pair in found.values()]

    def match(self, args: Mapping[bytes, Any], facts: Mapping[bytes, Any]) -> bool:
        """Ask the script; raises the errors of lupa."""
        table = self._lua.table_from
        return self._match(table(args), table(facts, recursive=True)) is True


def _plain(value: Any) -> bytes | list[bytes]:
    return value if isinstance(value, bytes) else list(value.values())


class Scripts:
    """The scripts that are loaded, by a key that the parent chooses."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()

    def load(self, key: str, *arguments: Any) -> tuple[list[tuple[bytes, bytes | list[bytes]]], float]:
        """Load a script; return what it needs, by name: ``true``, or names of variables; and how many seconds of
        processor time that took.
        """
        began = time.process_time()
        self._states.pop(key, None)
        state = State(*arguments)
        self._states[key] = state
        if len(self._states) > MAX_STATES:
            self._states.popitem(last=False)
        return state.needs, time.process_time() - began

    def match(self, key: str, args: Mapping[bytes, Any], facts: Mapping[bytes, Any]) -> bool | None:
        """Return what a script says; None where it is not loaded."""
        state = self._states.get(key)
        if state is None:
            return None
        self._states.move_to_end(key)
        try:
            return state.match(args, facts)
        except lua51.LuaError as error:
            if _is_out_of_memory(error):
                del self._states[key]  # what it has kept is too much: it begins anew
            raise


DECLINED = (lua51.LuaError, Refused, ValueError, TypeError)


def said(error: Exception) -> str:
    """Return why an order cannot be carried out."""
    if _is_out_of_memory(error):
        return f"it takes more than {STATE_BYTES >> 20} MiB of memory"
    return str(error).partition(TRACEBACK)[0][:MAX_MESSAGE]


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, lua51.LuaMemoryError) or OUT_OF_MEMORY in str(error)


def orders() -> dict[str, Callable[..., Any]]:
    """Return what can be ordered (`ids.aside_child`)."""
    scripts = Scripts()
    return {"load": scripts.load, "match": scripts.match}
