"""Where the files that are not Python lie: beside this package in a checkout, under ``share/ids`` when installed."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from ids.errors import IdsError

CHECKOUT = Path(__file__).resolve().parent.parent


def bpf_dir() -> Path:
    """Return the directory of the XDP program's sources; raises `IdsError` where there is none."""
    return _find("bpf", "xdp_ids.c")


def shim_dir() -> Path:
    """Return the directory of the headers that BCC includes in place of the kernel's; raises `IdsError`."""
    return _find("bpf/shim", "include")


def rules_dir(name: str = "base") -> Path:
    """Return the directory of a set of rules that ships with the engine; raises `IdsError`."""
    return _find(f"rules/{name}")


def roots() -> list[Path]:
    """Return the directories searched, in order: the checkout first, so that a developer's changes count."""
    prefixes = dict.fromkeys((sysconfig.get_path("data"), sys.prefix, f"{sys.base_prefix}/local"))
    return [CHECKOUT, *(Path(prefix) / "share/ids" for prefix in prefixes)]


def _find(directory: str, landmark: str = ".") -> Path:
    for root in roots():
        if (root / directory / landmark).exists():
            return root / directory
    searched = ", ".join(str(root) for root in roots())
    raise IdsError(
        f"{directory}/ of the engine is missing (searched: {searched}). The installation is incomplete: install the"
        f" whole project with `pip install .`, or work in a checkout with `make setup`"
    )
