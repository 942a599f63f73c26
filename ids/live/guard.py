"""Which interfaces are guarded, and that they stay so: an interface may go, and come back under its name."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from ids.counters import Counters
from ids.errors import KernelError, UsageError
from ids.kernel import FastPath

log = logging.getLogger(__name__)


class Guard:
    """The interfaces of one engine, attached to the fast path."""

    def __init__(self, fastpath: FastPath, interfaces: Sequence[str], egress: str, counters: Counters) -> None:
        """``egress`` is the setting `fastpath.egress`: ``on`` refuses where replies of this host cannot be seen."""
        self._fastpath = fastpath
        self._interfaces = interfaces
        self._egress = egress
        self._counters = counters
        self._lost: dict[str, str] = {}
        """Interfaces that are known to be guarded no longer, and why they were not guarded again."""
        self._blind = ""
        """Why that could not be found out when it was last asked."""

    def begin(self) -> None:
        """Attach to all interfaces, and to no other any more; raises `KernelError`."""
        for interface in self._fastpath.keep_only(self._interfaces):
            log.info("no longer guarding %s", interface)
        for interface in self._interfaces:
            self._attach(interface)
        self._view_egress(self._interfaces)

    def check(self) -> None:
        """Report when an interface is no longer guarded, and guard it again as soon as it is there."""
        try:
            lost = self._fastpath.lost()
        except KernelError as error:
            if self._blind != str(error):
                log.warning("cannot find out whether all interfaces are still guarded: %s", error)
            self._blind = str(error)
            return
        self._blind = ""
        present = {name for _, name in socket.if_nameindex()}
        for interface in lost:
            if interface not in self._lost:
                self._counters.add("engine.interfaces_lost")
                log.error("%s is no longer guarded: it has gone, or the program was taken off", interface)
            if interface in present:
                self._try_again(interface, present)
            else:
                self._lost[interface] = "it is not there"

    def _attach(self, interface: str) -> None:
        mode = self._fastpath.attach(interface)
        note = "" if mode == "native" else " (no native XDP here: slower, packets are copied first)"
        log.info("guarding %s, XDP mode %s%s", interface, mode, note)

    def _view_egress(self, interfaces: Sequence[str]) -> None:
        try:
            viewed = self._fastpath.view_egress(interfaces)
        except KernelError as error:
            if self._egress == "on":
                raise
            log.warning("replies of this host go unseen, so connections to it are not inspected: %s", error)
        else:
            filtered = self._fastpath.egress.filtered()
            for interface in viewed:
                note = " (by a tc filter: this kernel has no TCX)" if interface in filtered else ""
                log.info("seeing what this host sends through %s%s", interface, note)

    def _try_again(self, interface: str, present: set[str]) -> None:
        try:
            self._attach(interface)
            self._view_egress([name for name in self._interfaces if name in present])
        except (KernelError, OSError) as error:  # it may go again at any moment
            if self._lost.get(interface) != str(error):
                log.error("%s cannot be guarded again: %s", interface, error)
            self._lost[interface] = str(error)
        else:
            self._lost.pop(interface, None)


def require_interfaces(names: Sequence[str]) -> None:
    """Raise `UsageError` for an interface that this network namespace does not have."""
    there = [name for _, name in socket.if_nameindex()]
    for name in names:
        if name not in there:
            raise UsageError(f"there is no interface {name} in this network namespace; there are: {', '.join(there)}")
