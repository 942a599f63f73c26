"""Compiled programs are kept, and compiled anew when anything has changed that went into them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ids.kernel.program import compile as compiler
from ids.kernel.program import loader
from ids.kernel.program.cache import ProgramCache
from ids.paths import bpf_dir

RESULT: dict[str, Any] = {"functions": {"f": "00"}, "maps": []}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the program's sources."""
    return Path(shutil.copytree(bpf_dir(), tmp_path / "bpf"))


@pytest.fixture
def header(tmp_path: Path) -> Path:
    """A header of the system's, which the compiler has read."""
    path = tmp_path / "system.h"
    path.write_text("#define SIZE 1\n")
    return path


@pytest.fixture
def result(header: Path) -> dict[str, Any]:
    """What the compiler made, with what it had read."""
    status = header.stat()
    return {**RESULT, "read": [[str(header), status.st_size, status.st_ctime_ns]]}


def get(sources: Path, *defines: str) -> dict[str, Any] | None:
    """Look as the next start does."""
    return ProgramCache(sources / "xdp_ids.c", defines).get()


def test_a_kept_program_is_found(sources: Path, result: dict[str, Any], tmp_path: Path) -> None:
    ProgramCache(sources / "xdp_ids.c", ("-DX",)).put(result)
    assert get(sources, "-DX") == result
    moved = sources.rename(tmp_path / "elsewhere")
    assert get(moved, "-DX") == result  # what is made does not depend on where the sources lie


def _touch(header: Path) -> None:
    header.write_text(header.read_text() + "\n")


def _another_kernel(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, node, _release, version, machine = os.uname()
    monkeypatch.setattr(os, "uname", lambda: (system, node, "6.0.0-another", version, machine))


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "the source": lambda sources, _: (sources / "xdp_ids.c").write_text("// other\n"),
    "a header": lambda sources, _: _touch(sources / "ids_events.h"),
    "a header of the shim": lambda sources, _: _touch(*(sources / "shim").rglob("log2.h")),
    "a new header": lambda sources, _: (sources / "new.h").write_text(""),
    "a header's name": lambda sources, _: (sources / "ids_flow.h").rename(sources / "ids_flows.h"),
    "the kernel": _another_kernel,
    "where headers are found": lambda _, monkeypatch: monkeypatch.setenv("CPATH", "/opt/include"),
    "a setting of BCC's": lambda _, monkeypatch: monkeypatch.setenv("BCC_LINUX_VERSION_CODE", "1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_known_beforehand_makes_another_key(
    sources: Path, result: dict[str, Any], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ProgramCache(sources / "xdp_ids.c", ()).put(result)
    assert get(sources) == result
    CHANGES[change](sources, monkeypatch)
    assert get(sources) is None


def test_other_defines_make_another_key(sources: Path, result: dict[str, Any]) -> None:
    ProgramCache(sources / "xdp_ids.c", ("-DA", "-DB")).put(result)
    for others in ((), ("-DA",), ("-DA-DB",), ("-DB", "-DA")):
        assert get(sources, *others) is None


def test_a_changed_header_of_the_system_has_the_program_compiled_anew(
    sources: Path, result: dict[str, Any], header: Path
) -> None:
    ProgramCache(sources / "xdp_ids.c", ()).put(result)
    before = header.stat()
    header.write_text("#define SIZE 2\n")
    os.utime(header, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert get(sources) is None


def test_a_missing_library_has_the_program_compiled_anew(sources: Path, result: dict[str, Any], header: Path) -> None:
    ProgramCache(sources / "xdp_ids.c", ()).put(result)
    header.unlink()
    assert get(sources) is None


def test_a_program_of_which_it_is_not_known_what_went_into_it_is_not_kept(sources: Path) -> None:
    ProgramCache(sources / "xdp_ids.c", ()).put({**RESULT, "read": []})
    assert get(sources) is None


def test_a_source_that_cannot_be_read_is_left_to_the_compiler(sources: Path, result: dict[str, Any]) -> None:
    (sources / "dangling.h").symlink_to(sources / "nowhere.h")
    ProgramCache(sources / "xdp_ids.c", ()).put(result)
    assert get(sources) is None


def test_headers_are_taken_from_the_compilers_rule(tmp_path: Path) -> None:
    rule = (
        f"main.o: /virtual/main.c include/linux/log2.h \\\n  /usr/include/linux/in.h {tmp_path}/ids_flow.h"
        " \\\n /opt/with\\ space/a.h\n"
    )
    assert compiler._headers(rule, tmp_path) == {"/usr/include/linux/in.h", "/opt/with space/a.h"}
    assert compiler._headers("", tmp_path) == set()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: BCC makes maps while it compiles")


@needs_root
@pytest.mark.root
def test_the_second_start_runs_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compile_program = getattr(loader.compile_program, "__wrapped__", loader.compile_program)  # not the session's copy
    first = compile_program(bpf_dir() / "tc_ids.c")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the compiler was run")

    monkeypatch.setattr(subprocess, "run", refuse)
    assert compile_program(bpf_dir() / "tc_ids.c") == first
    (file,) = (tmp_path / "cache/ids").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="was run"):
        compile_program(bpf_dir() / "tc_ids.c")


@needs_root
@pytest.mark.root
def test_the_compiler_names_the_headers_and_libraries_that_it_used() -> None:
    source = bpf_dir() / "tc_ids.c"
    getattr(loader.compile_program, "__wrapped__", loader.compile_program)(source)
    kept = ProgramCache(source, ()).get()
    assert kept is not None
    named = {Path(path).name.split(".so")[0] for path, _, _ in kept["read"]}
    assert {"in.h", "types.h", "libbcc", "table.py"} <= named
    assert any(name.startswith("libLLVM") for name in named)
    assert "ids_flow.h" not in named
