"""What is pinned under an instance's folder, opened only where it is of this engine's contract."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.maps.table import Map

_ZERO = (0).to_bytes(4, "little")


def check_version(pin_dir: Path) -> None:
    """Raise `KernelError` where the pinned maps are of another contract version; having none is well.

    Version 0 is an engine that is just about to write its own.
    """
    pinned = Map.open_pin(str(pin_dir / "ids_config"), "ids_config")
    if pinned is None:
        return
    with pinned:
        raw = pinned.get(_ZERO)
    version = int.from_bytes((raw or b"")[:4], "little")
    if version not in (0, contract.VERSION):
        raise KernelError(
            f"the maps under {pin_dir} are of contract version {version}, this program speaks {contract.VERSION}",
            "Use the version of `ids` that made them; or stop its engine and remove them with `ids detach`, which takes"
            " the gate down and forgets blocks and allow-list, then start this one",
        )


def open_required(pin_dir: Path, names: Iterable[str]) -> dict[str, Map]:
    """Open pinned maps by name; raises `KernelError` where no engine, or one of another version, has made them."""
    check_version(pin_dir)
    opened: dict[str, Map] = {}
    for name in names:
        pinned = Map.open_pin(str(pin_dir / name), name)
        if pinned is None:
            for table in opened.values():
                table.close()
            raise KernelError(
                f"there is no fast path under {pin_dir}", "Start `ids run` first, or name its instance and `pin_dir`"
            )
        opened[name] = pinned
    return opened


def interface_pin(pin_dir: Path, prefix: str, ifname: str) -> Path:
    """Return where an attachment to an interface is pinned; a bpffs has no dots in its names."""
    return pin_dir / f"{prefix}{ifname.replace('.', '%')}"


def pinned_interfaces(pin_dir: Path, prefix: str) -> list[str]:
    """Return the interfaces with a pin of this prefix."""
    return sorted(path.name.removeprefix(prefix).replace("%", ".") for path in pin_dir.glob(f"{prefix}*"))
