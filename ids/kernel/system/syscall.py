"""bpf(2) by ctypes: the commands that the fast path needs, each as one function.

The layouts are those of ``union bpf_attr`` in include/uapi/linux/bpf.h. BCC's own wrappers lack program flags, links,
batches and test runs, and importing BCC costs half a second and LLVM's memory.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from ids.errors import KernelError

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351, "armv7l": 386}
_ATTR_BYTES = 152
_libc = ctypes.CDLL(None, use_errno=True)

LOG_BYTES = 1 << 20
"""Room for the verifier's words when a program is refused; it asks for none when the program loads."""


MAX_PROGRAM_MAPS = 64
"""Maps of a program that are named: as many as the kernel allows one to have (MAX_USED_MAPS, include/linux/bpf.h)."""

_PROG_INFO_BYTES = 160


class Command(IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    MAP_LOOKUP_BATCH = 24
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_DETACH = 34


PROG_TYPE_SCHED_CLS = 3
PROG_TYPE_XDP = 6
PROG_TYPE_EXT = 28
ATTACH_XDP = 37
ATTACH_TCX_EGRESS = 47
F_MMAPABLE = 1 << 10
F_XDP_HAS_FRAGS = 1 << 5
F_TEST_XDP_LIVE_FRAMES = 1 << 1
XDP_FLAGS_SKB_MODE = 1 << 1
XDP_FLAGS_DRV_MODE = 1 << 2

_PRIVILEGES = "Run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; a container has to be granted these"
_VERIFIER = "The verifier refused the program; if the kernel is 5.18 or newer this is a bug worth reporting"
_REMEDIES = {
    errno.EPERM: _PRIVILEGES,
    errno.EACCES: _PRIVILEGES,  # the rights of a pin and its folders
    errno.ENOSYS: "This kernel has no bpf(2); Linux 5.18 or newer is needed",
    errno.ENOMEM: "Make the fast path's tables smaller in the settings, or raise RLIMIT_MEMLOCK",
    errno.E2BIG: "The table is full, or the program too large for this kernel; Linux 5.18 or newer is needed",
    errno.ENOSPC: "The table is full: raise its number of entries in the settings",
    errno.EINVAL: "This kernel lacks a feature that is needed; Linux 5.18 or newer has all",
}


class BpfError(KernelError):
    """A bpf(2) command failed; ``errno`` says how."""

    def __init__(self, doing: str, number: int, detail: str = "", remedy: str = "") -> None:
        self.errno = number
        text = f"{doing}: {os.strerror(number)}" + (f"\n{detail}" if detail else "")
        super().__init__(text, remedy or _REMEDIES.get(number, ""))


@functools.cache
def _syscall_number() -> int:
    machine = platform.machine()
    try:
        return _SYSCALL_NUMBERS[machine]
    except KeyError:
        raise KernelError(f"bpf(2) has no known number on {machine}", "Use x86_64 or aarch64") from None


def call(command: Command, attr: bytes | bytearray) -> tuple[int, bytes]:
    """Run one command; return its result and the attributes as the kernel left them. Raises OSError."""
    buffer = ctypes.create_string_buffer(bytes(attr), max(_ATTR_BYTES, len(attr)))
    result = _libc.syscall(_syscall_number(), int(command), buffer, len(buffer))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result), buffer.raw


def _run(command: Command, attr: bytes, doing: str) -> tuple[int, bytes]:
    try:
        return call(command, attr)
    except OSError as error:
        raise BpfError(doing, error.errno or 0) from None


def prepared(command: Command, attr: ctypes.Structure) -> Callable[[], int]:
    """Return a call of one command on attributes that stay in place, for loops; it answers -1 where it failed."""
    arguments = (ctypes.c_long(_syscall_number()), ctypes.c_int(command), ctypes.byref(attr), ctypes.sizeof(attr))
    return functools.partial(_libc.syscall, *arguments)


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def map_create(
    map_type: int, key_bytes: int, value_bytes: int, max_entries: int, flags: int, name: str, inner_fd: int = 0
) -> int:
    """Create a map and return its file descriptor; ``inner_fd`` is a map such as a map of maps is to hold."""
    attr = struct.pack("=7I16s", map_type, key_bytes, value_bytes, max_entries, flags, inner_fd, 0, name.encode()[:15])
    return _run(Command.MAP_CREATE, attr, f"cannot create the map {name} of {max_entries} entries")[0]


