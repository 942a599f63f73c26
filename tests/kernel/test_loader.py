"""From C to instructions: trouble is reported in the compiler's words, success is silent."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel.maps.table import Map, MapSpec
from ids.kernel.program import loader
from ids.kernel.program.compile import pasted
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
def test_an_error_in_the_source_is_reported_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "shim").symlink_to(bpf_dir() / "shim")
    source = tmp_path / "broken.c"
    source.write_text("#include <linux/bpf.h>\nint broken(struct xdp_md *ctx)\n{\n\treturn nonsense;\n}\n")
    with pytest.raises(KernelError, match=r"could not compile .*broken\.c(.|\n)*:4:9: error: .*'nonsense'"):
        loader.compile_program(source)


def test_an_included_c_file_is_pasted_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "common.c").write_text("int common;\n")
    source = tmp_path / "main.c"
    source.write_text('#include "kept.h"\n#include "common.c"\nint third_line;\n')
    assert pasted(source).splitlines() == [
        f'#line 1 "{source}"',
        '#include "kept.h"',
        f'#line 1 "{tmp_path / "common.c"}"',
        "int common;",
        f'#line 3 "{source}"',
        "int third_line;",
    ]


@needs_root
@pytest.mark.root
def test_maps_are_used_in_a_pasted_file_and_its_errors_have_its_lines(tmp_path: Path) -> None:
    (tmp_path / "shim").symlink_to(bpf_dir() / "shim")
    source, common = tmp_path / "main.c", tmp_path / "common.c"
    source.write_text(
        '#include <linux/bpf.h>\nBPF_ARRAY(seen, u64, 1);\n#include "common.c"\n'
        "int count(struct xdp_md *ctx)\n{\n\treturn look();\n}\n"
    )
    look = "static int look(void)\n{\n\tu32 zero = 0;\n\treturn seen.lookup(&zero) != 0;\n}\n"
    common.write_text(look)
    compiled = loader.compile_program(source)
    with Map.create(compiled.specs["seen"]) as seen:
        os.close(loader.load(compiled, "count", {"seen": seen}))
    common.write_text(look.replace("!= 0", "!= nonsense"))
    with pytest.raises(KernelError, match=r"common\.c:4:31: error: .*'nonsense'"):
        loader.compile_program(source, ("-DAGAIN",))


@needs_root
@pytest.mark.root
@pytest.mark.xdp
def test_of_programs_that_are_loaded_together_none_stays_where_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shim").symlink_to(bpf_dir() / "shim")
    source = tmp_path / "two.c"
    source.write_text(
        "#include <linux/bpf.h>\nint fine(struct xdp_md *ctx)\n{\n\treturn XDP_PASS;\n}\n"
        "int blind(struct xdp_md *ctx)\n{\n\treturn *(int *)(long)ctx->data;\n}\n"
    )
    compiled = loader.compile_program(source)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match="invalid access to packet"):
        loader.load_together(compiled, ("fine", "blind", "fine"), {})
    assert os.listdir("/proc/self/fd") == before
    loaded = loader.load_together(compiled, ("fine", "fine"), {})
    assert len(set(loaded)) == 2
    for program in loaded:
        os.close(program)
