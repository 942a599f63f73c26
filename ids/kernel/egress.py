"""The view of what this host sends: ``bpf/tc_ids.c`` at the egress of an interface, on the maps of the XDP program.

Attached through a TCX link (Linux 6.6), which lives beside other programs and needs no qdisc; pinned as
``egress_<interface>`` next to the XDP links, and adopted from there in the same way.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from ids.errors import KernelError
from ids.kernel import loader, syscall
from ids.kernel.maps import Map
from ids.paths import bpf_dir

PIN_PREFIX = "egress_"
_OWN_ONLY = ("-DIDS_OWN_ONLY",)


class EgressView:
    """The egress program of one instance; compiled and loaded when it is first wanted."""

    def __init__(self, pin_dir: Path, maps: Mapping[str, Map]) -> None:
        self.pin_dir = pin_dir
        self._maps = maps
        self._links: dict[str, int] = {}

    def load(self, *, own_only: bool = False) -> int:
        """Compile and load the program; return its descriptor. Raises `KernelError`.

        ``own_only`` leaves out what the host forwards: on a gateway, that was seen on its way in.
        """
        compiled = loader.compile_program(bpf_dir() / "tc_ids.c", _OWN_ONLY if own_only else ())
        return loader.load(compiled, "tc_ids", self._maps, prog_type=syscall.PROG_TYPE_SCHED_CLS)

    def attach(self, ifnames: Sequence[str]) -> None:
        """See what leaves through these interfaces, and through no other; raises `KernelError`."""
        for ifname in self.attached():
            if ifname not in ifnames:
                self.detach(ifname)
        if not ifnames:
            return
        program = self.load(own_only=len(ifnames) > 1)
        try:
            for ifname in ifnames:
                self._attach(ifname, program)
        finally:
            os.close(program)

    def _attach(self, ifname: str, program: int) -> None:
        path = self._path(ifname)
        ifindex = socket.if_nametoindex(ifname)
        pinned = syscall.obj_get(str(path))
        if pinned is not None:
            if syscall.link_ifindex(pinned) == ifindex:
                syscall.link_update(pinned, program)
                self._links[ifname] = pinned
                return
            os.close(pinned)
            path.unlink()
        try:
            link = syscall.link_create(program, ifindex, 0, syscall.ATTACH_TCX_EGRESS)
        except OSError as error:
            raise KernelError(
                f"cannot see what leaves through {ifname}: {os.strerror(error.errno or 0)}",
                "TCX links need Linux 6.6; set `fastpath.egress` to off where replies need not be seen",
            ) from None
        self._links[ifname] = link
        syscall.obj_pin(link, str(path))

    def detach(self, ifname: str) -> None:
        """Take the program off an interface, where it is on; its pin goes too."""
        link = self._links.pop(ifname, None)
        if link is None:
            link = syscall.obj_get(str(self._path(ifname)))
        if link is not None:
            syscall.link_detach(link)
            os.close(link)
        self._path(ifname).unlink(missing_ok=True)

    def attached(self) -> list[str]:
        """Return the interfaces with a pinned egress attachment of this instance."""
        return sorted(
            path.name.removeprefix(PIN_PREFIX).replace("%", ".") for path in self.pin_dir.glob(f"{PIN_PREFIX}*")
        )

    def close(self) -> None:
        """Close the descriptors; what is pinned stays attached."""
        for link in self._links.values():
            os.close(link)
        self._links.clear()

    def _path(self, ifname: str) -> Path:
        return self.pin_dir / f"{PIN_PREFIX}{ifname.replace('.', '%')}"