def map_lookup(fd: int, key: bytes, value_bytes: int) -> bytes | None:
    """Return the value of a key, or None. Per-CPU maps give all CPUs' values, each padded to 8 bytes."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(value_bytes)
    attr = struct.pack("=IIQQQ", fd, 0, _address(key_buffer), _address(value), 0)
    try:
        call(Command.MAP_LOOKUP_ELEM, attr)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise BpfError("cannot read a map", error.errno or 0) from None
    return value.raw


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Set the value of a key, adding it where it is missing. Raises BpfError (E2BIG or ENOSPC: full)."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    _run(
        Command.MAP_UPDATE_ELEM,
        struct.pack("=IIQQQ", fd, 0, _address(key_buffer), _address(value_buffer), 0),
        "cannot write to a map",
    )


def map_delete(fd: int, key: bytes) -> bool:
    """Delete a key; return whether it was there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    try:
        call(Command.MAP_DELETE_ELEM, struct.pack("=IIQQQ", fd, 0, _address(key_buffer), 0, 0))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise BpfError("cannot delete from a map", error.errno or 0) from None
    return True


def map_next_key(fd: int, key: bytes | None, key_bytes: int) -> bytes | None:
    """Return the key that follows (None: the first), or None at the end."""
    key_buffer = ctypes.create_string_buffer(key or b"", key_bytes)
    following = ctypes.create_string_buffer(key_bytes)
    attr = struct.pack("=IIQQQ", fd, 0, _address(key_buffer) if key is not None else 0, _address(following), 0)
    try:
        call(Command.MAP_GET_NEXT_KEY, attr)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise BpfError("cannot list a map", error.errno or 0) from None
    return following.raw


def map_batch(
    command: Command, fd: int, keys: int, values: int, count: int, cursor: tuple[int, int] = (0, 0)
) -> tuple[int, int]:
    """Run a batch command on arrays at the given addresses; return (elements done, errno or 0).

    ``cursor`` holds the addresses of the opaque in and out positions of a lookup. ENOENT ends a lookup.
    """
    attr = struct.pack("=QQQQIIQQ", cursor[0], cursor[1], keys, values, count, fd, 0, 0)
    buffer = ctypes.create_string_buffer(attr, _ATTR_BYTES)
    result = _libc.syscall(_syscall_number(), int(command), buffer, len(buffer))
    number = ctypes.get_errno() if result < 0 else 0
    return int(struct.unpack_from("=I", buffer.raw, 32)[0]), number


def obj_pin(fd: int, path: str) -> None:
    """Pin a map, program or link at a path on a bpffs."""
    name = ctypes.create_string_buffer(path.encode())
    _run(Command.OBJ_PIN, struct.pack("=QII", _address(name), fd, 0), f"cannot pin {path}")


def obj_get(path: str) -> int | None:
    """Open a pinned object; None where there is no such pin."""
    name = ctypes.create_string_buffer(path.encode())
    try:
        return call(Command.OBJ_GET, struct.pack("=QII", _address(name), 0, 0))[0]
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise BpfError(f"cannot open the pin {path}", error.errno or 0) from None


@dataclass(frozen=True, slots=True)
class Replaced:
    """The function of a loaded program that a program of type EXT stands in for (freplace)."""

    program: int
    """Descriptor of the loaded program."""
    function: int
    """Number of the function's type in that program's BTF."""
    own_btf: int
    """Descriptor of the BTF that describes the new program."""
    own_function: int
    """Number of its function's type in there."""


LOAD_ATTEMPTS = 5
"""The verifier gives up with EAGAIN where a signal comes meanwhile, one that we have a handler for included."""


