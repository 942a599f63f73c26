"""Build the package, and go through its story on a machine of each distribution."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.packages.machine import Failed, Machine, host, root_of
from tests.packages.scene import Scene
from tests.packages.story import STEPS, run, title_of

ROOT = Path(__file__).resolve().parents[2]
SUITES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian 12 and 13, and their Pythons."""
CACHE = ROOT / "build/roots"
NEEDED = ("mmdebstrap", "unshare", "nsenter", "dpkg-deb", "ip", "pgrep", "curl")


def build(python: str, tree: Path = ROOT) -> Path:
    """Return a package that was just built of a tree."""
    out = tree / "build/deb"
    host("env", f"DEB_PYTHON={python}", f"PYTHONPATH={tree}", tree / "scripts/deb.sh", timeout_s=1800)
    (made,) = out.glob(f"ids_*+py{python.replace('.', '')}_*.deb")
    return made


def former(revision: str, python: str, folder: Path) -> Path:
    """Return a package of an earlier revision, built with what is installed here."""
    tree = folder / "former"
    tree.mkdir()
    archive = folder / "former.tar"
    host("git", "archive", "-o", archive, revision)
    host("tar", "-xf", archive, "-C", tree)
    (tree / ".venv").symlink_to(ROOT / ".venv")
    return build(python, tree)


def newer(package: Path, folder: Path) -> Path:
    """Return the same package under a later version."""
    content = folder / "content"
    host("dpkg-deb", "-R", package, content)
    control = content / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join(f"{one}.1" if one.startswith("Version: ") else one for one in lines) + "\n")
    name, _, rest = package.name.rpartition("_")
    made = folder / f"{name}.1_{rest}"
    host("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", content, made)
    return made


def show(times: dict[str, dict[str, float]]) -> None:
    """Print the seconds of each step on each distribution that went through all, as a table for docs/service.md."""
    print(f"| step | {' | '.join(times)} |\n| --- |{' --- |' * len(times)}")
    for title in map(title_of, STEPS):
        print(f"| {title} | {' | '.join(f'{seconds[title]:.1f}' for seconds in times.values())} |")
    print(f"| all | {' | '.join(f'{sum(seconds.values()):.0f}' for seconds in times.values())} |")


def main() -> int:
    """Return the exit code: 1 where a step failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES, help="only these distributions")
    parser.add_argument("--former", metavar="REVISION", help="upgrade from this one (default: from the same content)")
    parser.add_argument("--keep", action="store_true", help="keep the root of a machine that failed")
    parsed = parser.parse_args()
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        print(f"skipped: needs root{' and ' + ', '.join(missing) if missing else ''}")
        return 0
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no machine is left
    failed = False
    times: dict[str, dict[str, float]] = {}
    for suite in parsed.suite or SUITES:
        print(f"{suite}, Python {SUITES[suite]}", flush=True)
        with tempfile.TemporaryDirectory(prefix="ids-packages-") as folder:
            package = build(SUITES[suite])
            machine = Machine(root_of(suite, CACHE))
            first = former(parsed.former, SUITES[suite], Path(folder)) if parsed.former else package
            scene = Scene(machine, first, newer(package, Path(folder)))
            try:
                times[suite] = run(scene)
            except Failed as error:
                failed = True
                print(f"  FAILED: {error}", flush=True)
                if machine.init:
                    print(machine.run("journalctl", "-u", "ids", "-n", "30", "--no-pager", "-o", "cat", check=False))
            finally:
                scene.unlink()
                machine.halt()
                if not (failed and parsed.keep):
                    machine.remove()
    show(times)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
