"""The contract has two spellings, C and NumPy: the header's text, a compiler and BCC say whether they are the same.

The text has every name, so that neither side has one that the other lacks; the compiler has values, sizes and offsets;
BCC has what the maps of the programs really hold.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ids.kernel import contract
from ids.kernel.contract import REASON_NAMES, STRUCTS, Reason
from ids.kernel.program import loader
from ids.paths import bpf_dir

HEADER = "ids_events.h"
TEXT = re.sub(r"/\*.*?\*/", "", (bpf_dir() / HEADER).read_text(), flags=re.DOTALL)
"""The header without its comments."""
TYPES = {"__u8": "u1", "__u16": "<u2", "__u32": "<u4", "__u64": "<u8"}
ENUMS = {
    "ids_block_mode": (contract.BlockFlag, "IDS_BLOCK_"),
    "ids_charged": (contract.Charged, "IDS_CHARGED_"),
    "ids_cut": (contract.Cut, "IDS_CUT_"),
    "ids_detail": (contract.Detail, "IDS_DETAIL_"),
    "ids_fate": (contract.Fate, "IDS_FATE_"),
    "ids_flow_state": (contract.KernelFlowState, "IDS_FLOW_"),
    "ids_flow_verdict": (contract.FlowVerdict, "IDS_FLOW_"),
    "ids_asked": (contract.Asked, "IDS_ASKED_"),
    "ids_limit_kind": (contract.LimitKind, "IDS_LIMIT_"),
    "ids_flags": (contract.Flags, "IDS_FLAG_"),
    "ids_lists": (contract.Lists, "IDS_LIST_"),
    "ids_tunnel": (contract.Tunnel, "IDS_TUNNEL_"),
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
    "IDS_SHARED_PORTS": contract.SHARED_PORTS,
    "IDS_REASON_COUNT": contract.REASON_COUNT,
    "IDS_REASON_DROP": contract.REASON_DROP,
    "IDS_REASON_MALFORMED": contract.REASON_MALFORMED,
    "IDS_REASON_NOTE": contract.REASON_NOTE,
    "IDS_REASON_WOULD": contract.REASON_WOULD,
    "IDS_TUNNEL_BYTES": contract.TUNNEL_BYTES,
    "IDS_LIMIT_KINDS": contract.LIMIT_KINDS,
    "IDS_SMALL_DATA": contract.SMALL_DATA,
    "IDS_LARGE_DATA": contract.LARGE_DATA,
}
MAPS: dict[str, tuple[str, str]] = {
    "ids_counts": ("u32", "ids_count"),
    "ids_config": ("u32", "ids_config"),
    "ids_tunnels": ("u32", "ids_tunnel_ports"),
    "ids_clock": ("u32", "ids_clock"),
    "ids_block4": ("u32", "ids_block"),
    "ids_block6": ("ids_addr6", "ids_block"),
    "ids_prefix4": ("ids_prefix4", "ids_block"),
    "ids_prefix6": ("ids_prefix6", "ids_block"),
    "ids_claims": ("ids_claim_key", "ids_block"),
    "ids_allow4": ("ids_prefix4", "ids_allow"),
    "ids_allow6": ("ids_prefix6", "ids_allow"),
    "ids_labels": ("u32", "ids_label"),
    "ids_flows4": ("ids_flow4", "ids_flow"),
    "ids_flows6": ("ids_flow6", "ids_flow"),
    "ids_fragments": ("ids_datagram_key", "ids_datagram"),
    "ids_proven4": ("u32", "u64"),
    "ids_proven6": ("ids_addr6", "u64"),
    "ids_src_budgets": ("ids_budget_key", "ids_budget"),
    "ids_dst_budgets": ("ids_budget_key", "ids_budget"),
    "ids_repeats": ("u32", "ids_repeat"),
    "ids_shares": ("ids_share_key", "ids_share"),
    "ids_programs": ("u32", "u32"),
    "ids_small": ("u32", "u32"),
    "ids_large": ("u32", "u32"),
}
"""What each map is made of; rings hold `ids_record`, and ids_scratch what is nobody's business."""


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
    return subprocess.run([str(program)], check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


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


def declared(kind: str) -> dict[str, str]:
    """Return the bodies of all structs or enums of the header, by name."""
    return dict(re.findall(rf"^{kind} (\w+) \{{(.*?)\}};", TEXT, re.MULTILINE | re.DOTALL))


def spelt(dtype: np.dtype[Any]) -> tuple[str, Any, tuple[int, ...]]:
    """Return (type of one element, its fields where it is a struct, shape)."""
    base, shape = dtype.subdtype or (dtype, ())
    return (base.str if base.fields is None else "struct", base, shape)


def test_structs_have_the_same_fields_of_the_same_types_in_the_same_order() -> None:
    assert set(declared("struct")) == set(STRUCTS)
    for name, body in declared("struct").items():
        dtype = STRUCTS[name]
        fields = re.findall(r"(struct |union )?(\w+) (\w+)(?:\[(\w+)\])?;", body)
        assert [field for *_, field, _ in fields] == list(dtype.names or ()), name
        for kind, type_, field, count in fields:
            element, base, shape = spelt(dtype[field])
            number = NUMBERS.get(count) or int(count or 1)
            if kind == "union ":
                assert (element, shape) == ("|u1", (dtype[field].itemsize,)), f"{name}.{field}"
                continue
            wanted = np.dtype(TYPES[type_]) if not kind else STRUCTS[type_]
            assert base == wanted, f"{name}.{field}"
            assert shape == ((number,) if count else ()), f"{name}.{field}"


def test_no_enum_or_number_of_the_header_is_left_out() -> None:
    assert set(declared("enum")) == {*ENUMS, "ids_reason"}
    for name, body in declared("enum").items():
        if name == "ids_reason":
            continue
        enum, prefix = ENUMS[name]
        members = {word for word in re.findall(r"\bIDS_\w+", body) if re.search(rf"\b{word} =", body)}
        assert members - set(NUMBERS) == {f"{prefix}{member.name}" for member in enum}, name
        assert len(members) == body.count("="), f"{name}: every member has its number"
    defined = set(re.findall(r"^#define (IDS_\w+) \S", TEXT, re.MULTILINE))
    assert defined - {"IDS_EVENTS_H"} <= set(NUMBERS)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: BCC makes maps while it compiles")
@pytest.mark.parametrize("source", ["xdp_ids.c", "tc_ids.c"])
def test_maps_hold_what_the_contract_says(source: str) -> None:
    sizes = {name: dtype.itemsize for name, dtype in STRUCTS.items()} | {"u32": 4, "u64": 8}
    specs = loader.compile_program(bpf_dir() / source).specs
    compiled = {name: (spec.key_bytes, spec.value_bytes) for name, spec in specs.items()}
    wanted = {name: (sizes[key], sizes[value]) for name, (key, value) in MAPS.items()}
    assert compiled == {**compiled, **wanted}
    assert set(compiled) - set(MAPS) == {"ids_events", "ids_scratch"}


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
