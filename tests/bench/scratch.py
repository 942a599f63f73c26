"""A namespace, a folder with a bpffs, for benchmarks that need no whole lab; known by a lab's name, so none stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ids.errors import KernelError
from ids.lab.interruption import interruptible, signals_held
from ids.lab.namespace import Namespace, run_command
from ids.lab.removal import lab_directory, remove, remove_stale
from ids.lab.topology import new_name, require_root
from tests.bench.report import CannotRun


@contextmanager
def scratch_namespace() -> Iterator[Namespace]:
    """Make a network namespace with nothing in it; raises `CannotRun` where that may not be."""
    with _named() as name:
        namespace = Namespace(f"{name}-scratch")
        _make("ip", "netns", "add", namespace.name)
        yield namespace


@contextmanager
def scratch_bpffs() -> Iterator[Path]:
    """Mount a bpffs in a folder of its own; raises `CannotRun` where that may not be."""
    with _named() as name:
        pins = lab_directory(name) / "bpf"
        pins.mkdir(parents=True)
        _make("mount", "-t", "bpf", "bpf", str(pins))
        yield pins


@contextmanager
def _named() -> Iterator[str]:
    """Give a name, and take away all that goes by it, however the context ends."""
    try:
        require_root()
    except KernelError as error:
        raise CannotRun(str(error)) from None
    with interruptible():
        remove_stale()
        name = new_name()
        try:
            yield name
        finally:
            with signals_held():
                remove(name)


def _make(*command: str) -> None:
    try:
        run_command(command)
    except KernelError as error:
        raise CannotRun(str(error)) from None
