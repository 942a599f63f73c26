"""Capabilities that this process gives up, for itself and for whatever it starts (capabilities(7), prctl(2)).

They belong to a thread, so they are given up before there is a second one, or in a process that has just been forked:
else another thread of the same memory would still have them. With ``no_new_privs`` no program that is started gets
back what is gone, root's or not. The user stays root: pins, lists and logs are root's, and need no capability then.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Collection

from ids.errors import KernelError

NUMBERS = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
"""Bits, include/uapi/linux/capability.h."""

ENGINE = ("CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON")
"""What the process that decides keeps: it loads the program, writes the maps, and attaches again where an interface
comes back."""
WITH_DISPATCHER = (*ENGINE, "CAP_SYS_ADMIN")
"""Beside other XDP programs: to find theirs by number (BPF_PROG_GET_FD_BY_ID) wants CAP_SYS_ADMIN."""
WORKER: tuple[str, ...] = ()
"""What a process that only inspects keeps: its rings are open, and it reads memory."""

_VERSION_3 = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_HEADER = struct.Struct("=Ii")
_DATA = struct.Struct("=6I")
"""Effective, permitted, inheritable; the low words, then the high ones."""
_libc = ctypes.CDLL(None, use_errno=True)


def held() -> int:
    """Return the capabilities that this thread may use, as bits."""
    header, data = ctypes.create_string_buffer(_HEADER.pack(_VERSION_3, 0)), ctypes.create_string_buffer(_DATA.size)
    _check(_libc.capget(header, data), "its capabilities cannot be read")
    low, _, _, high, _, _ = _DATA.unpack(data.raw[: _DATA.size])
    return int(high) << 32 | int(low)


def keep_only(names: Collection[str]) -> None:
    """Give up all capabilities but these, as far as they are held, for good; raises `KernelError`."""
    wanted = held() & sum(1 << NUMBERS[name] for name in names)
    low, high = wanted & 0xFFFFFFFF, wanted >> 32
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "no_new_privs cannot be set")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, "ambient capabilities cannot be given up")
    header = ctypes.create_string_buffer(_HEADER.pack(_VERSION_3, 0))
    data = ctypes.create_string_buffer(_DATA.pack(low, low, 0, high, high, 0))
    _check(_libc.capset(header, data), "capabilities cannot be given up")


def _prctl(option: int, value: int, failure: str) -> None:
    rest = (ctypes.c_ulong(0),) * 3
    _check(_libc.prctl(option, ctypes.c_ulong(value), *rest), failure)


def _check(answer: int, failure: str) -> None:
    if answer:
        raise KernelError(f"{failure}: {os.strerror(ctypes.get_errno())}", "Unset engine.drop_privileges")
