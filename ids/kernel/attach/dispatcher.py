"""Living beside other XDP programs on an interface: as a member of libxdp's dispatcher, where there is one.

The dispatcher is itself the interface's XDP program and calls up to ten others by replacing functions of its own
(freplace); libxdp exchanges it as a whole whenever a member comes or goes. Ours is the same code as `fastpath` attaches
elsewhere, loaded once more as a member, and pinned as ``member_<interface>_<namespace>``: a link of our own would not
outlive the next exchange. Ours are the members that share our maps, so that none is ever there twice.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ids.errors import KernelError
from ids.kernel.attach.libxdp import library
from ids.kernel.maps.table import Map
from ids.kernel.program import loader
from ids.kernel.system import syscall
from ids.kernel.system.netlink import XdpOnInterface, query_xdp
from ids.kernel.system.syscall import BpfError, ProgramInfo, Replaced

PROGRAM = "xdp_dispatcher"
"""Name of the dispatcher's main function."""

STUB = "prog0"
"""A function of every dispatcher that members replace: all have the same type, and there is always a first."""

RUN_PRIORITY = 10
"""Where we stand: before those that do not care (50), because a packet that is dropped should cost least."""

PIN_PREFIX = "member_"
_FUNCTION = "xdp_ids"
_LOOKS = 10
"""How often the members are read again because somebody exchanged the dispatcher meanwhile."""


def is_dispatcher(program_id: int) -> bool:
    """Whether a loaded program is libxdp's dispatcher."""
    try:
        return _info(syscall.prog_fd_by_id(program_id)).name == PROGRAM
    except BpfError:  # it has gone again
        return False


def _info(fd: int) -> ProgramInfo:
    try:
        return syscall.prog_info(fd)
    finally:
        os.close(fd)


def _namespace() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def pinned_members(folder: str) -> list[ProgramInfo]:
    """Return the members that libxdp pinned in a folder such as ``dispatch-IFINDEX-ID``, which may be a pattern.

    Where it pins is part of its protocol ("Locking and pinning").
    """
    found = []
    for path in sorted(Path(os.environ.get("LIBXDP_BPFFS", "/sys/fs/bpf"), "xdp").glob(f"{folder}/prog*-prog")):
        fd = syscall.obj_get(str(path))
        if fd is not None:
            found.append(_info(fd))
    return found


def members(ifname: str) -> list[ProgramInfo]:
    """Return the members of an interface's dispatcher; none where it has no dispatcher, or is not there at all.

    Raises `KernelError` where there is a dispatcher and its members are not to be seen.
    """
    try:
        ifindex = socket.if_nametoindex(ifname)
    except OSError:
        return []
    for _ in range(_LOOKS):
        dispatcher = query_xdp(ifname).program_id
        found = pinned_members(f"dispatch-{ifindex}-{dispatcher}") if dispatcher else []
        if query_xdp(ifname).program_id != dispatcher:
            continue
        if not found and dispatcher and is_dispatcher(dispatcher):
            raise KernelError(
                f"{ifname} has libxdp's dispatcher, and what libxdp pinned of its members is not to be seen here",
                "Set LIBXDP_BPFFS as for the command that loaded them; `ip netns exec` hides /sys/fs/bpf, so enter"
                " with nsenter --net=/run/netns/NAME",
            )
        return found
    raise KernelError(f"the XDP programs of {ifname} change faster than they can be read", "Try again")


