"""Speak rtnetlink: requests and dumps (include/uapi/linux/netlink.h), and which XDP program an interface has.

The latter is RTM_GETLINK, IFLA_XDP of include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ids.errors import KernelError

DUMP = 0x300
"""NLM_F_DUMP."""
CREATE = 0x400
"""NLM_F_CREATE; what is there already is replaced."""
EXCLUSIVE = 0x200
"""NLM_F_EXCL: what is there already is left alone, and the request refused (EEXIST)."""

_NLM_F_REQUEST = 1
_NLM_F_ACK = 4
_NLM_F_ACK_TLVS = 0x200
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLMSGERR_ATTR_MSG = 1
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTES_AT = {_NLMSG_ERROR: 20, _NLMSG_DONE: 4}
"""Where attributes follow: behind the error and the header of the request, or the error alone."""

_RTM_GETLINK = 18
_IFLA_MTU = 4
_IFLA_XDP = 43
_IFLA_XDP_ATTACHED = 2
_IFLA_XDP_PROG_ID = 4
_IFLA_XDP_DRV_PROG_ID = 5
_IFLA_XDP_SKB_PROG_ID = 6
_IFLA_XDP_HW_PROG_ID = 7
_MODES = {1: "native", 2: "generic", 3: "offload", 4: "multi"}


class NetlinkError(KernelError):
    """The kernel refused a request; ``errno`` says how, the message in its own words where it has some."""

    def __init__(self, number: int, words: str = "") -> None:
        self.errno = number
        remedy = "Run as root, or with CAP_NET_ADMIN" if number == errno.EPERM else ""
        super().__init__(words or os.strerror(number), remedy)


def request(kind: int, body: bytes, flags: int = 0) -> list[bytes]:
    """Make a request of type ``kind`` (RTM_*); return the bodies of what comes back. Raises `NetlinkError`."""
    answers: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(5)
        route.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        route.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        flags |= _NLM_F_REQUEST | _NLM_F_ACK
        route.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        while True:
            for what, marks, answer in _messages(route.recv(1 << 17)):
                if what not in (_NLMSG_ERROR, _NLMSG_DONE):
                    answers.append(answer)
                    continue
                (number,) = struct.unpack_from("=i", answer)
                if number:
                    attached = answer[_ATTRIBUTES_AT[what] :] if marks & _NLM_F_ACK_TLVS else b""
                    words = dict(attributes(attached)).get(_NLMSGERR_ATTR_MSG, b"")
                    raise NetlinkError(-number, words.rstrip(b"\0").decode(errors="replace"))
                return answers


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and body of each message."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, position)
        yield kind, flags, data[position + _HEADER.size : position + length]
        position += (max(length, _HEADER.size) + 3) & ~3


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute (struct nlattr)."""
    position = 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:
            return
        yield kind & 0x3FFF, data[position + 4 : position + length]
        position += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as it is sent."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


@dataclass(frozen=True, slots=True)
class XdpOnInterface:
    """The XDP program of an interface."""

    program_id: int
    """0 where there is none."""
    mode: str
    """``native``, ``generic``, ``offload``, ``multi``, or empty where there is none."""
    mtu: int


def query_xdp(ifname: str) -> XdpOnInterface:
    """Return what is attached to an interface of this network namespace; raises `KernelError` where there is none."""
    try:
        ifindex = socket.if_nametoindex(ifname)
    except OSError:
        raise KernelError(
            f"there is no interface {ifname} in this network namespace", "See `ip link` for those that there are"
        ) from None
    (reply,) = request(_RTM_GETLINK, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, ifindex, 0, 0))
    mtu = 0
    xdp: dict[int, bytes] = {}
    for kind, value in attributes(reply[16:]):
        if kind == _IFLA_MTU:
            mtu = int(struct.unpack("=I", value)[0])
        elif kind == _IFLA_XDP:
            xdp = dict(attributes(value))
    mode = _MODES.get(xdp[_IFLA_XDP_ATTACHED][0], "") if _IFLA_XDP_ATTACHED in xdp else ""
    for key in (_IFLA_XDP_PROG_ID, _IFLA_XDP_DRV_PROG_ID, _IFLA_XDP_SKB_PROG_ID, _IFLA_XDP_HW_PROG_ID):
        if key in xdp:
            return XdpOnInterface(int(struct.unpack("=I", xdp[key])[0]), mode, mtu)
    return XdpOnInterface(0, "", mtu)
