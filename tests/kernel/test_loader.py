"""From C to instructions: trouble is told in the compiler's words, success is silent."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel.maps.table import Map, MapSpec
from ids.kernel.program import loader
from ids.paths import bpf_dir


def test_relocation_exchanges_map_descriptors_and_nothing_else() -> None:
    def load_imm64(kind: int, value: int) -> bytes:
        return struct.pack("<BBhiBBhi", 0x18, kind << 4 | 1, 0, value, 0, 0, 0, 0)

    exit_program = struct.pack("<BBhi", 0x95, 0, 0, 0)
    table = Map(77, MapSpec("table", 1, 4, 4, 1, 0))
    code = load_imm64(1, 5) + load_imm64(0, 5) + exit_program
    wanted = load_imm64(1, 77) + load_imm64(0, 5) + exit_program
    assert loader.relocate(code, {5: "table"}, {"table": table}) == wanted


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: BCC makes maps while it compiles")


@needs_root
@pytest.mark.root
def test_compiling_prints_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # or it might only be loaded
    compiled = loader.compile_program(bpf_dir() / "xdp_ids.c")
    assert set(compiled.functions) >= {"xdp_ids"}
    assert {"ids_block4", "ids_small"} <= set(compiled.specs)
    assert capfd.readouterr() == ("", "")


@needs_root
@pytest.mark.root
def test_a_module_of_the_current_folder_is_not_taken_for_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bcc.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # or it might only be loaded
    compile_program = getattr(loader.compile_program, "__wrapped__", loader.compile_program)  # not the session's copy
    assert "tc_ids" in compile_program(bpf_dir() / "tc_ids.c").functions


@needs_root
@pytest.mark.root
def test_an_error_in_the_source_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "shim").symlink_to(bpf_dir() / "shim")
    source = tmp_path / "broken.c"
    source.write_text("#include <linux/bpf.h>\nint broken(struct xdp_md *ctx)\n{\n\treturn nonsense;\n}\n")
    with pytest.raises(KernelError, match=r"could not compile .*broken\.c(.|\n)*:4:9: error: .*'nonsense'"):
        loader.compile_program(source)
