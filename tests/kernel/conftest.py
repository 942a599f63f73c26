"""Fixtures of the kernel side: a bpffs of the tests' own, and one loaded program for all verdicts."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel import fastpath
from ids.kernel.fastpath import FastPath
from ids.kernel.program import loader
from ids.kernel.settings import FastPathSettings
from ids.kernel.system.bpffs import mount_bpffs
from tests.kernel.gate import Gate

_MNT_DETACH = 2
SMALL = {
    "blocks_entries": 4096,
    "prefixes_entries": 4096,
    "allow_entries": 64,
    "flows_entries": 4096,
    "proven_entries": 1024,
    "budgets_entries": 1024,
    "repeats_entries": 1024,
    "syn_repeated_per_destination_per_s": 0,
    "ring_small_bytes": 1 << 18,
    "ring_large_bytes": 1 << 20,
    "depth_tcp_bytes": 2000,
    "depth_udp_bytes": 1000,
    "depth_other_bytes": 500,
    "syn_per_source_per_s": 0,
    "icmp_per_source_per_s": 0,
    "syn_per_destination_per_s": 0,
    "icmp_per_destination_per_s": 0,
    "reflected_per_destination_per_s": 0,
    "reflection_bytes": 300,
}
"""Settings for tables that are made in no time."""


@pytest.fixture(scope="session")
def bpffs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted bpffs, or a skip that says what is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    path = tmp_path_factory.mktemp("bpf")
    try:
        mount_bpffs(path)
    except KernelError as error:
        pytest.skip(f"needs a bpffs: {error}")
    yield path
    ctypes.CDLL(None).umount2(os.fsencode(path), _MNT_DETACH)


def settings(pins: Path, **changes: object) -> FastPathSettings:
    """Small tables, pinned under ``pins``."""
    return FastPathSettings.model_validate({**SMALL, "pin_dir": pins, **changes})


@pytest.fixture(scope="session", autouse=True)
def _compile_once() -> Iterator[None]:
    """Keep what was compiled: a dozen tests load the same source, and each compilation takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "compile_program", functools.cache(loader.compile_program))
        yield


@pytest.fixture
def without_challenges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the program for challenges out, where no budget is exceeded: the verifier reads half as much, which takes
    half a second of each start."""
    monkeypatch.setattr(fastpath, "CALLED_PROGRAMS", ())


@pytest.fixture(scope="session")
def _session_gate(bpffs: Path) -> Iterator[Gate]:
    opened = FastPath.open(settings(bpffs), "verdicts")
    yield Gate(opened)
    opened.close("remove")


@pytest.fixture
def gate(_session_gate: Gate) -> Gate:
    """The loaded program with empty tables."""
    _session_gate.reset()
    return _session_gate


@pytest.fixture
def veth(bpffs: Path) -> Iterator[tuple[str, str, str]]:
    """A network namespace with ``wire0`` (192.0.2.1) inside of it, linked to an interface out here with 192.0.2.2.

    Yields (namespace, interface inside, interface outside); the fast path goes on the one inside.
    """
    name = f"idsk{os.getpid()}"
    outside = f"{name}o"[:15]

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)

    ip("netns", "add", name)
    ip("netns", "add", f"{name}c")
    try:
        ip("link", "add", "wire0", "netns", name, "type", "veth", "peer", "name", outside, "netns", f"{name}c")
        ip("-n", name, "addr", "add", "192.0.2.1/24", "dev", "wire0")
        ip("-n", f"{name}c", "addr", "add", "192.0.2.2/24", "dev", outside)
        for namespace, interface in ((name, "wire0"), (name, "lo"), (f"{name}c", outside)):
            ip("-n", namespace, "link", "set", interface, "up")
        yield name, "wire0", f"{name}c"
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=20)
        subprocess.run(["ip", "netns", "delete", f"{name}c"], check=False, capture_output=True, timeout=20)