@dataclass(frozen=True, slots=True)
class Pin:
    """Our membership on one interface, by the program that is pinned for it."""

    path: Path
    ifname: str
    namespace: int
    """Inode of the network namespace that the interface is in."""

    @classmethod
    def of(cls, pin_dir: Path, ifname: str) -> Pin:
        """Return where the membership on an interface of this namespace is pinned."""
        namespace = _namespace()
        return cls(pin_dir / f"{PIN_PREFIX}{ifname.replace('.', '%')}_{namespace}", ifname, namespace)

    @classmethod
    def all(cls, pin_dir: Path) -> list[Pin]:
        """Return every membership of the instance that pins under ``pin_dir``."""
        found = []
        for path in sorted(pin_dir.glob(f"{PIN_PREFIX}*")):
            ifname, _, namespace = path.name.removeprefix(PIN_PREFIX).rpartition("_")
            found.append(cls(path, ifname.replace("%", "."), int(namespace)))
        return found

    def program(self) -> ProgramInfo | None:
        """Return the pinned program, None where nothing is pinned."""
        fd = syscall.obj_get(str(self.path))
        return None if fd is None else _info(fd)

    def ours(self) -> list[ProgramInfo]:
        """Return what of ours is in the dispatcher of the interface."""
        program = self.program()
        return [] if program is None else [one for one in members(self.ifname) if one.map_ids & program.map_ids]

    def require_namespace(self) -> None:
        """Raise `KernelError` where this is a membership in another network namespace, and lasts."""
        program = self.program()
        if program is None or self.namespace == _namespace():
            return
        if any(one.id == program.id for one in pinned_members("dispatch-*")):
            raise KernelError(
                f"{self.path.parent} guards an interface {self.ifname} in another network namespace",
                "Run there (nsenter --net=/run/netns/NAME), or give this engine another `instance`; where that"
                " namespace is no more, remove what libxdp left of it (xdp-loader clean)",
            )

    def leave(self) -> None:
        """Take ours out of the dispatcher and unpin it; the others stay. Raises `KernelError`."""
        self.require_namespace()
        for program in self.ours():
            library().detach(program.id, socket.if_nametoindex(self.ifname), query_xdp(self.ifname).mode)
        self.path.unlink(missing_ok=True)


class Membership:
    """One instance's program as a member of dispatchers."""

    def __init__(self, pin_dir: Path, compiled: loader.Compiled, maps: Mapping[str, Map]) -> None:
        self.pin_dir = pin_dir
        self._compiled = compiled
        self._maps = maps

    def join(self, ifname: str, present: XdpOnInterface, *, answers: bool) -> None:
        """Join the dispatcher of an interface, or take the place of what an earlier start left there.

        The old leaves when the new one is there: no packet passes unjudged, those of a moment are judged and counted
        twice. Raises `KernelError`; then everything is as it was. ``answers``: whether the program answers packets
        itself, with challenges or SYN cookies.
        """
        there = members(ifname)
        pin = Pin.of(self.pin_dir, ifname)
        program = self._load(ifname, present.program_id, answers)
        try:
            own = syscall.prog_info(program)
            fresh = not pin.path.exists()
            if fresh:
                syscall.obj_pin(program, str(pin.path))
            try:
                library().attach(own.id, socket.if_nametoindex(ifname), present.mode)
            except BaseException:
                if fresh:
                    pin.path.unlink()
                raise
            if not fresh:
                pin.path.unlink()
                syscall.obj_pin(program, str(pin.path))
            for old in (one for one in there if one.map_ids & own.map_ids):
                library().detach(old.id, socket.if_nametoindex(ifname), present.mode)
        finally:
            os.close(program)

    def _load(self, ifname: str, dispatcher_id: int, answers: bool) -> int:
        """Load the program as a member of dispatchers; return its descriptor."""
        code = loader.relocate(self._compiled.functions[_FUNCTION], self._compiled.placeholders, self._maps)
        if not answers:  # then it calls no other program
            code = loader.without_tail_calls(code)
        dispatcher = syscall.prog_fd_by_id(dispatcher_id)
        try:
            stub = library().function_id(syscall.prog_info(dispatcher).btf_id, STUB)
            with library().described(_FUNCTION, RUN_PRIORITY) as (btf, function):
                replaced = Replaced(dispatcher, stub, btf, function)
                return syscall.prog_load(_FUNCTION, code, 0, syscall.PROG_TYPE_EXT, replaced)
        except BpfError as error:
            if answers and "changes packet data" in str(error):  # check_attach_target(), Linux 6.13 and stable ones
                raise KernelError(
                    f"the dispatcher on {ifname} takes no program that may change packets, so none that answers SYNs",
                    "Set `fastpath.challenge_syns` and `syn_cookies` to false, or use xdp-tools 1.5.5 or newer",
                ) from None
            raise
        finally:
            os.close(dispatcher)

    def leave(self, ifname: str) -> None:
        """Leave the dispatcher of an interface, where we are in it."""
        for pin in Pin.all(self.pin_dir):
            if pin.ifname == ifname:
                pin.leave()
