"""The import order of the stages, and that every package can be imported alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "ids").rglob("*.py"))
PACKAGES = [".".join(path.parent.relative_to(ROOT).parts) for path in FILES if path.name == "__init__.py"]

HEAVY = ("bcc", "scapy")
"""Modules that take half a second and more to import; most commands should never pay for them."""


def test_stages_import_downward_only() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_line_imports_nothing_heavy() -> None:
    program = f"import sys, ids.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_package_can_be_imported_first() -> None:
    """A package that works only after another one was imported hides a cycle."""
    program = (
        "import importlib, os, sys\n"
        "import click, hyperscan, numpy, orjson, pydantic, rich.console, yaml, yara, zstandard\n"  # once, not each time
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        importlib.import_module(name)\n"
        "        os._exit(0)\n"
        "    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):\n"
        "        sys.exit(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *PACKAGES], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", [*FILES, *sorted((ROOT / "plugins").glob("*.py"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_module_says_what_it_is(path: Path) -> None:
    told = ast.get_docstring(ast.parse(path.read_text()))
    assert told, f"{path} has no docstring"
    assert len(told.splitlines()[0]) > 10
