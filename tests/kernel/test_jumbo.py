"""Jumbo frames: packets of several buffers pass natively, judged by their headers and shown in part."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel import FastPath
from tests.kernel.conftest import settings
from tests.kernel.gate import PATIENCE_S, wait_until
from tests.kernel.test_lifecycle import inside

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.lab, pytest.mark.usefixtures("without_challenges")]
MTU = 9000
SIZE = 8000


@pytest.fixture
def ends() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a veth that carries jumbo frames, without offloads."""
    here, there = (f"idsjumbo{os.getpid()}-{side}" for side in "ab")
    commands = [
        f"ip netns add {here}",
        f"ip netns add {there}",
        f"ip link add big0 netns {here} mtu {MTU} type veth peer name big1 netns {there} mtu {MTU}",
        f"ip -n {here} address add 198.51.100.1/24 dev big0",
        f"ip -n {there} address add 198.51.100.2/24 dev big1",
        f"ip -n {here} link set big0 up",
        f"ip -n {there} link set big1 up",
    ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield here, there
    finally:
        for name in (here, there):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def test_native_xdp_refuses_a_jumbo_mtu_and_names_the_setting(bpffs: Path, ends: tuple[str, str]) -> None:
    with inside(ends[0]):
        fastpath = FastPath.open(settings(bpffs), "small")
        with pytest.raises(KernelError, match="jumbo_frames"):
            fastpath.attach("big0", "native")
        fastpath.close("remove")


def test_a_jumbo_frame_passes_is_counted_whole_and_shown_in_part(bpffs: Path, ends: tuple[str, str]) -> None:
    with inside(ends[0]):
        fastpath = FastPath.open(settings(bpffs, jumbo_frames=True), "jumbo")
        assert fastpath.attach("big0", "native") == "native"
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(ends[1]):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(("198.51.100.1", 9))
        receiver.settimeout(PATIENCE_S)
        sender.sendto(bytes(SIZE), ("198.51.100.1", 9))
        assert len(receiver.recv(65536)) == SIZE
    sizes: list[int] = []

    def shown() -> bool:
        batch = fastpath.rings.poll(0.1)
        if batch is not None:
            sizes.extend(batch.wirelen.tolist())
        return SIZE + 42 in sizes

    assert wait_until(shown), sizes
    assert fastpath.stats()["note.shown_in_part"][0] == 1
    fastpath.close("remove")