def prog_load(
    name: str, instructions: bytes, flags: int = 0, prog_type: int = PROG_TYPE_XDP, replaced: Replaced | None = None
) -> int:
    """Load a program; return its file descriptor. A refusal carries the end of the verifier's log.

    The expected attach type stays 0 for every type: EXT programs may have no other, and those that share a program
    array must have the same.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(LOG_BYTES)
    function = ctypes.create_string_buffer(struct.pack("=II", 0, replaced.own_function if replaced else 0), 8)
    extension = b""
    if replaced is not None:  # one struct bpf_func_info: the function that begins at instruction 0
        extension = struct.pack(
            "=IIQIIQIII",
            replaced.own_btf,
            len(function),
            _address(function),
            1,
            0,
            0,
            0,
            replaced.function,
            replaced.program,
        )

    def attr(log_level: int) -> bytes:
        return (
            struct.pack(
                "=IIQQIIQII16sII",
                prog_type,
                len(instructions) // 8,
                _address(code),
                _address(licence),
                log_level,
                LOG_BYTES if log_level else 0,
                _address(log) if log_level else 0,
                0,
                flags,
                name.encode()[:15],
                0,
                0,
            )
            + extension
        )

    def load(log_level: int) -> int:
        for _ in range(LOAD_ATTEMPTS - 1):
            try:
                return call(Command.PROG_LOAD, attr(log_level))[0]
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
        return call(Command.PROG_LOAD, attr(log_level))[0]

    try:
        return load(0)
    except OSError as error:
        number = error.errno or 0
    if number in (errno.EACCES, errno.EINVAL):
        try:
            return load(1)
        except OSError as error:
            number = error.errno or 0
    words = log.value.decode(errors="replace").strip().splitlines()[-6:]
    remedy = _VERIFIER if number == errno.EACCES else ""
    raise BpfError(f"the kernel refused the program {name}", number, "\n".join(words), remedy)


@dataclass(frozen=True, slots=True)
class TestRun:
    """What a program did with a packet."""

    action: int
    duration_ns: int
    """Mean time of one run."""
    data: bytes
    """The packet afterwards."""


def prog_test_run(fd: int, packet: bytes, repeat: int = 1, flags: int = 0, ctx: bytes = b"") -> TestRun:
    """Run a program on a packet (BPF_PROG_TEST_RUN). XDP wants at least 14 bytes.

    ``ctx`` is a ``struct xdp_md``; with ``flags`` F_TEST_XDP_LIVE_FRAMES packets really go out (Linux 5.18).
    """
    data = ctypes.create_string_buffer(packet, len(packet))
    live = bool(flags & F_TEST_XDP_LIVE_FRAMES)
    out = ctypes.create_string_buffer(len(packet) + 256)
    ctx_in = ctypes.create_string_buffer(ctx, max(1, len(ctx)))
    attr = struct.pack(
        "=IIIIQQIIIIQQIII",
        fd,
        0,
        len(packet),
        0 if live else len(out),
        _address(data),
        0 if live else _address(out),
        repeat,
        0,
        len(ctx),
        0,
        _address(ctx_in) if ctx else 0,
        0,
        flags,
        0,
        0,
    )
    _, after = _run(Command.PROG_TEST_RUN, attr, "cannot run the program on a packet")
    _, action, _, size, _, _, _, duration = struct.unpack_from("=IIIIQQII", after)
    return TestRun(action, duration, out.raw[: 0 if live else size])


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What distinguishes one loaded program from another."""

    id: int
    name: str
    btf_id: int
    """Id of its BTF, 0 where it has none."""
    map_ids: frozenset[int]


def prog_fd_by_id(prog_id: int) -> int:
    """Open a loaded program by its id."""
    return _run(Command.PROG_GET_FD_BY_ID, struct.pack("=III", prog_id, 0, 0), f"cannot open program {prog_id}")[0]


def prog_info(fd: int) -> ProgramInfo:
    """Return what the kernel reports about a loaded program (``struct bpf_prog_info``)."""
    map_ids = (ctypes.c_uint32 * MAX_PROGRAM_MAPS)()
    info = ctypes.create_string_buffer(_PROG_INFO_BYTES)
    struct.pack_into("=IQ", info, 52, MAX_PROGRAM_MAPS, ctypes.addressof(map_ids))
    _run(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), _address(info)), "cannot read a program's data")
    name = info.raw[64:80].rstrip(bytes(1)).decode(errors="replace")
    maps = min(struct.unpack_from("=I", info.raw, 52)[0], MAX_PROGRAM_MAPS)
    return ProgramInfo(
        struct.unpack_from("=I", info.raw, 4)[0],
        name,
        struct.unpack_from("=I", info.raw, 128)[0],
        frozenset(map_ids[:maps]),
    )


def obj_info(fd: int, size: int = 256) -> bytes:
    """Return the first ``size`` bytes of the object's ``struct bpf_*_info``, zero-filled where the kernel has less."""
    info = ctypes.create_string_buffer(size)
    _run(Command.OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, _address(info)), "cannot read an object's data")
    return info.raw


def link_create(prog_fd: int, ifindex: int, flags: int, attach_type: int = ATTACH_XDP) -> int:
    """Attach a program to an interface through a link; return the link's descriptor. Raises OSError."""
    return call(Command.LINK_CREATE, struct.pack("=IIII", prog_fd, ifindex, attach_type, flags))[0]


def link_program_id(link_fd: int) -> int:
    """Return the id of a link's program (``struct bpf_link_info``)."""
    return int(struct.unpack_from("=I", obj_info(link_fd, 64), 8)[0])


def link_ifindex(link_fd: int) -> int:
    """Return the interface of an XDP or TCX link, 0 when that has gone (``struct bpf_link_info``)."""
    return int(struct.unpack_from("=I", obj_info(link_fd, 64), 16)[0])


def link_update(link_fd: int, prog_fd: int) -> None:
    """Exchange a link's program at once: no packet meets neither."""
    _run(Command.LINK_UPDATE, struct.pack("=IIII", link_fd, prog_fd, 0, 0), "cannot exchange the attached program")


def link_detach(link_fd: int) -> None:
    """Detach a link's program from its interface."""
    _run(Command.LINK_DETACH, struct.pack("=I", link_fd), "cannot detach the program")
