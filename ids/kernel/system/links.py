"""What rtnetlink says of interfaces: that something about one has changed, and which one leads to an address."""

from __future__ import annotations

import ipaddress
import socket
import struct

from ids.errors import KernelError
from ids.kernel.system.netlink import attribute, attributes, request

_RTMGRP_LINK = 1
_RTM_GETROUTE = 26
_RTA_DST = 1
_RTA_OIF = 4
_RTMSG = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, length of the destination, six of no concern here, flags."""
_MOST_READ = 64
"""Messages that are read at once: a host on which interfaces come and go all the time holds nobody up."""


class LinkNews:
    """Hears at once that an interface came, went or changed; which and how, whoever asks looks up."""

    def __init__(self) -> None:
        """Listen in this network namespace; raises `OSError`."""
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, _RTMGRP_LINK))

    def heard(self) -> bool:
        """Return whether there was anything since the last call."""
        for count in range(_MOST_READ):
            try:
                self._socket.recv(1)  # that there is one is all that counts
            except BlockingIOError:
                return count > 0
            except OSError:  # ENOBUFS: more than it could keep
                return True
        return True

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def interface_towards(address: str) -> str:
    """Return the interface by which this host would answer an address; empty where it cannot be found out.

    The kernel answers at once, from its table of routes.
    """
    try:
        asked = ipaddress.ip_address(address)
        family = socket.AF_INET if asked.version == 4 else socket.AF_INET6
        body = _RTMSG.pack(family, asked.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_DST, asked.packed)
        for answer in request(_RTM_GETROUTE, body):
            leaves_by = dict(attributes(answer[_RTMSG.size :])).get(_RTA_OIF)
            if leaves_by is not None:
                return socket.if_indextoname(struct.unpack("=I", leaves_by)[0])
    except (KernelError, OSError, ValueError, struct.error):
        pass
    return ""
