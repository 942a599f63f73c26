"""The egress program on interfaces by filters of a clsact qdisc, for kernels without TCX.

A filter is found again by its name, which says whose it is, and whether the qdisc is ours too. Its program is pinned as
``clsact_<interface>`` beside the maps, only to say that there is one: the filter itself stays until it is taken away,
and goes with its interface.

By rtnetlink rather than by ``tc``: that wants programs by a path, names filters after it, reports what went wrong in
prose, and is not everywhere where ``ip`` is. libbpf's ``bpf_tc_*`` cannot see whether others have filters here.
Numbers are those of include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ids.kernel.maps.pins import interface_pin, pinned_interfaces
from ids.kernel.system import netlink, syscall
from ids.kernel.system.netlink import NetlinkError, attribute, attributes

PIN_PREFIX = "clsact_"

PREF = 1
"""Ahead of others: one that lets a packet go (TC_ACT_OK) ends the search, and ours would not see it. Ours always lets
others follow. Among filters of the same kind and preference the newest is the first."""

_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_GETQDISC = 36, 37, 38
_RTM_NEWTFILTER, _RTM_DELTFILTER, _RTM_GETTFILTER = 44, 45, 46
_TC_H_CLSACT = 0xFFFFFFF1
_CLSACT_HANDLE = 0xFFFF0000
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_ETH_P_ALL = 0x0003
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_FD, _TCA_BPF_NAME, _TCA_BPF_FLAGS = 6, 7, 8
_FLAG_ACT_DIRECT = 1
_BPF = b"bpf\0"
_TCMSG = struct.Struct("=BxxxiIII")
_MADE = ":qdisc"
"""Ends the name of a filter whose qdisc we made."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of a clsact qdisc."""

    ifindex: int
    parent: int
    """Of which side of the qdisc: ingress or egress."""
    handle: int
    info: int
    """Preference and protocol, as ``tcm_info`` has them."""
    name: str
    """Of a BPF filter; empty for others."""

    @classmethod
    def all(cls, ifindex: int, parent: int) -> Iterator[Filter]:
        """Yield the filters of one side of an interface's clsact qdisc."""
        asked = _TCMSG.pack(socket.AF_UNSPEC, ifindex, 0, parent, 0)
        for body in netlink.request(_RTM_GETTFILTER, asked, netlink.DUMP):
            _, _, handle, _, info = _TCMSG.unpack_from(body)
            found = dict(attributes(body[_TCMSG.size :]))
            options = dict(attributes(found.get(_TCA_OPTIONS, b""))) if found.get(_TCA_KIND) == _BPF else {}
            name = options.get(_TCA_BPF_NAME, b"").rstrip(b"\0").decode(errors="replace")
            yield cls(ifindex, parent, handle, info, name)

    def put(self, program: int) -> None:
        """Add the filter, or exchange the program of the one with its handle; 0 is a new handle."""
        options = (
            attribute(_TCA_BPF_FD, struct.pack("=I", program))
            + attribute(_TCA_BPF_NAME, self.name.encode() + b"\0")
            + attribute(_TCA_BPF_FLAGS, struct.pack("=I", _FLAG_ACT_DIRECT))
        )
        kind = attribute(_TCA_KIND, _BPF)
        netlink.request(_RTM_NEWTFILTER, self._message() + kind + attribute(_TCA_OPTIONS, options), netlink.CREATE)

    def remove(self) -> None:
        """Take the filter away."""
        netlink.request(_RTM_DELTFILTER, self._message() + attribute(_TCA_KIND, _BPF))

    def _message(self) -> bytes:
        return _TCMSG.pack(socket.AF_UNSPEC, self.ifindex, self.handle, self.parent, self.info)


class ClsactFilters:
    """The filters of one instance on the interfaces of this network namespace."""

    def __init__(self, pin_dir: Path) -> None:
        self.pin_dir = pin_dir

    def adopt(self, ifname: str, program: int) -> bool:
        """Exchange the program of what is attached; return whether something is."""
        ifindex = socket.if_nametoindex(ifname)
        for ours in self._ours(ifname):
            if ours.ifindex == ifindex:
                self._pin_program(ifname, program)
                ours.put(program)
                return True
        return False

    def attach(self, ifname: str, program: int) -> None:
        """Attach to an interface; raises `NetlinkError`."""
        ifindex = socket.if_nametoindex(ifname)
        made = _add_qdisc(ifindex)
        ours = Filter(ifindex, _EGRESS, 0, PREF << 16 | socket.htons(_ETH_P_ALL), self._name(ifname) + _MADE * made)
        try:
            self._pin_program(ifname, program)
            ours.put(program)
        except BaseException:
            self._pin(ifname).unlink(missing_ok=True)
            if made:
                _remove_unused_qdisc(ifindex)
            raise

    def detach(self, ifname: str) -> None:
        """Take our filter off an interface, where it is on, and a qdisc that we made and nobody uses; the pin too."""
        for ours in self._ours(ifname):
            ours.remove()
            if ours.name.endswith(_MADE):
                _remove_unused_qdisc(ours.ifindex)
        self._pin(ifname).unlink(missing_ok=True)

    def attached(self) -> list[str]:
        """Return the interfaces for which a filter is pinned."""
        return pinned_interfaces(self.pin_dir, PIN_PREFIX)

    def _ours(self, ifname: str) -> list[Filter]:
        """Return our filters for an interface, which may have another name by now."""
        names = (self._name(ifname), self._name(ifname) + _MADE)
        indexes = [ifindex for ifindex, _ in socket.if_nameindex()]
        return [one for ifindex in indexes for one in Filter.all(ifindex, _EGRESS) if one.name in names]

    def _name(self, ifname: str) -> str:
        return f"ids:{self.pin_dir.name}:{ifname}"

    def _pin(self, ifname: str) -> Path:
        return interface_pin(self.pin_dir, PIN_PREFIX, ifname)

    def _pin_program(self, ifname: str, program: int) -> None:
        self._pin(ifname).unlink(missing_ok=True)
        syscall.obj_pin(program, str(self._pin(ifname)))


def _qdisc(ifindex: int) -> bytes:
    head = _TCMSG.pack(socket.AF_UNSPEC, ifindex, _CLSACT_HANDLE, _TC_H_CLSACT, 0)
    return head + attribute(_TCA_KIND, b"clsact\0")


def _add_qdisc(ifindex: int) -> bool:
    """Add a clsact qdisc; return False where there is one."""
    try:
        netlink.request(_RTM_NEWQDISC, _qdisc(ifindex), netlink.CREATE | netlink.EXCLUSIVE)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
    else:
        return True
    try:
        netlink.request(_RTM_GETQDISC, _qdisc(ifindex))
    except NetlinkError as error:  # it would take a filter for the way out, and ask it about what comes in
        raise NetlinkError(error.errno, "there is a qdisc `ingress` in the place of `clsact`") from None
    return False


def _remove_unused_qdisc(ifindex: int) -> None:
    if not any(list(Filter.all(ifindex, side)) for side in (_INGRESS, _EGRESS)):
        netlink.request(_RTM_DELQDISC, _qdisc(ifindex))
