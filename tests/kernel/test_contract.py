"""The contract has two spellings, C and NumPy: a compiler says whether they are the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ids.kernel import contract
from ids.kernel.contract import REASON_NAMES, STRUCTS, Reason
from ids.paths import bpf_dir

HEADER = "ids_events.h"
ENUMS = {
    "ids_block_mode": (contract.BlockFlag, "IDS_BLOCK_"),
    "ids_cut": (contract.Cut, "IDS_CUT_"),
    "ids_flow_state": (contract.KernelFlowState, "IDS_FLOW_"),
    "ids_flow_verdict": (contract.FlowVerdict, "IDS_FLOW_"),
    "ids_limit_kind": (contract.LimitKind, "IDS_LIMIT_"),
    "ids_flags": (contract.Flags, "IDS_FLAG_"),
    "ids_lists": (contract.Lists, "IDS_LIST_"),
    "ids_record_kind": (contract.RecordKind, "IDS_RECORD_"),
}
NUMBERS = {
    "IDS_CONTRACT_VERSION": contract.VERSION,
    "IDS_RING_HEADER": contract.RING_HEADER,
    "IDS_SMALL_STRIDE": contract.SMALL_STRIDE,
    "IDS_LARGE_STRIDE": contract.LARGE_STRIDE,
    "IDS_RECORD_HEADER": contract.RECORD_HEADER,
    "IDS_EVENT_STRIDE": contract.EVENT_STRIDE,
    "IDS_MAX_WORKERS": contract.MAX_WORKERS,
    "IDS_REASON_COUNT": contract.REASON_COUNT,
    "IDS_REASON_DROP": contract.REASON_DROP,
    "IDS_REASON_MALFORMED": contract.REASON_MALFORMED,
    "IDS_REASON_NOTE": contract.REASON_NOTE,
    "IDS_LIMIT_KINDS": contract.LIMIT_KINDS,
}


def ask_compiler(expressions: list[str], folder: Path) -> list[str]:
    """Return what a C program prints for each expression (a number or a string literal)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    prints = "\n".join(f"    show({expression});" for expression in expressions)
    source = folder / "ask.c"
    source.write_text(
        f"""
#include <stddef.h>
#include <stdio.h>
#include "{HEADER}"
#define show(x) _Generic((x), char *: printf("%s\\n", (char *)(x)), default: printf("%lld\\n", (long long)(x)))
int main(void)
{{
{prints}
    return 0;
}}
"""
    )
    program = folder / "ask"
    subprocess.run(
        [compiler, "-w", f"-I{bpf_dir()}", "-o", str(program), str(source)], check=True, capture_output=True, timeout=60
    )
    return subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=20).stdout.splitlines()


def test_structs_have_the_same_size_and_offsets(tmp_path: Path) -> None:
    wanted: dict[str, int] = {}
    for name, dtype in STRUCTS.items():
        wanted[f"sizeof(struct {name})"] = dtype.itemsize
        assert dtype.fields is not None
        for field, (_, offset, *_) in dtype.fields.items():
            wanted[f"offsetof(struct {name}, {field})"] = offset
            wanted[f"sizeof(((struct {name} *)0)->{field})"] = dtype[field].itemsize
    answers = ask_compiler(list(wanted), tmp_path)
    assert dict(zip(wanted, map(int, answers), strict=True)) == wanted


def test_no_struct_of_the_header_is_left_out() -> None:
    declared = set(re.findall(r"^struct (\w+) \{", (bpf_dir() / HEADER).read_text(), re.MULTILINE))
    assert declared == set(STRUCTS)


def test_numbers_and_enums_are_the_same(tmp_path: Path) -> None:
    wanted = dict(NUMBERS)
    for enum, prefix in ENUMS.values():
        wanted |= {f"{prefix}{member.name}": int(member) for member in enum}
    answers = ask_compiler(list(wanted), tmp_path)
    assert dict(zip(wanted, map(int, answers), strict=True)) == wanted


def test_reasons_have_the_same_numbers_and_names() -> None:
    rows = re.findall(r'X\((\w+), +(\d+), (\w+), "([^"]+)"\)', (bpf_dir() / HEADER).read_text())
    assert {symbol: int(number) for symbol, number, _, _ in rows} == {reason.name: int(reason) for reason in Reason}
    assert {name for _, _, _, name in rows} == set(REASON_NAMES.values())
    for symbol, number, kind, name in rows:
        assert symbol.startswith(f"{kind}_")
        assert name.startswith(f"{kind.lower()}.")
        assert REASON_NAMES[Reason(int(number))] == name
        assert (int(number) >= contract.REASON_NOTE) == (kind == "NOTE")
        assert (contract.REASON_DROP <= int(number) < contract.REASON_NOTE) == (kind == "DROP")


def test_a_record_fills_its_header_and_strides_divide_every_ring() -> None:
    assert np.dtype(contract.RECORD).itemsize == contract.RECORD_HEADER
    assert 4096 % contract.SMALL_STRIDE == 0
    assert 4096 % contract.LARGE_STRIDE == 0
