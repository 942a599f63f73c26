"""Ask rtnetlink which XDP program an interface has (RTM_GETLINK, IFLA_XDP of include/uapi/linux/if_link.h)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ids.errors import KernelError

_RTM_GETLINK = 18
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_IFLA_MTU = 4
_IFLA_XDP = 43
_IFLA_XDP_ATTACHED = 2
_IFLA_XDP_PROG_ID = 4
_IFLA_XDP_DRV_PROG_ID = 5
_IFLA_XDP_SKB_PROG_ID = 6
_IFLA_XDP_HW_PROG_ID = 7
_MODES = {1: "native", 2: "generic", 3: "offload", 4: "multi"}


@dataclass(frozen=True, slots=True)
class XdpOnInterface:
    """The XDP program of an interface."""

    program_id: int
    """0 where there is none."""
    mode: str
    """``native``, ``generic``, ``offload``, ``multi``, or empty where there is none."""
    mtu: int


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:
            return
        yield kind & 0x3FFF, data[position + 4 : position + length]
        position += (length + 3) & ~3


def query_xdp(ifname: str) -> XdpOnInterface:
    """Return what is attached to an interface of this network namespace; raises `KernelError` where there is none."""
    try:
        ifindex = socket.if_nametoindex(ifname)
    except OSError:
        raise KernelError(
            f"there is no interface {ifname} in this network namespace", "See `ip link` for those that there are"
        ) from None
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, ifindex, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(5)
        route.send(struct.pack("=IHHII", 16 + len(body), _RTM_GETLINK, _NLM_F_REQUEST, 1, 0) + body)
        reply = route.recv(1 << 17)
    length, kind = struct.unpack_from("=IH", reply)
    if kind == _NLMSG_ERROR:
        raise KernelError(f"the kernel does not tell about interface {ifname}", "Run as root")
    mtu = 0
    xdp: dict[int, bytes] = {}
    for attribute, value in _attributes(reply[32:length]):
        if attribute == _IFLA_MTU:
            mtu = int(struct.unpack("=I", value)[0])
        elif attribute == _IFLA_XDP:
            xdp = dict(_attributes(value))
    mode = _MODES.get(xdp[_IFLA_XDP_ATTACHED][0], "") if _IFLA_XDP_ATTACHED in xdp else ""
    for key in (_IFLA_XDP_PROG_ID, _IFLA_XDP_DRV_PROG_ID, _IFLA_XDP_SKB_PROG_ID, _IFLA_XDP_HW_PROG_ID):
        if key in xdp:
            return XdpOnInterface(int(struct.unpack("=I", xdp[key])[0]), mode, mtu)
    return XdpOnInterface(0, "", mtu)
