"""What pyproject.toml and constraints.txt list by hand is complete."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")


def strings_of(key: str) -> list[str]:
    """Return the strings of a list in pyproject.toml; Python 3.10 has no parser for it."""
    match = re.search(rf"^{re.escape(key)} = \[(.*?)\]\s*$", PYPROJECT, re.MULTILINE | re.DOTALL)
    assert match, key
    return [text for line in match[1].splitlines() for text in re.findall(r'"([^"]+)"', line.partition("#")[0])]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(python: str) -> dict[str, str]:
    """Return the version that constraints.txt has for each package on a version of Python."""
    found: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
                assert normal(requirement.name) not in found, f"{requirement.name} is pinned twice on {python}"
                found[normal(requirement.name)] = str(requirement.specifier)
    return found


def test_every_package_is_installed() -> None:
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "ids").rglob("__init__.py")}
    assert set(strings_of("packages")) == there | {"ids_plugins"}


def test_every_header_and_every_rule_is_installed() -> None:
    globs = re.findall(r'"((?:bpf|rules)/[^"]*\*[^"]*)"', PYPROJECT)
    shipped = {path for glob in globs for path in ROOT.glob(glob)}
    needed = {*(ROOT / "bpf").rglob("*.[ch]"), *(ROOT / "rules").glob("*/*.y*")}
    assert sorted(needed - shipped) == []


def test_every_file_of_the_reference_is_installed() -> None:
    folder = ROOT / "ids" / "authoring" / "reference"
    shipped = {path for glob in strings_of('"ids.authoring.reference"') for path in folder.glob(glob)}
    assert {path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"} == shipped


def test_the_sandbox_of_scripts_is_installed() -> None:
    folder = ROOT / "ids" / "rules" / "model"
    shipped = {path for glob in strings_of('"ids.rules.model"') for path in folder.glob(glob)}
    assert {path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"} == shipped


def test_every_page_and_asset_of_the_console_is_installed() -> None:
    folder = ROOT / "ids" / "console"
    shipped = {path for glob in strings_of('"ids.console"') for path in folder.glob(glob)}
    assert {path for path in folder.rglob("*.*") if path.suffix in (".html", ".css", ".js")} == shipped


def test_every_dependency_is_pinned_exactly_on_every_supported_python() -> None:
    wanted = [Requirement(text) for key in ("dependencies", "dev", "requires") for text in strings_of(key)]
    for python in SUPPORTED:
        have = pins(python)
        for requirement in wanted:
            pin = have.get(normal(requirement.name))
            assert pin is not None, f"{requirement.name} is not in constraints.txt for Python {python}"
            assert pin.startswith("=="), pin
            assert requirement.specifier.contains(pin.removeprefix("==")), f"{requirement} against {pin}"


def test_every_plugin_entry_point_exists() -> None:
    for module in re.findall(r'^\w+ = "ids_plugins\.(\w+)"', PYPROJECT, re.MULTILINE):
        assert (ROOT / "plugins" / f"{module}.py").is_file(), module
