"""The view of what this host sends: ``bpf/tc_ids.c`` at the egress of an interface, on the maps of the XDP program.

Attached by a TCX link (`tcx`), or where the kernel has none, before Linux 6.6, by a filter of a clsact qdisc
(`clsact`). Either stays when the engine dies, and the next start exchanges its program in one step.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ids.errors import KernelError
from ids.kernel.attach.clsact import ClsactFilters
from ids.kernel.attach.tcx import TcxLinks
from ids.kernel.maps.table import Map
from ids.kernel.program import loader
from ids.kernel.system import syscall
from ids.paths import bpf_dir

_OWN_ONLY = ("-DIDS_OWN_ONLY",)


class EgressView:
    """The egress program of one instance; compiled and loaded when it is first wanted."""

    def __init__(self, pin_dir: Path, maps: Mapping[str, Map]) -> None:
        self.pin_dir = pin_dir
        self._maps = maps
        self._links = TcxLinks(pin_dir)
        self._filters = ClsactFilters(pin_dir)
        self._kinds = (self._links, self._filters)
        self._loaded: tuple[bool, int] | None = None
        """Whether it is for this host's own packets alone, and its descriptor: to load it again for an interface that
        is back would hold up inspection for the seconds in which the kernel verifies it."""

    def load(self, *, own_only: bool = False) -> int:
        """Compile and load the program; return its descriptor. Raises `KernelError`.

        ``own_only`` leaves out what the host forwards: on a gateway, that was seen on its way in.
        """
        compiled = loader.compile_program(bpf_dir() / "tc_ids.c", _OWN_ONLY if own_only else ())
        return loader.load(compiled, "tc_ids", self._maps, prog_type=syscall.PROG_TYPE_SCHED_CLS)

    def prepare(self, interfaces: int) -> None:
        """Load the program that `attach` to so many interfaces wants; raises `KernelError`, as that would."""
        self._program(own_only=interfaces > 1)

    def attach(self, ifnames: Sequence[str]) -> None:
        """See what leaves through these interfaces, and through no other; raises `KernelError`."""
        for ifname in self.attached():
            if ifname not in ifnames:
                self.detach(ifname)
        if not ifnames:
            return
        program = self._program(own_only=len(ifnames) > 1)
        for ifname in ifnames:
            self._attach(ifname, program)

    def _program(self, *, own_only: bool) -> int:
        if self._loaded is None or self._loaded[0] != own_only:
            program = self.load(own_only=own_only)
            self._let_go()
            self._loaded = own_only, program
        return self._loaded[1]

    def _let_go(self) -> None:
        if self._loaded is not None:
            os.close(self._loaded[1])
            self._loaded = None

    def _attach(self, ifname: str, program: int) -> None:
        adopted = next((kind for kind in self._kinds if kind.adopt(ifname, program)), None)
        for kind in self._kinds:
            if kind is not adopted:  # gone, or it would show every packet twice
                kind.detach(ifname)
        if adopted is not None:
            return
        try:
            self._links.attach(ifname, program)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise KernelError(
                    f"cannot see what leaves through {ifname}: {os.strerror(error.errno or 0)}",
                    "Run as root; or set `fastpath.egress` to off, where replies need not be seen",
                ) from None
            self._attach_filter(ifname, program)

    def _attach_filter(self, ifname: str, program: int) -> None:
        try:
            self._filters.attach(ifname, program)
        except KernelError as error:
            raise KernelError(
                f"cannot see what leaves through {ifname}: this kernel has no TCX links (Linux 6.6), and takes no"
                f" filter: {error}",
                f"See `tc qdisc show dev {ifname}` and `tc filter show dev {ifname} egress`: a qdisc `ingress` has to"
                " become `clsact`, and what has pref 1 be of kind `bpf`. Or set `fastpath.egress` to off, where replies"
                " need not be seen",
            ) from None

    def detach(self, ifname: str) -> None:
        """Take the program off an interface, where it is on; its pin goes too."""
        for kind in self._kinds:
            kind.detach(ifname)

    def attached(self) -> list[str]:
        """Return the interfaces with a pinned egress attachment of this instance."""
        return sorted({ifname for kind in self._kinds for ifname in kind.attached()})

    def filtered(self) -> list[str]:
        """Return those of them that have a filter, for want of TCX: only their network namespace can take it away."""
        return self._filters.attached()

    def close(self) -> None:
        """Close the descriptors; what is pinned stays attached."""
        self._let_go()
        self._links.close()
