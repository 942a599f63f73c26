"""Make the engine a service of this host, end that, and say how it stands; systemd is asked by ``systemctl``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ids.errors import UsageError
from ids.service.unit import OURS, Service
from ids.whole import write_whole

PACKAGED = ("usr/lib/systemd/system", "lib/systemd/system")
"""Where a package puts its units."""
SYSTEMCTL_S = 120.0
"""Longer than a start may be waited for with `--now`: it waits for readiness, and rules are compiled at the first."""

PROPERTIES = ("LoadState", "UnitFileState", "ActiveState", "SubState", "StatusText", "MainPID", "NRestarts", "Result")
"""What `status` asks systemd for."""

Systemctl = Callable[[Sequence[str]], str]
"""Runs ``systemctl`` with these words and returns its answer; raises `UsageError`."""


def this_command() -> tuple[str, ...]:
    """Return how this program is called, absolute: a service has a PATH of its own."""
    beside = Path(sys.executable).with_name("ids")
    called = Path(sys.argv[0]).absolute()
    for path in (called, beside):
        if path.name == "ids" and os.access(path, os.X_OK):
            return (str(path),)
    found = shutil.which("ids")
    if found is None:
        raise UsageError("where is the program `ids`? It is neither on PATH nor beside the interpreter")
    return (str(Path(found).absolute()),)


def is_booted(root: Path = Path("/")) -> bool:
    """Return whether systemd runs this host (sd_booted(3))."""
    return (root / "run/systemd/system").is_dir()


def run_systemctl(words: Sequence[str]) -> str:
    """Ask systemd; raises `UsageError` with what it said."""
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=SYSTEMCTL_S, check=False)
    except OSError as error:
        raise UsageError(f"systemctl cannot be run: {error.strerror}; is systemd installed?") from error
    except subprocess.TimeoutExpired:
        raise UsageError(f"systemctl {words[0]} takes longer than {SYSTEMCTL_S:g} s; see `systemctl status`") from None
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise UsageError(f"systemctl {' '.join(words)}: {said}")
    return done.stdout


def install(service: Service, *, force: bool = False) -> list[Path]:
    """Write the files; return which were written. Raises `UsageError` where others' files are in the way."""
    for folder in PACKAGED:
        packaged = service.root / folder / service.unit_path.name
        if packaged.exists():
            units = " ".join(unit.removesuffix(".service") for unit in service.enabled)
            raise UsageError(f"{packaged} came with a package already: systemctl enable --now {units}")
    written = []
    for path, text in service.files().items():
        present = _text_of(path)
        if present == text:
            continue
        if present is not None and not present.startswith(f"# {OURS}") and not force:
            raise UsageError(f"{path} is there, and not ours; --force replaces it")
        _write(path, text)
        written.append(path)
    return written


def uninstall(service: Service) -> list[Path]:
    """Remove our files; return which were there. What others wrote stays, and so do settings, logs and state."""
    removed = []
    for path in service.files():
        if (_text_of(path) or "").startswith(f"# {OURS}"):
            path.unlink()
            removed.append(path)
    return removed


def state(service: Service, systemctl: Systemctl = run_systemctl) -> dict[str, str]:
    """Return systemd's view of the service: `PROPERTIES`; empty where systemd cannot be asked."""
    try:
        answer = systemctl(["show", f"{service.name}.service", f"--property={','.join(PROPERTIES)}"])
    except UsageError:
        return {}
    pairs = (line.partition("=") for line in answer.splitlines())
    return {name: value for name, equals, value in pairs if equals and name in PROPERTIES}


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), 0o644)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}; run it as root") from error
