"""The import order of the stages, and that every package can be imported alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ids.cli import VERBS, cli

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "ids").rglob("*.py"))
PACKAGES = [".".join(path.parent.relative_to(ROOT).parts) for path in FILES if path.name == "__init__.py"]

HEAVY = ("bcc", "scapy", "numpy", "pydantic", "hyperscan", "yara", "rich", "yaml")
"""Modules that take long to import; who asks for help should not pay for them."""


def test_stages_import_downward_only() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from ids.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_a_replay_without_flagged_fields_imports_neither_scapy_nor_bcc() -> None:
    program = (
        "import sys\n"
        "from ids.cli import main\n"
        "try:\n"
        "    main(['replay', 'pcaps/log4shell.pcap', '-o', 'json', '--fast-path', 'model'])\n"
        "except SystemExit as ended:\n"
        "    assert ended.code in (0, None)\n"
        "print([name for name in ('bcc', 'scapy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_the_list_of_verbs_says_what_each_verb_says() -> None:
    """The list has a copy of each verb's first sentence, so that help need not import them all."""
    context = click.Context(cli)
    for name, (_, about) in VERBS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(limit=1000) == about


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
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{path} has no docstring"
    assert len(docstring.splitlines()[0]) > 10
