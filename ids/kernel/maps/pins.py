"""What is pinned under an instance's folder, opened only where it is of this engine's contract."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ids.errors import KernelError, NoGate
from ids.kernel import contract
from ids.kernel.maps.table import Map

_ZERO = (0).to_bytes(4, "little")


def check_version(pin_dir: Path) -> None:
    """Raise `KernelError` where the pinned maps are of another contract version; having none is well.

    Version 0 is an engine that is just about to write its own.
    """
    version = pinned_version(pin_dir)
    if version not in (None, 0, contract.VERSION):
        raise refusal(pin_dir, version)


def pinned_version(pin_dir: Path) -> int | None:
    """Return the contract version of what is pinned; None: nothing that counts is."""
    pinned = Map.open_pin(str(pin_dir / "ids_config"), "ids_config")
    if pinned is None:
        return None
    with pinned:
        raw = pinned.get(_ZERO)
    return int.from_bytes((raw or b"")[:4], "little")


def refusal(pin_dir: Path, version: int | None) -> KernelError:
    """Return why maps of another version are not touched, and what to do."""
    remedy = (
        "Use the version of `ids` that made them; or stop its engine and remove them with `ids detach`, which takes the"
        " gate down and forgets blocks and allow-list, then start this one"
    )
    if version is not None and version < contract.VERSION:
        remedy = (
            f"`ids run` of this version takes over the lists of versions before it, but for very old ones. {remedy}"
        )
    return KernelError(
        f"the maps under {pin_dir} are of contract version {version}, this program speaks {contract.VERSION}", remedy
    )


def open_required(pin_dir: Path, names: Iterable[str]) -> dict[str, Map]:
    """Open pinned maps by name; raises `NoGate` where no engine has made them, else `KernelError`."""
    check_version(pin_dir)
    opened: dict[str, Map] = {}
    for name in names:
        pinned = Map.open_pin(str(pin_dir / name), name)
        if pinned is None:
            for table in opened.values():
                table.close()
            raise NoGate(
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
