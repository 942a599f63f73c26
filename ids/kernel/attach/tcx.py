"""The egress program on interfaces by TCX links (Linux 6.6): they live beside other programs and need no qdisc.

Pinned as ``egress_<interface>``, and adopted from there in one step.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ids.kernel.maps.pins import interface_pin, pinned_interfaces
from ids.kernel.system import syscall

PIN_PREFIX = "egress_"


class TcxLinks:
    """The TCX links of one instance."""

    def __init__(self, pin_dir: Path) -> None:
        self.pin_dir = pin_dir
        self._links: dict[str, int] = {}

    def adopt(self, ifname: str, program: int) -> bool:
        """Exchange the program of what is attached; return whether something is."""
        pinned = syscall.obj_get(str(self._pin(ifname)))
        if pinned is None:
            return False
        if syscall.link_ifindex(pinned) != socket.if_nametoindex(ifname):
            os.close(pinned)
            return False
        syscall.link_update(pinned, program)
        self._links[ifname] = pinned
        return True

    def attach(self, ifname: str, program: int) -> None:
        """Attach to an interface; raises OSError: EINVAL from a kernel that has no TCX (link_create())."""
        link = syscall.link_create(program, socket.if_nametoindex(ifname), 0, syscall.ATTACH_TCX_EGRESS)
        self._links[ifname] = link
        syscall.obj_pin(link, str(self._pin(ifname)))

    def detach(self, ifname: str) -> None:
        """Take the program off an interface, where it is on; the pin goes too."""
        link = self._links.pop(ifname, None)
        if link is None:
            link = syscall.obj_get(str(self._pin(ifname)))
        if link is not None:
            syscall.link_detach(link)
            os.close(link)
        self._pin(ifname).unlink(missing_ok=True)

    def attached(self) -> list[str]:
        """Return the interfaces with a pinned link."""
        return pinned_interfaces(self.pin_dir, PIN_PREFIX)

    def close(self) -> None:
        """Close the descriptors; what is pinned stays attached."""
        for link in self._links.values():
            os.close(link)
        self._links.clear()

    def _pin(self, ifname: str) -> Path:
        return interface_pin(self.pin_dir, PIN_PREFIX, ifname)
