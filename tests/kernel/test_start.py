"""What `ids run` says at its start: where events go, and what drops although it only looks."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ids.cli import main
from ids.kernel import Block, FastPath
from ids.kernel.instance import remove_pins
from ids.live.notices import count_enforcing
from ids.types import BlockMode
from tests.kernel.conftest import SMALL, settings
from tests.kernel.gate import wait_until

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.lab]
ROOT = Path(__file__).resolve().parents[2]
IDS = [sys.executable, "-c", "from ids.cli import main; main()"]
HOSTS = [ipaddress.ip_network(f"198.51.100.{number}/32") for number in range(1, 5)]
HOUR_NS = 3_600_000_000_000


def words(bpffs: Path, runtime: Path, instance: str) -> list[str]:
    """Return the options that name an instance under ``bpffs``."""
    tables = {f"fastpath.{name}": value for name, value in SMALL.items()}
    places = {"fastpath.pin_dir": bpffs, "engine.runtime_dir": runtime, "engine.state_dir": runtime / "state"}
    given = {**tables, **places, "instance": instance}
    return [word for key, value in given.items() for word in ("--set", f"{key}={value}")]


@contextmanager
def running(namespace: str, options: list[str], folder: Path) -> Iterator[Path]:
    """Run an engine in a namespace until the end of the block; yields its log."""
    ready, log = folder / "ready", folder / "log"
    command = ["nsenter", f"--net=/run/netns/{namespace}", *IDS, "run", "-i", "wire0", "--ready-file", str(ready)]
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [*command, *options], stdout=file, stderr=file, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        assert wait_until(lambda: ready.exists() or process.poll() is not None, 180)
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def blocks() -> list[Block]:
    now = time.time_ns()
    return [
        Block(HOSTS[0]),
        Block(HOSTS[1], now + HOUR_NS),
        Block(HOSTS[2], mode=BlockMode.SHADOW),
        Block(HOSTS[3], now - HOUR_NS),
        Block(ipaddress.ip_network("2001:db8:7::/48")),
    ]


def test_only_what_drops_is_counted_as_enforcing(bpffs: Path) -> None:
    fastpath = FastPath.open(settings(bpffs), "counted")
    assert count_enforcing(fastpath.blocks) == 0
    fastpath.blocks.add(blocks())
    assert count_enforcing(fastpath.blocks) == 3
    fastpath.close("remove")


def test_a_start_in_shadow_says_that_nothing_drops_and_that_events_go_nowhere(
    bpffs: Path, veth: tuple[str, str, str], tmp_path: Path
) -> None:
    namespace, _, _ = veth
    empty = tmp_path / "empty.yaml"
    empty.write_text("rules: []\n")
    fastpath = FastPath.open(settings(bpffs), "said")
    fastpath.blocks.add(blocks())
    fastpath.close("detach")
    options = [*words(bpffs, tmp_path, "said"), "--set", "fastpath.on_stop=remove"]
    with running(namespace, [*options, "--set", "respond.mode=shadow", "-S", str(empty)], tmp_path) as log:
        assert wait_until(lambda: "would_drop.*" in log.read_text()), "the last of what a start says"
        said = log.read_text()
    assert "no event output is configured" in said
    assert "--set eve.path=eve.json" in said
    assert "no rule is loaded" in said
    assert said.count("shadow mode: nothing is dropped or challenged, and 3 entries of the blocklist") == 1
    assert "would_drop.*" in said


def test_a_block_from_outside_spares_the_addresses_of_the_namespace_that_is_guarded(
    bpffs: Path, veth: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace, interface, _ = veth
    subprocess.run(["ip", "-n", namespace, "addr", "add", "198.18.77.1/32", "dev", interface], check=True)
    options = words(bpffs, tmp_path, "spared")

    def block(*more: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["block", "add", "198.18.77.1", *more, *options])
        return int(ended.value.code or 0), capsys.readouterr().err

    with running(namespace, [*options, "--set", "fastpath.on_stop=keep"], tmp_path):
        code, said = block()
        assert (code, "198.18.77.1/32 covers 198.18.77.1" in said) == (2, True), said
    code, said = block()
    assert (code, "in another network namespace" in said) == (0, True), said
    assert "another network namespace" not in block("--force")[1]
    remove_pins(bpffs / "spared")
