"""The ways out of a network namespace, as the kernel and `tc` show them, and a kernel without TCX."""

from __future__ import annotations

import ctypes
import errno
import json
import socket
import struct
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from ids.kernel.system import syscall
from tests.kernel.test_lifecycle import inside

TCX, CLSACT = KINDS = ("TCX", "clsact")
_link_create = syscall.link_create


def link_create(prog_fd: int, ifindex: int, flags: int, attach_type: int = syscall.ATTACH_XDP) -> int:
    """Create a link if Linux 6.1 could: its link_create() (kernel/bpf/syscall.c) knows no such attach type."""
    if attach_type == syscall.ATTACH_TCX_EGRESS:
        raise OSError(errno.EINVAL, "Invalid argument")
    return _link_create(prog_fd, ifindex, flags, attach_type)


def tc(*words: str) -> list[dict[str, Any]]:
    """Run `tc`; return what it shows."""
    done = subprocess.run(["tc", "-json", *words], check=True, capture_output=True, timeout=20)
    shown: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return shown


@dataclass(frozen=True, slots=True)
class Exits:
    """What is attached to the way out of one interface."""

    kind: str
    namespace: str
    interface: str

    @classmethod
    def of_kind(cls, kind: str, namespace: str, interface: str, monkeypatch: pytest.MonkeyPatch) -> Exits:
        """Make this process see a kernel that attaches by ``kind``, or skip where it cannot."""
        exits = cls(kind, namespace, interface)
        if kind == CLSACT:
            monkeypatch.setattr(syscall, "link_create", link_create)
        elif exits._links() is None:
            pytest.skip("needs TCX links: Linux 6.6")
        return exits

    @property
    def before(self) -> str:
        """Statements that do the same to another Python process."""
        modules = "from ids.kernel.system import syscall; from tests.kernel import exits"
        refuse = f"{modules}; syscall.link_create=exits.link_create"
        return refuse if self.kind == CLSACT else "pass"

    @property
    def pin(self) -> str:
        """Name of what is pinned for the attachment."""
        return {TCX: "egress_", CLSACT: "clsact_"}[self.kind] + self.interface

    def _links(self) -> list[int] | None:
        """Return the ids of programs by TCX (BPF_PROG_QUERY; ``bpftool net`` is often too old); None: unknown."""
        ids = (ctypes.c_uint32 * 8)()
        with inside(self.namespace):
            ifindex = socket.if_nametoindex(self.interface)
        address = ctypes.addressof(ids)
        query = struct.pack("=IIIIQII", ifindex, syscall.ATTACH_TCX_EGRESS, 0, 0, address, len(ids), 0)
        try:
            with inside(self.namespace):
                _, answer = syscall.call(syscall.Command.PROG_QUERY, query)
        except OSError:
            return None
        return list(ids[: struct.unpack_from("=I", answer, 24)[0]])

    def filters(self) -> list[dict[str, Any]]:
        """Return the BPF filters, first to last, as `tc` shows them."""
        with inside(self.namespace):
            shown = tc("filter", "show", "dev", self.interface, "egress")
        return [one["options"] | {"pref": one["pref"]} for one in shown if one["kind"] == "bpf" and "options" in one]

    def program_ids(self) -> list[int]:
        """Return the ids of our programs."""
        return (self._links() or []) + [
            one["prog"]["id"] for one in self.filters() if one["bpf_name"].startswith("ids:")
        ]

    def program_id(self) -> int:
        """Return the id of our only program."""
        (only,) = self.program_ids()
        return only

    def attached(self) -> int:
        """Return how many of our programs are attached, by either kind."""
        return len(self.program_ids())

    def qdiscs(self) -> list[str]:
        """Return the qdiscs that somebody added."""
        with inside(self.namespace):
            return [one["kind"] for one in tc("qdisc", "show", "dev", self.interface) if one["handle"] != "0:"]
