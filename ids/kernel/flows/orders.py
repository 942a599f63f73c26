"""Verdicts of user space on flows, written into the live entries by a program that is attached nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from ids.kernel import contract
from ids.kernel.contract import FlowVerdict
from ids.kernel.maps.table import Map
from ids.kernel.program import loader
from ids.kernel.system import syscall

PROGRAM = "xdp_set_flow"


class FlowOrders:
    """The loaded program ``xdp_set_flow``.

    A system call could write a flow's entry only as a whole: the packets counted, and the step of the handshake made,
    since it was read would be undone.
    """

    def __init__(self, compiled: loader.Compiled, maps: Mapping[str, Map]) -> None:
        """Load the program; raises `KernelError`."""
        self._program = loader.load(compiled, PROGRAM, maps)

    def set(self, version: int, key: bytes, verdict: FlowVerdict, depth_bytes: int = 0) -> bool:
        """Give a flow its verdict and depth (0: the protocol's); return whether there is such a flow.

        ``version`` is that of IP, ``key`` as in ``ids_flow4`` and ``ids_flow6``.
        """
        order = np.zeros(1, dtype=contract.FLOW_ORDER)
        order["depth"], order["verdict"], order["version"] = depth_bytes, verdict, version
        order["key"][0, : len(key)] = np.frombuffer(key, dtype=np.uint8)
        return bool(syscall.prog_test_run(self._program, order.tobytes()).action)

    def close(self) -> None:
        """Unload the program."""
        os.close(self._program)
