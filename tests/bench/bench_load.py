"""Seconds to load a million blocked networks: by our batches, one call an entry, and by ``nft`` and ``ipset``."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ids.kernel import FastPath, FastPathSettings, NetworkSet
from ids.lab.namespace import Namespace
from ids.types import IPAddress, address_object
from tests.bench.report import Row, show
from tests.bench.scratch import scratch_bpffs, scratch_namespace

HOSTS4, PREFIXES4, HOSTS6, PREFIXES6 = 800_000, 100_000, 80_000, 20_000
SINGLE = 50_000
"""Entries written one call at a time; their time is scaled to the million."""
SEED = 2026


def networks() -> tuple[
    np.ndarray[tuple[int], np.dtype[np.uint32]], list[tuple[int, int]], list[int], list[tuple[int, int]]
]:
    """Return scattered addresses and prefixes, no two the same; lengths as public feeds have them."""
    random = np.random.default_rng(SEED)
    hosts4 = random.permutation(np.unique(random.integers(1 << 24, 224 << 24, HOSTS4 + 9000, dtype=np.uint32)))[:HOSTS4]
    slots = random.permutation(1 << 20)[:PREFIXES4]
    prefixes4 = [(int(slot) << 8 | 0x20000000, 24) for slot in slots]
    hosts6 = [0x20010DB8 << 96 | int(high) << 64 | int(low) for high, low in random.integers(1, 1 << 32, (HOSTS6, 2))]
    prefixes6 = [(0x20010DB8 << 96 | int(site) << 64, 64) for site in random.permutation(1 << 22)[:PREFIXES6]]
    return hosts4, prefixes4, hosts6, prefixes6


def timed_bulk(fastpath: FastPath, entries: NetworkSet) -> dict[str, float]:
    """Return the seconds of loading, replacing (one in ten changes), sweeping, clearing, and loading it twice."""
    seconds: dict[str, float] = {}
    fewer = NetworkSet({kind: keys[len(keys) // 10 :] for kind, keys in entries.keys.items()})
    for name, action in (
        ("load", lambda: fastpath.blocks.replace("feed", fewer)),
        ("replace, a tenth of it new", lambda: fastpath.blocks.replace("feed", entries)),
        ("sweep", fastpath.blocks.sweep),
        ("clear", fastpath.blocks.clear),
        ("load anew", lambda: fastpath.blocks.replace("feed", entries)),
        ("the same for a second source", lambda: fastpath.blocks.replace("second", entries)),
    ):
        started = time.perf_counter()
        action()
        seconds[name] = time.perf_counter() - started
    return seconds


def timed_single(fastpath: FastPath, entries: NetworkSet) -> float:
    """Return the seconds that a million entries take, one call each."""
    keys = [(kind, key.tobytes()) for kind, part in entries.keys.items() for key in part[:: len(entries) // SINGLE]]
    tables = {kind: fastpath.maps[f"ids_{'block' if kind[1] else 'prefix'}{kind[0]}"] for kind in entries.keys}
    value = bytes(48)
    started = time.perf_counter()
    for kind, key in keys:
        tables[kind].set(key, value)
    return (time.perf_counter() - started) / len(keys) * len(entries)


def texts(numbers: list[tuple[int, int]] | list[int], version: int) -> list[str]:
    """Spell networks given as numbers."""

    def address(number: int) -> IPAddress:
        return address_object((0, 0xFFFF << 32 | number) if version == 4 else (number >> 64, number & (1 << 64) - 1))

    return [str(address(entry)) if isinstance(entry, int) else f"{address(entry[0])}/{entry[1]}" for entry in numbers]


def timed_command(namespace: Namespace, command: list[str], script: Path) -> float:
    """Return the seconds that a tool of a namespace takes for a script on its standard input."""
    with script.open() as file, namespace.entered():
        started = time.perf_counter()
        subprocess.run(command, stdin=file, check=True, capture_output=True, timeout=300)
    return time.perf_counter() - started


def peers(folder: Path) -> dict[str, float]:
    """Return the seconds of nft and ipset for the same networks, where they are installed."""
    hosts4, prefixes4, hosts6, prefixes6 = networks()
    four = texts([int(number) for number in hosts4], 4), texts(prefixes4, 4)
    six = texts(hosts6, 6), texts(prefixes6, 6)
    seconds = {}
    with scratch_namespace() as namespace, _peers_may_fail():
        if shutil.which("nft"):
            script = folder / "nft"
            script.write_text(
                "table inet bench {\n"
                + "".join(
                    f"set {name} {{ type ipv{version}_addr; {flags} elements = {{ {', '.join(entries)} }} }}\n"
                    for name, version, flags, entries in (
                        ("h4", 4, "", four[0]),
                        ("p4", 4, "flags interval; auto-merge;", four[1]),
                        ("h6", 6, "", six[0]),
                        ("p6", 6, "flags interval; auto-merge;", six[1]),
                    )
                )
                + "}\n"
            )
            seconds["nft -f, four sets"] = timed_command(namespace, ["nft", "-f", "-"], script)
        if shutil.which("ipset"):
            script = folder / "ipset"
            lines = []
            for name, kind, family, entries in (
                ("h4", "hash:ip", "inet", four[0]),
                ("p4", "hash:net", "inet", four[1]),
                ("h6", "hash:ip", "inet6", six[0]),
                ("p6", "hash:net", "inet6", six[1]),
            ):
                lines.append(f"create {name} {kind} family {family} maxelem 1000000")
                lines += [f"add {name} {entry}" for entry in entries]
            script.write_text("\n".join(lines) + "\n")
            seconds["ipset restore, four sets"] = timed_command(namespace, ["ipset", "restore"], script)
    return seconds


@contextmanager
def _peers_may_fail() -> Iterator[None]:
    try:
        yield
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[0]} could not load them: {error.stderr.decode()[:200]}")


def main() -> None:
    """Load the same million entries each way."""
    with scratch_bpffs() as pins, tempfile.TemporaryDirectory() as folder:
        settings = FastPathSettings(pin_dir=pins, blocks_entries=1 << 20, prefixes_entries=1 << 18)
        fastpath = FastPath.open(settings, "load")
        try:
            numbers = networks()
            started = time.perf_counter()
            entries = NetworkSet.of_numbers(*numbers)
            made = time.perf_counter() - started
            bulk = timed_bulk(fastpath, entries)
            fastpath.blocks.clear()
            single = timed_single(fastpath, entries)
        finally:
            fastpath.close("remove")
        others = peers(Path(folder))
    best = bulk["load anew"]
    rows = [Row("make the keys from numbers", made, "s")]
    rows += [Row(f"ours: {name}", value, "s") for name, value in bulk.items()]
    rows.append(Row("one call an entry", single, "s", ratio=single / best, peer="load anew"))
    rows += [Row(name, value, "s", ratio=value / best, peer="load anew") for name, value in others.items()]
    show(f"Loading {len(entries):,} blocked networks", rows, "python -m tests.bench load")


if __name__ == "__main__":
    main()
