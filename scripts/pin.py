"""Rewrite constraints.txt: the newest versions that pyproject.toml admits, on every Python that we support.

    .venv/bin/python scripts/pin.py [--keep]

``--keep`` keeps the pins that are there and only adds what is missing. Each Python's answer is computed by pip from
wheels alone, so that a machine without a compiler can install them. Asks the package index; run it by hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
OUTPUT = ROOT / "constraints.txt"
OLD_PYTHON_ONLY = ("exceptiongroup", "tomli")
"""Back-ports that pytest and others want on Python 3.10: pip evaluates markers for the Python it runs on, so they are
asked for by name."""
HEADER = """\
# The exact versions that set-up installs and CI tests, on Python 3.10-3.13; pyproject.toml says what we need and why.
# A marker stands where the newest release has left an old Python behind. Written by scripts/pin.py.
"""


def requirements() -> list[str]:
    """Return every requirement of pyproject.toml: of the build, of the engine, of its developers."""
    text = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:requires|dependencies|dev) = \[(.*?)\]\s*$", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0] for body in lists for line in body.splitlines()]
    return [name for line in lines for name in re.findall(r'"([^"]+)"', line)]


def resolve(python: str, keep: bool) -> dict[str, str]:
    """Return what pip would install for a version of Python, name to version."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--python-version", python, "--target", folder, "--report", str(report)]
        if keep and OUTPUT.exists():
            lines = [line for line in OUTPUT.read_text().splitlines() if line and not line.startswith("#")]
            pins = Path(folder, "pins.txt")
            pins.write_text("\n".join(line.partition(";")[0] for line in lines if _applies(line, python)))
            command += ["-c", str(pins)]
        old = OLD_PYTHON_ONLY if python == "3.10" else ()
        subprocess.run([*command, *requirements(), *old], check=True)
        installs = json.loads(report.read_text())["install"]
    return {_normal(item["metadata"]["name"]): item["metadata"]["version"] for item in installs}


def _applies(line: str, python: str) -> bool:
    """Judge the two kinds of marker that `spell` writes."""
    match = re.search(r'python_version (<|>=) "3\.(\d+)"', line)
    if match is None:
        return True
    minor = int(python.partition(".")[2])
    return minor < int(match[2]) if match[1] == "<" else minor >= int(match[2])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def spell(answers: dict[str, dict[str, str]]) -> str:
    """Merge the answers of all Pythons into lines, with a marker where they differ; raises ValueError for a gap."""
    lines = []
    for name in sorted(set().union(*answers.values())):
        versions = [answers[python].get(name) for python in SUPPORTED]
        changes = [index for index in range(1, len(SUPPORTED)) if versions[index] != versions[index - 1]]
        if not changes:
            lines.append(f"{name}=={versions[0]}")
            continue
        if len(changes) > 1:
            raise ValueError(f"{name} has more than two versions: {versions}; pin it by hand")
        border = SUPPORTED[changes[0]]
        for version, sign in ((versions[0], "<"), (versions[-1], ">=")):
            if version is not None:
                lines.append(f'{name}=={version} ; python_version {sign} "{border}"')
    return HEADER + "\n".join(lines) + "\n"


def main() -> None:
    """Ask for each Python and write the file."""
    keep = "--keep" in sys.argv[1:]
    OUTPUT.write_text(spell({python: resolve(python, keep) for python in SUPPORTED}))


if __name__ == "__main__":
    main()
