"""From C source to a loaded program: compile, create or adopt the maps, put them into the instructions, load.

BCC's own maps are thrown away with the process that compiled. A map that is pinned already is adopted with everything
in it when its layout is the same; another layout is refused, never misread.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ids.errors import KernelError
from ids.kernel.maps.table import RINGBUF, Map, MapSpec
from ids.kernel.program import compile as compiler
from ids.kernel.program.cache import ProgramCache
from ids.kernel.system import syscall

COMPILE_TIMEOUT_S = 120
"""BCC needs half a second; a machine short of memory may need long."""

SCRATCH = ("ids_scratch", "ids_clock")
"""Maps that hold nothing from one packet to the next: never pinned, so their layout may change freely."""

_LD_IMM64 = 0x18
_PSEUDO_MAP_FD = 1
_TAIL_CALL = struct.pack("<BBhi", 0x85, 0, 0, 12)  # call bpf_tail_call
_ANSWER_NOTHING = struct.pack("<BBhi", 0xB7, 0, 0, 0)  # r0 = 0


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler made of one source file."""

    functions: Mapping[str, bytes]
    """Instructions, 8 bytes each, naming maps by ``placeholders``."""
    specs: Mapping[str, MapSpec]
    placeholders: Mapping[int, str]
    """Map name by the descriptor number that stands for it in the instructions."""


_CHILD = (
    "import sys; sys.path = [path for path in sys.path if path]; import runpy;"
    " sys.exit(runpy.run_path(sys.argv[1])['main'](sys.argv[2:]))"
)
"""By its path, and not as a script: that would put its folder, with our modules, before all others of these names. The
folder in which the engine was started is not searched for modules either: root may stand in anybody's."""


def compile_program(source: Path, defines: tuple[str, ...] = ()) -> Compiled:
    """Compile a C file with BCC, or load what came of it at an earlier start; raises `KernelError`."""
    cache = ProgramCache(source, defines)
    result = cache.get()
    if result is None:
        result = _run_compiler(source, defines)
        cache.put(result)
    specs = {
        item["name"]: MapSpec(
            item["name"], item["type"], item["key_bytes"], item["value_bytes"], item["max_entries"], item["flags"]
        )
        for item in result["maps"]
    }
    return Compiled(
        {name: bytes.fromhex(code) for name, code in result["functions"].items()},
        specs,
        {item["fd"]: item["name"] for item in result["maps"]},
    )


def _run_compiler(source: Path, defines: tuple[str, ...]) -> dict[str, Any]:
    """Compile in a child process; raises `KernelError` with the compiler's words."""
    command = [sys.executable, "-c", _CHILD, compiler.__file__, str(source), *defines]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    if done.returncode == compiler.EXIT_NO_BCC:
        raise KernelError(
            f"BCC's Python module cannot be imported: {done.stderr.strip()}",
            "Install the distribution's package (apt-get install python3-bpfcc); PyPI's `bcc` is something else",
        )
    if done.returncode:
        raise KernelError(f"BCC could not compile {source}:\n{_relevant(done.stderr)}", _compile_remedy(done.stderr))
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _relevant(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    return "\n".join(lines[:12])


def _compile_remedy(words: str) -> str:
    if "Operation not permitted" in words or "Permission denied" in words:
        return "Run as root, or with CAP_BPF and CAP_NET_ADMIN"
    if "file not found" in words:
        return "Install the kernel's UAPI headers (apt-get install linux-libc-dev)"
    return "If the source is unchanged, report this with the lines above"


def sized(declared: MapSpec, sizes: Mapping[str, int]) -> MapSpec:
    """Return what a map really is to be: ``sizes`` gives entries, or a ring's bytes; a ring has no keys and values."""
    spec = replace(declared, max_entries=sizes.get(declared.name, declared.max_entries))
    if spec.type == RINGBUF:
        return replace(spec, key_bytes=0, value_bytes=0)
    return spec


def open_maps(compiled: Compiled, sizes: Mapping[str, int], pin_dir: Path) -> tuple[dict[str, Map], list[str]]:
    """Adopt the pinned maps, create and pin the others; return them and what is worth a note.

    ``sizes`` gives the number of entries (bytes, for a ring) of the maps that a setting sizes.
    """
    maps: dict[str, Map] = {}
    notes: list[str] = []
    try:
        for name, declared in compiled.specs.items():
            spec = sized(declared, sizes)
            if name in SCRATCH:
                maps[name] = Map.create(spec)
                continue
            path = pin_dir / name
            pinned = Map.open_pin(str(path), name)
            if pinned is None:
                maps[name] = Map.create(spec)
                syscall.obj_pin(maps[name].fd, str(path))
                continue
            maps[name] = pinned
            if not pinned.spec.same_layout(spec):
                raise KernelError(
                    f"{path} has another layout ({pinned.spec}, expected {spec}): it belongs to another version",
                    "Use that version of `ids`; or stop its engine and remove the pins with `ids detach`, which takes"
                    " the gate down and forgets blocks and allow-list",
                )
            if pinned.spec.max_entries != spec.max_entries:
                notes.append(f"{path} keeps its {pinned.spec.max_entries} entries; the setting is {spec.max_entries}")
    except BaseException:
        for opened in maps.values():
            opened.close()
        raise
    return maps, notes


def relocate(instructions: bytes, placeholders: Mapping[int, str], maps: Mapping[str, Map]) -> bytes:
    """Exchange the compiler's map descriptors for the real ones (BPF_LD_IMM64 with BPF_PSEUDO_MAP_FD)."""
    code = bytearray(instructions)
    position = 0
    while position < len(code):
        opcode, registers, _, value = struct.unpack_from("<BBhi", code, position)
        if opcode == _LD_IMM64:
            if registers >> 4 == _PSEUDO_MAP_FD:
                struct.pack_into("<i", code, position + 4, maps[placeholders[value]].fd)
            position += 8
        position += 8
    return bytes(code)


def without_tail_calls(instructions: bytes) -> bytes:
    """Return a program that goes on behind each of its tail calls, as one whose call fails."""
    steps = (instructions[position : position + 8] for position in range(0, len(instructions), 8))
    return b"".join(_ANSWER_NOTHING if step == _TAIL_CALL else step for step in steps)


def load(
    compiled: Compiled, function: str, maps: Mapping[str, Map], flags: int = 0, prog_type: int = syscall.PROG_TYPE_XDP
) -> int:
    """Load one function as a program of a type; return its descriptor."""
    code = relocate(compiled.functions[function], compiled.placeholders, maps)
    return syscall.prog_load(function, code, flags, prog_type)


def load_together(compiled: Compiled, functions: Sequence[str], maps: Mapping[str, Map], flags: int = 0) -> list[int]:
    """Load functions as XDP programs, each in a thread: to verify a long one takes the kernel half a second.

    Returns their descriptors; where one is refused, none stays loaded.
    """
    with ThreadPoolExecutor(len(functions)) as threads:
        loads = [threads.submit(load, compiled, function, maps, flags) for function in functions]
    failed = [error for done in loads if (error := done.exception())]
    if failed:
        for done in loads:
            if not done.exception():
                os.close(done.result())
        raise failed[0]
    return [done.result() for done in loads]
