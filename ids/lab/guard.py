"""The engine of the lab: `ids run` as a process on the gateway, and its events as they come."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

import ids
from ids.config import load_config
from ids.errors import IdsError, KernelError
from ids.kernel.instance import instance_dir
from ids.kernel.maps.counts import pinned_counts
from ids.lab.removal import wait_until
from ids.lab.topology import INSIDE, OUTSIDE, Lab

START_S = 60.0
"""Starting compiles the XDP program and the rules' prefilters: a second or two, more on a busy machine."""
COMMAND_S = 30.0
"""For a verb of `ids`, which is a process of its own: a second, more on a busy machine."""
LOG_TAIL_LINES = 15
EVENT_LIMIT = 100_000
"""Events of one lab that are kept in memory; a full story makes some hundreds."""

_ROOT = Path(ids.__file__).resolve().parents[1]
_MAIN = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from ids.cli import main; main()"
"""The command line of this very package, installed or not."""


def in_a_process(words: Sequence[str]) -> tuple[int, str, str]:
    """Run `ids` as a process of its own; return its exit code, and what it wrote to stdout and stderr."""
    command = [sys.executable, "-c", _MAIN, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    return done.returncode, done.stdout, done.stderr


class GuardFailed(IdsError):
    """The engine of the lab did not start, or ended; the message has the end of its log."""

    exit_code = 1


class Guard:
    """`ids run` on both interfaces of a lab's gateway. `start` may be called again after `kill` or `stop`.

    Everything that the engine writes is in the lab's directory, but for its cache of compiled rules.
    """

    def __init__(self, lab: Lab, **settings: dict[str, Any] | list[str]) -> None:
        """Write the configuration; ``settings`` are merged over the lab's own, a section each."""
        self._lab = lab
        self._process: subprocess.Popen[bytes] | None = None
        self._read_bytes = 0
        self._events: list[dict[str, Any]] = []
        self.log = lab.directory / "engine.log"
        self.eve = lab.directory / "eve.json"
        self.config = lab.directory / "ids.yaml"
        document = _settings(lab, self.eve)
        for section, values in settings.items():
            document[section] = {**document.get(section, {}), **values} if isinstance(values, dict) else values
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))

    @property
    def pid(self) -> int:
        """Process id of the running engine."""
        if self._process is None:
            raise GuardFailed("the engine is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the engine and return when it inspects packets.

        Raises `ids.errors.KernelError` where the kernel side refused, and `GuardFailed` for whatever else went wrong.
        """
        ready = self._lab.directory / "ready"
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-c", _MAIN, "run", "-c", str(self.config), "--ready-file", str(ready)]
        process = self._process = self._lab.spawn(self._lab.gateway, command, self.log.name)
        started = wait_until(lambda: ready.exists() or process.poll() is not None, START_S)
        if process.poll() is not None:
            said = f"`ids run` ended with exit code {process.returncode}; the end of its log:\n{self.log_tail()}"
            raise KernelError(said) if process.returncode == KernelError.exit_code else GuardFailed(said)
        if not started:
            raise GuardFailed(f"`ids run` was not ready within {START_S:g} s; the end of its log:\n{self.log_tail()}")

    def kill(self) -> None:
        """Kill the engine as the kernel would, out of memory: with no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask the engine to end and return its exit code."""
        return self._end(signal.SIGTERM)

    def command(self, *words: str) -> Any:
        """Run a verb of `ids` against this engine's configuration and return the object of JSON that it prints.

        Raises `GuardFailed` with what it said when it fails.
        """
        printed = self._printed(words)
        return json.loads(printed) if printed else None

    def rows(self, *words: str) -> list[dict[str, Any]]:
        """Run a verb that lists something, as `command` does, and return its lines of JSON."""
        return [json.loads(line) for line in self._printed(words).splitlines()]

    def _printed(self, words: Sequence[str]) -> str:
        with self._lab.gateway.entered():
            exit_code, printed, said = in_a_process([*words, "-c", str(self.config), "-o", "json"])
        if exit_code != 0:
            raise GuardFailed(f"`ids {' '.join(words)}` failed: {(said or printed).strip()}")
        return printed.strip()

    def kernel_packets(self) -> dict[str, int]:
        """Return the packets that the XDP program has counted, by reason; reasons that never applied are left out."""
        config = load_config(self.config)
        counts = pinned_counts(instance_dir(config.fastpath, config.instance))
        return {reason: packets for reason, (packets, _) in counts.items() if packets}

    def xdp_modes(self) -> dict[str, str]:
        """Return ``native`` or ``generic`` for each interface that the engine says it guards."""
        return dict(re.findall(r"guarding (\S+), XDP mode (\w+)", self.log.read_text(errors="replace")))

    def events(self) -> list[dict[str, Any]]:
        """Return all events written so far, oldest first."""
        if self.eve.exists():
            with self.eve.open("rb") as file:
                file.seek(self._read_bytes)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # still being written
                    self._read_bytes += len(line)
                    if len(self._events) < EVENT_LIMIT:
                        self._events.append(json.loads(line))
        return self._events

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any] | None:
        """Return the first event that is wanted, waiting for it if need be; None when none came in time.

        Raises `GuardFailed` when the engine has ended and so will write no more.
        """
        found: list[dict[str, Any]] = []

        def look() -> bool:
            ended = self._process is not None and self._process.poll() is not None
            found[:] = [event for event in self.events() if wanted(event)][:1]
            if ended and not found:
                raise GuardFailed("`ids run` has ended")
            return bool(found)

        return found[0] if wait_until(look, timeout_s, 0.005) else None

    def log_tail(self) -> str:
        """Return the last lines of the engine's log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _end(self, signum: int) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        return self._lab.stop(process, signum)


def rules_directory() -> Path:
    """Return the starter rules: those of the source tree, or else those that were installed."""
    for root in (_ROOT, Path(sys.prefix, "share", "ids")):
        if (root / "rules" / "base").is_dir():
            return root / "rules" / "base"
    raise KernelError("the starter rules (rules/base) were not found", "run it from a checkout, or install it again")


def _settings(lab: Lab, eve: Path) -> dict[str, Any]:
    """Return the settings of a gateway that protects the lab's server, with its files and pins in the lab."""
    return {
        "instance": lab.name,
        "interfaces": [OUTSIDE, INSIDE],
        "vars": {"HOME_NET": ["203.0.113.0/24", "2001:db8:2::/64"]},
        "engine": {"runtime_dir": str(lab.directory / "run"), "state_dir": str(lab.directory / "state")},
        "fastpath": {"pin_dir": str(lab.pins / "ids")},
        "rules": {"paths": [str(rules_directory())]},
        "eve": {"path": str(eve)},
    }
