"""Who judges the packets of a replay: the XDP program, its model, or nobody."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ids.errors import KernelError
from ids.kernel.settings import FastPathSettings

if TYPE_CHECKING:
    from ids.kernel.offline import Judge

MODEL_PACKETS = 1_000_000
"""Packets that the model judges in a replay that did not ask for it by name: some five seconds' worth."""

FEW_BYTES = 2 << 20
"""Captures that the model judges sooner, in a fifth of a second, than the kernel has verified the program."""

_ARRAY = 2


@dataclass(slots=True)
class Chosen:
    """What judges, and why not the kernel."""

    name: str
    """``kernel``, ``model`` or ``off``."""
    judge: Judge | None
    note: str = ""
    limit: int | None = None
    """Packets after which there is no judge any more; None: no limit."""

    def spend(self, packets: int) -> None:
        """Take note of packets judged, and go on without a judge where that was enough."""
        if self.limit is not None and self.judge is not None:
            self.limit -= packets
            if self.limit <= 0:
                self.close()
                self.note += f"; after {MODEL_PACKETS:,} packets it went on without (--fast-path model judges all)"

    def close(self) -> None:
        """Be done with the judge."""
        if self.judge is not None:
            self.judge.close()
            self.judge = None


def choose(settings: FastPathSettings, all_packets: bool = False, size: int | None = None) -> Chosen:
    """Open what ``settings.replay`` asks for; raises `KernelError` where that is the kernel, and it refuses.

    ``all_packets``: every packet is to be judged, however long it takes. ``size``: bytes of all captures, where known.
    """
    wanted = settings.replay
    if wanted == "off":
        return Chosen("off", None, "switched off by fastpath.replay")
    from ids.kernel.offline import OfflineModel, OfflineProgram  # a replay without a judge need not wait for them

    if wanted == "model":
        return Chosen("model", OfflineModel(settings), "asked for by fastpath.replay")
    if wanted == "auto" and size is not None and size <= FEW_BYTES:
        return Chosen("model", OfflineModel(settings), "sooner done than the program is loaded, for so small a capture")
    try:
        _may_load()
        return Chosen("kernel", OfflineProgram(settings))
    except KernelError as error:
        if wanted == "kernel":
            raise
        reason = str(error).removesuffix(f". {error.remedy}").splitlines()[0]
    return Chosen("model", OfflineModel(settings), reason, None if all_packets else MODEL_PACKETS)


def _may_load() -> None:
    """Find out in no time whether BPF is open to us at all; compiling to learn that takes a second."""
    from ids.kernel.system import syscall

    try:
        os.close(syscall.map_create(_ARRAY, 4, 4, 1, 0, "ids_probe"))
    except syscall.BpfError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            remedy = "Run as root, or let the model judge: --fast-path model"
            raise KernelError("no privilege to load programs into the kernel", remedy) from None
        raise
