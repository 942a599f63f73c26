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

    def __init__(
        self, fastpath: FastPath, interfaces: Sequence[str], egress: str, counters: Counters, *, wait: bool = False
    ) -> None:
        """``egress`` is the setting `fastpath.egress`: ``on`` refuses where replies of this host cannot be seen.

        ``wait``: an interface that is not there is guarded as soon as it is.
        """
        self._fastpath = fastpath
        self._interfaces = interfaces
        self._egress = egress
        self._counters = counters
        self._wait = wait
        self._awaited: set[str] = set()
        """Interfaces that have not been there since the start."""
        self._renamed: dict[str, str] = {}
        """Interfaces that have another name by now, under which they are still guarded."""
        self._lost: dict[str, str] = {}
        """Interfaces that are known to be guarded no longer, and why they were not guarded again."""
        self._blind = ""
        """Why that could not be found out when it was last asked."""

    def begin(self) -> None:
        """Attach to all interfaces, and to no other any more; raises `KernelError`."""
        for interface in self._fastpath.keep_only(self._interfaces):
            log.info("no longer guarding %s", interface)
        present = interfaces_present()
        for interface in self._interfaces:
            if self._wait and interface not in present:
                self._await(interface)
            else:
                self._attach(interface)
        self._view_egress([name for name in self._interfaces if name not in self._awaited])

    def status(self) -> str:
        """Return in a few words what is guarded, and what is not."""
        missing = (self._awaited | self._lost.keys()) - self._renamed.keys()
        guarded = [self._renamed.get(name, name) for name in self._interfaces if name not in missing]
        words = f"guarding {', '.join(guarded)}" if guarded else "guarding nothing"
        return f"{words}; waiting for {', '.join(sorted(missing))}" if missing else words

    def check(self) -> bool:
        """Report when an interface is no longer guarded, and guard it again as soon as it is there.

        Returns whether one is guarded that was not before.
        """
        try:
            lost = self._fastpath.lost()
        except KernelError as error:
            if self._blind != str(error):
                log.warning("cannot find out whether all interfaces are still guarded: %s", error)
            self._blind = str(error)
            return False
        self._blind = ""
        present = interfaces_present()
        self._note_renamed(present)
        before = len(self._lost) + len(self._awaited)
        for interface in sorted(self._awaited & present):
            self._try_again(interface, present)
        for interface in lost:
            if interface not in self._lost:
                self._counters.add("engine.interfaces_lost")
                log.error("%s is no longer guarded: it has gone, or the program was taken off", interface)
            if interface in present:
                self._try_again(interface, present)
            else:
                self._lost[interface] = "it is not there"
        return len(self._lost) + len(self._awaited) < before

    def _await(self, interface: str) -> None:
        """Leave an interface for later; one that only has another name by now stays guarded under it."""
        self._awaited.add(interface)
        if name := self._fastpath.follow(interface):
            self._renamed[interface] = name
            log.warning("%s is called %s now and stays guarded; name it so in the settings", interface, name)
        else:
            log.warning("%s is not there yet: it is guarded as soon as it is", interface)

    def _note_renamed(self, present: set[str]) -> None:
        """Log who has another name now. What took the old name is another interface, and is guarded in its place."""
        renamed = self._fastpath.renamed()
        for interface, name in renamed.items():
            if interface in present and interface not in self._awaited:
                log.warning("%s is another interface now, the former one is called %s", interface, name)
                self._awaited.add(interface)
            elif self._renamed.get(interface) != name:
                self._counters.add("engine.interfaces_renamed")
                log.warning("%s is called %s now and stays guarded; name it so in the settings", interface, name)
        for interface in self._renamed.keys() - renamed.keys():
            if interface in present and interface not in self._lost:
                log.info("%s has its name back", interface)
                self._awaited.discard(interface)
        self._renamed = renamed

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
            self._awaited.discard(interface)


def interfaces_present() -> set[str]:
    """Name the interfaces of this network namespace."""
    return {name for _, name in socket.if_nameindex()}


def require_interfaces(names: Sequence[str]) -> None:
    """Raise `UsageError` for an interface that this network namespace does not have."""
    there = [name for _, name in socket.if_nameindex()]
    for name in names:
        if name not in there:
            raise UsageError(f"there is no interface {name} in this network namespace; there are: {', '.join(there)}")
