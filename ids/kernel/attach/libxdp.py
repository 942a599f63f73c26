"""libxdp by ctypes: the library that keeps several XDP programs on one interface, and libbpf, which it brings along.

Found at run time and needed only where its dispatcher is met. What it does is written down in its protocol
(xdp-tools, lib/libxdp/protocol.org); its lock, its pins and the exchange of the dispatcher as a whole stay its own.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ids.errors import KernelError

SONAME = "libxdp.so.1"
MODES = {"native": 1, "generic": 2}
"""enum xdp_attach_mode; 0 where the kernel is to choose."""

_WORDS_KEPT = 6
_WORD_BYTES = 512
_KIND_FUNC = 12  # include/uapi/linux/btf.h
_GLOBAL = 1  # BTF_FUNC_GLOBAL, BTF_VAR_GLOBAL_ALLOCATED
_SIGNED = 1
_POINTER_BITS = 64
_MAX_ERRNO = 4095  # include/linux/err.h
_REMEDY = "See with `xdp-loader status` who shares the interface; at most ten can"
_SAY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_libc = ctypes.CDLL(None)

_text, _number, _size, _object = ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "libbpf_set_print": (_object, _SAY),
    "libxdp_set_print": (_object, _SAY),
    "btf__new_empty": (_object,),
    "btf__add_int": (_number, _object, _text, ctypes.c_size_t, _number),
    "btf__add_ptr": (_number, _object, _number),
    "btf__add_array": (_number, _object, _number, _number, _size),
    "btf__add_struct": (_number, _object, _text, _size),
    "btf__add_field": (_number, _object, _text, _number, _size, _size),
    "btf__add_func_proto": (_number, _object, _number),
    "btf__add_func_param": (_number, _object, _text, _number),
    "btf__add_func": (_number, _object, _text, _number, _number),
    "btf__add_var": (_number, _object, _text, _number, _number),
    "btf__add_datasec": (_number, _object, _text, _size),
    "btf__add_datasec_var_info": (_number, _object, _number, _size, _size),
    "btf__load_into_kernel": (_number, _object),
    "btf__load_from_kernel_by_id": (_object, _size),
    "btf__find_by_name_kind": (_number, _object, _text, _size),
    "btf__fd": (_number, _object),
    "btf__free": (None, _object),
    "xdp_program__from_id": (_object, _size),
    "xdp_program__attach": (_number, _object, _number, _number, ctypes.c_uint),
    "xdp_program__detach": (_number, _object, _number, _number, ctypes.c_uint),
    "xdp_program__close": (None, _object),
}
"""Result and arguments (bpf/btf.h, xdp/libxdp.h)."""


class LibXdp:
    """The library, with the last of what it said."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(handle, name)  # libbpf's too: the linker looks into what a library depends on
            function.restype, function.argtypes = result, arguments
            self._functions[name] = function
        self._words: deque[str] = deque(maxlen=_WORDS_KEPT)
        # Kept here, for the libraries hold no reference. Level 0 are warnings, 1 is information.
        self._listeners = [_SAY(functools.partial(self._listen, level)) for level in (0, 1)]
        self._functions["libbpf_set_print"](self._listeners[0])
        self._functions["libxdp_set_print"](self._listeners[1])

    def attach(self, program_id: int, ifindex: int, mode: str) -> None:
        """Add a program of type EXT to the dispatcher of an interface; raises `KernelError`.

        ``mode`` is that of the dispatcher, one of `MODES`. What is called in which order stands in the program's BTF,
        see `described`.
        """
        self._change("xdp_program__attach", program_id, ifindex, mode, "cannot join libxdp's dispatcher")

    def detach(self, program_id: int, ifindex: int, mode: str) -> None:
        """Take a program out of the dispatcher of an interface, and the dispatcher off where it was the last."""
        self._change("xdp_program__detach", program_id, ifindex, mode, "cannot leave libxdp's dispatcher")

    def _change(self, name: str, program_id: int, ifindex: int, mode: str, doing: str) -> None:
        program = self._call("xdp_program__from_id", program_id, doing=doing)
        try:
            self._call(name, program, ifindex, MODES.get(mode, 0), 0, doing=doing)
        finally:
            self._functions["xdp_program__close"](program)

    def function_id(self, btf_id: int, function: str) -> int:
        """Return the number of a function's type in a loaded BTF; raises `KernelError`."""
        doing = f"cannot find {function} in what describes libxdp's dispatcher"
        btf = self._call("btf__load_from_kernel_by_id", btf_id, doing=doing)
        try:
            return self._call("btf__find_by_name_kind", btf, function.encode(), _KIND_FUNC, doing=doing)
        finally:
            self._functions["btf__free"](btf)

    @contextmanager
    def described(self, function: str, priority: int) -> Iterator[tuple[int, int]]:
        """Load a BTF for a program that the compiler gave none; yield its descriptor and its function's number.

        It says ``int function(struct xdp_md *)``, and as libxdp's run configuration that programs run in the order of
        ``priority``, and that the next one runs when this one answers XDP_PASS.
        """
        btf = self._call("btf__new_empty", doing="cannot describe the program")

        def add(kind: str, *arguments: Any) -> int:
            return self._call(f"btf__add_{kind}", btf, *arguments, doing="cannot describe the program")

        def number(value: int) -> int:
            return add("ptr", add("array", word, word, value))

        try:
            word = add("int", b"int", 4, _SIGNED)
            packet = add("ptr", add("struct", b"xdp_md", 0))
            prototype = add("func_proto", word)
            add("func_param", b"ctx", packet)
            own = add("func", function.encode(), _GLOBAL, prototype)
            settings = (b"priority", number(priority)), (b"XDP_PASS", number(1))
            config = add("struct", None, len(settings) * _POINTER_BITS // 8)
            for index, (name, value) in enumerate(settings):
                add("field", name, value, index * _POINTER_BITS, 0)
            variable = add("var", f"_{function}".encode(), _GLOBAL, config)
            add("datasec", b".xdp_run_config", len(settings) * _POINTER_BITS // 8)
            add("datasec_var_info", variable, 0, len(settings) * _POINTER_BITS // 8)
            self._call("btf__load_into_kernel", btf, doing="cannot describe the program to the kernel")
            yield self._call("btf__fd", btf, doing="cannot describe the program to the kernel"), own
        finally:
            self._functions["btf__free"](btf)

    def _listen(self, loudest: int, level: int, form: bytes, arguments: int) -> int:
        if level <= loudest:
            words = ctypes.create_string_buffer(_WORD_BYTES)
            _libc.vsnprintf(words, ctypes.c_size_t(len(words)), form, ctypes.c_void_p(arguments))
            self._words.append(" ".join(words.value.decode(errors="replace").split()))
        return 0

    def _call(self, name: str, *arguments: Any, doing: str) -> int:
        """Call a function; raise `KernelError` with the libraries' words where it answers with an error."""
        self._words.clear()
        answer = self._functions[name](*arguments)
        failure = ctypes.c_long(answer or 0).value  # a pointer that fails is a small negative number, or NULL
        if answer is None:
            failure = -(ctypes.get_errno() or errno.ENOMEM)
        if -_MAX_ERRNO <= failure < 0:
            raise KernelError("\n".join([f"{doing}: {os.strerror(-failure)}", *self._words]), _REMEDY)
        return int(answer)


@functools.cache
def library() -> LibXdp:
    """Return the library; raises `KernelError` where it is not installed."""
    try:
        return LibXdp(ctypes.CDLL(SONAME, use_errno=True))
    except (OSError, AttributeError) as error:  # not there, or too old
        raise KernelError(
            f"XDP programs share an interface through libxdp, which cannot be used: {error}",
            "Install it (apt-get install libxdp1), or take the others off (xdp-loader unload INTERFACE --all)",
        ) from None
