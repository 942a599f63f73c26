"""An instance of the fast path by what it has pinned: which interfaces it guards, whether that is here, its end.

For whoever asks without opening the program: commands, the console, a start that looks before it touches anything.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ids.errors import KernelError
from ids.kernel.attach.dispatcher import Pin
from ids.kernel.attach.egress import EgressView
from ids.kernel.settings import FastPathSettings
from ids.kernel.system import syscall
from ids.kernel.system.netlink import query_xdp

DEFAULT_INSTANCE = "default"
_LINK = "link_"


def instance_dir(settings: FastPathSettings, instance: str = DEFAULT_INSTANCE) -> Path:
    """Return the folder that holds an instance's pins."""
    return settings.pin_dir / instance


def link_path(pin_dir: Path, ifname: str) -> Path:
    """Return where the attachment of an interface is pinned; bpffs takes no dots."""
    return pin_dir / f"{_LINK}{ifname.replace('.', '%')}"


def _link_paths(pin_dir: Path) -> list[Path]:
    return sorted(pin_dir.glob(f"{_LINK}*"))


def _interface_of(path: Path) -> str:
    return path.name.removeprefix(_LINK).replace("%", ".")


def require_same_namespace(settings: FastPathSettings, instance: str = DEFAULT_INSTANCE) -> None:
    """Raise `KernelError` where an instance guards interfaces of another network namespace.

    To be asked before `FastPath.open`, which already changes what that gate shares.
    """
    pin_dir = instance_dir(settings, instance)
    for pin in Pin.all(pin_dir):
        pin.require_namespace()
    for path in _link_paths(pin_dir):
        link = syscall.obj_get(str(path))
        if link is None:
            continue
        ifname = _interface_of(path)
        try:
            lives = bool(syscall.link_ifindex(link))
            here = ifname in {name for _, name in socket.if_nameindex()}
            ours = here and query_xdp(ifname).program_id == syscall.link_program_id(link)
            ours = ours or bool(name_of(link))  # or else it has another name by now
        finally:
            os.close(link)
        if lives and not ours:
            raise KernelError(
                f"{pin_dir} guards an interface {ifname} in another network namespace",
                "Run there, or give this engine another `instance`",
            )


def name_of(link: int, known: str = "") -> str:
    """Return the name of the interface of this namespace that a link is on; empty where there is none.

    ``known`` is believed; for any other the interface is asked for its program: it may be in another namespace.
    """
    ifindex = syscall.link_ifindex(link)
    try:
        name = socket.if_indextoname(ifindex) if ifindex else ""
    except OSError:
        return ""
    ours = name and (name == known or query_xdp(name).program_id == syscall.link_program_id(link))
    return name if ours else ""


def attached_interfaces(pin_dir: Path) -> list[str]:
    """Return the interfaces with a pinned attachment of the instance that pins under ``pin_dir``, even a dead one."""
    linked = map(_interface_of, _link_paths(pin_dir))
    return sorted({*linked, *(pin.ifname for pin in Pin.all(pin_dir))})


def guarded_interfaces(pin_dir: Path) -> list[str]:
    """Return those of them that have the program: it goes with an interface, and does not come back with its name."""
    return [ifname for ifname in attached_interfaces(pin_dir) if _lives(link_path(pin_dir, ifname))]


def _lives(path: Path) -> bool:
    link = syscall.obj_get(str(path))
    if link is None:  # a member of a dispatcher has no link of its own
        return True
    try:
        return bool(syscall.link_ifindex(link))
    finally:
        os.close(link)


def remove_pins(pin_dir: Path) -> list[str]:
    """Detach every pinned attachment and remove all pins of an instance; return the names of what was there."""
    removed = sorted(path.name for path in pin_dir.glob("*"))
    for pin in Pin.all(pin_dir):
        pin.leave()
    egress = EgressView(pin_dir, {})
    for ifname in egress.attached():
        egress.detach(ifname)
    for path in _link_paths(pin_dir):
        link = syscall.obj_get(str(path))
        if link is not None:
            syscall.link_detach(link)
            os.close(link)
    for path in pin_dir.glob("*"):
        path.unlink()
    for folder in (pin_dir, pin_dir.parent):
        try:
            folder.rmdir()
        except OSError:  # other instances pin beside this one, or it is the mount itself
            break
    return removed
