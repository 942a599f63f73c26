"""Seconds that a long blocklist takes: import, list, sum, look up, export, import again, save, restore; beside nft.

Each is the whole command in a process of its own, as an operator waits for it, but for restoring, which is part of a
start. The peers (``nft``, ``ipset``, where they are installed) have as many elements in a set, in a network namespace.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ids.kernel import AllowList, Blocklist, FastPath, FastPathSettings
from ids.kernel.lists.entries import networks_from, texts_of
from ids.lab.namespace import Namespace
from ids.state import lists
from tests.bench.process import IDS, run_measured
from tests.bench.report import CannotRun, Row, show
from tests.bench.scratch import scratch_bpffs, scratch_namespace

ENTRIES = 1_000_000
FIRST = 0x0B000000
STEP = 7
"""Addresses that no aggregation joins."""


def main(arguments: Sequence[str] = ()) -> None:
    """Measure each step once: they take seconds, and the next needs what the one before leaves."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench lists")
    parser.add_argument("--entries", type=int, default=ENTRIES)
    entries = parser.parse_args(list(arguments)).entries
    numbers = range(FIRST, FIRST + entries * STEP, STEP)
    texts = [text.partition("/")[0] for text in texts_of(networks_from([(4, 32, number) for number in numbers]))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "feed").write_text("\n".join(texts) + "\n")
        rows = _ours(folder, texts) + _nft(folder, texts) + _ipset(folder, texts)
    show(f"Lists of {entries:,} addresses", rows, "python -m tests.bench lists")


def _ours(folder: Path, texts: list[str]) -> list[Row]:
    with scratch_bpffs() as pins:
        settings = FastPathSettings(pin_dir=pins, blocks_entries=max(65536, 2 * len(texts)))
        fastpath = FastPath.open(settings, "default")
        place = ["--set", f"fastpath.pin_dir={pins}", "--set", f"engine.state_dir={folder}"]
        saved, exported = folder / "lists", folder / "exported"

        def command(*words: str) -> float:
            return run_measured([IDS, *words, *place], folder).seconds

        def export() -> float:
            started = time.perf_counter()
            with open(exported, "wb") as file:
                subprocess.run([IDS, "block", "export", *place], stdout=file, check=True)
            return time.perf_counter() - started

        def save(blocks: Blocklist, allowed: AllowList) -> None:
            lists.save(blocks, allowed, saved)

        def empty() -> None:
            fastpath.blocks.clear()
            fastpath.config["changes"][0] = 0

        def on(act: Callable[[Blocklist, AllowList], object]) -> float:
            started = time.perf_counter()
            act(fastpath.blocks, fastpath.allowed)
            return time.perf_counter() - started

        try:
            fastpath.beat()
            measured = {
                "ids block import FEED --label x": command("block", "import", str(folder / "feed"), "--label", "x"),
                "ids block list": command("block", "list"),
                "ids block list -o json": command("block", "list", "-o", "json"),
                "ids block list --top 20": command("block", "list", "--top", "20"),
                "ids block list --by label": command("block", "list", "--by", "label"),
                "ids block show ADDR": command("block", "show", texts[len(texts) // 2]),
                "ids block export": export(),
                "save (in the engine's thread, or a command's)": on(save),
            }
            empty()
            measured["restore at the start"] = on(lambda *both: lists.restore_file(both[0], both[1], saved))
            assert len(fastpath.blocks.columns()[0]) == len(texts)
            empty()
            fastpath.beat()
            measured["ids block import EXPORT"] = command("block", "import", str(exported))
            assert len(fastpath.blocks.columns()[0]) == len(texts)
        finally:
            fastpath.close("remove")
    return [Row(name, seconds, "s") for name, seconds in measured.items()]


def _nft(folder: Path, texts: list[str]) -> list[Row]:
    if shutil.which("nft") is None:
        return []
    elements = ", ".join(texts)
    (folder / "nft").write_text(f"table inet t {{\n set s {{\n type ipv4_addr\n elements = {{ {elements} }}\n }}\n}}\n")
    some = texts[len(texts) // 2]
    words = {
        "nft -f FILE (import)": ["nft", "-f", str(folder / "nft")],
        "nft list set": ["nft", "list", "set", "inet", "t", "s"],
        "nft get element": ["nft", "get", "element", "inet", "t", "s", f"{{ {some} }}"],
    }
    return _peer(words)


def _ipset(folder: Path, texts: list[str]) -> list[Row]:
    if shutil.which("ipset") is None:
        return []
    head = f"create s hash:ip maxelem {2 * len(texts)}\n"
    (folder / "ipset").write_text(head + "".join(f"add s {text}\n" for text in texts))
    words = {
        "ipset restore (import)": ["ipset", "restore", "-f", str(folder / "ipset")],
        "ipset list": ["ipset", "list", "s"],
        "ipset test": ["ipset", "test", "s", texts[len(texts) // 2]],
    }
    return _peer(words)


def _peer(commands: dict[str, list[str]]) -> list[Row]:
    rows = []
    with ExitStack() as stack:
        namespace: Namespace = stack.enter_context(scratch_namespace())
        for name, words in commands.items():
            started = time.perf_counter()
            done = subprocess.run(
                ["ip", "netns", "exec", namespace.name, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            if done.returncode:
                raise CannotRun(f"{words[0]}: {done.stderr.decode(errors='replace')[:200]}")
            rows.append(Row(name, time.perf_counter() - started, "s"))
    return rows


if __name__ == "__main__":
    main()
