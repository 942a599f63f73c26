"""Compile the C side with BCC, as a program of its own; its arguments: ``SOURCE [-DNAME=VALUE ...]``.

A child process, because BCC brings LLVM's memory, prints to the terminal on its own account and creates every map at
once (small ones here: `loader` makes the real ones). Prints one JSON object: the functions' instructions in
hexadecimal, the maps with the descriptor numbers by which the instructions name them, and what the compiler has read.
Imports nothing of this package, which would take longer to import than the program to compile.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

EXIT_NO_BCC = 4
EXIT_REFUSED = 5


def include_flags() -> list[str]:
    """Return the flags that let the C library's copy of the kernel's UAPI headers be found, behind BCC's own."""
    machine = {"armv7l": "arm"}.get(platform.machine(), platform.machine())
    found = [str(path) for path in sorted(Path("/usr/include").glob(f"{machine}-linux-gnu*"))]
    return [flag for folder in ["/usr/include", *found] for flag in ("-idirafter", folder)]


_INCLUDED_C = re.compile(r'^#include "(\w+\.c)"\n', re.MULTILINE)


def pasted(source: Path) -> str:
    """Return a source file with the C files that it includes in place: BCC rewrites map calls in no included file.

    The compiler goes on telling of files and lines as they are.
    """
    text = source.read_text()

    def paste(line: re.Match[str]) -> str:
        included = source.parent / line[1]
        following = text.count("\n", 0, line.end()) + 1
        return f'#line 1 "{included}"\n{included.read_text()}#line {following} "{source}"\n'

    return f'#line 1 "{source}"\n' + _INCLUDED_C.sub(paste, text)


_UNDECLARED = {
    "bpf_num_tables": ctypes.c_size_t,
    "bpf_table_name": ctypes.c_char_p,
    "bpf_table_key_size_id": ctypes.c_size_t,
    "bpf_table_leaf_size_id": ctypes.c_size_t,
    "bpf_table_fd_id": ctypes.c_int,
}
"""Functions of libbcc whose types BCC's module leaves out (src/cc/bpf_module.h, bcc_common.h). Undeclared, ctypes would
cut pointers to 32 bits: harmless where the interpreter lies low in memory, a crash where it is position-independent."""


def _declare(lib: ctypes.CDLL) -> None:
    for name, result in _UNDECLARED.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = [ctypes.c_void_p] if name == "bpf_num_tables" else [ctypes.c_void_p, ctypes.c_size_t]


def compile_source(source: Path, defines: list[str]) -> dict[str, Any]:
    """Return what was made of the source, and ``read``: what of the system went into it.

    The form is ``{"functions": {name: hex}, "maps": [{name, type, key_bytes, value_bytes, flags, fd}], "read": [[path,
    size, ctime_ns]]}``; ``read`` is empty where not all of it is known.
    """
    os.environ["BCC_KERNEL_SOURCE"] = str(source.parent / "shim")
    from bcc import BPF, lib

    _declare(lib)
    # Packets are read as words and as headers by turns, as in the kernel itself.
    flags = ["-w", "-fno-strict-aliasing", f"-I{source.parent}", *include_flags(), *defines]
    with open(os.memfd_create("dependencies"), "rb") as rule:  # a place to write also where no disk can be written
        module = BPF(text=pasted(source).encode(), cflags=[*flags, "-MD", "-MF", f"/proc/self/fd/{rule.fileno()}"])
        headers = _headers(os.fsdecode(rule.read()), source.parent)
    tools = _libraries() | _module_files("bcc")
    functions = {
        name: bytes(module.dump_func(name.encode())).hex()
        for name in (
            lib.bpf_function_name(module.module, i).decode() for i in range(lib.bpf_num_functions(module.module))
        )
    }
    maps = [
        {
            "name": lib.bpf_table_name(module.module, i).decode(),
            "type": lib.bpf_table_type_id(module.module, i),
            "key_bytes": lib.bpf_table_key_size_id(module.module, i),
            "value_bytes": lib.bpf_table_leaf_size_id(module.module, i),
            "max_entries": lib.bpf_table_max_entries_id(module.module, i),
            "flags": lib.bpf_table_flags_id(module.module, i),
            "fd": lib.bpf_table_fd_id(module.module, i),
        }
        for i in range(lib.bpf_num_tables(module.module))
    ]
    return {"functions": functions, "maps": maps, "read": _stamped(headers | tools) if headers and tools else []}


def _libraries() -> set[str]:
    """Return the shared libraries that are mapped into this process: BCC's and LLVM's, and the interpreter's."""
    lines = os.fsdecode(Path("/proc/self/maps").read_bytes()).splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if "/" in line}
    return {path for path in paths if ".so" in os.path.basename(path)}


def _module_files(package: str) -> set[str]:
    """Return the files of a package's imported modules."""
    named = [module for name, module in sys.modules.items() if name.split(".")[0] == package]
    return {module.__file__ for module in named if module.__file__}


def _headers(rule: str, folder: Path) -> set[str]:
    """Return the system's headers that a rule for make names; those below ``folder`` and BCC's own are not among them.

    Relative names are those of the shim, in whose folder BCC has the compiler run.
    """
    _, _, names = rule.replace("\\\n", " ").partition(": ")
    paths = {re.sub(r"\\(.)", r"\1", name) for name in re.findall(r"(?:\\.|\S)+", names)}
    return {path for path in paths if path.startswith("/") and not path.startswith((f"{folder}/", "/virtual/"))}


def _stamped(paths: set[str]) -> list[tuple[str, int, int]]:
    """Return path, size and time of change of each file; nothing where one is not to be found."""
    try:
        found = [(path, os.stat(path)) for path in sorted(paths)]
    except OSError:
        return []
    return [(path, status.st_size, status.st_ctime_ns) for path, status in found]


def main(arguments: list[str]) -> int:
    """Compile and print; the exit code says whether BCC is missing or refused."""
    source = Path(arguments[0]).resolve()
    try:
        from bcc import BPF  # noqa: F401
    except ImportError as error:
        print(error, file=sys.stderr)
        return EXIT_NO_BCC
    try:
        result = compile_source(source, arguments[1:])
    except Exception as error:  # BCC raises bare Exception
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
