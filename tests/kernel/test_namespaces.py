"""An instance belongs to the namespace where it guards: elsewhere the same name means another interface."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel import FastPath
from ids.kernel.instance import require_same_namespace
from ids.kernel.system.netlink import query_xdp
from tests.kernel.conftest import settings
from tests.kernel.test_lifecycle import inside

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.lab, pytest.mark.usefixtures("without_challenges")]


@pytest.fixture
def twins() -> Iterator[list[str]]:
    """Two namespaces, each with an interface ``twin0`` of the same index."""
    names = [f"idstwin{os.getpid()}-{number}" for number in (1, 2)]
    pair = ["link", "add", "twin0", "index", "7", "type", "veth", "peer", "name", "other0"]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            subprocess.run(["ip", "-n", name, *pair], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def test_an_engine_in_the_wrong_namespace_is_refused_and_takes_nothing_away(bpffs: Path, twins: list[str]) -> None:
    with inside(twins[0]):
        first = FastPath.open(settings(bpffs), "twins")
        assert first.attach("twin0", "generic") == "generic"
    with inside(twins[1]):
        with pytest.raises(KernelError, match="another network namespace"):
            require_same_namespace(settings(bpffs), "twins")
        assert query_xdp("twin0").program_id == 0
    with inside(twins[0]):
        require_same_namespace(settings(bpffs), "twins")
        assert query_xdp("twin0").program_id
        first.close("remove")
        assert query_xdp("twin0").program_id == 0


def test_an_interface_that_a_start_leaves_out_is_let_go(bpffs: Path, twins: list[str]) -> None:
    with inside(twins[0]):
        first = FastPath.open(settings(bpffs), "fewer")
        for name in ("twin0", "other0"):
            first.attach(name, "generic")
        first.close("keep")
        second = FastPath.open(settings(bpffs), "fewer")
        assert second.keep_only(["twin0"]) == ["other0"]
        second.attach("twin0")
        assert query_xdp("other0").program_id == 0
        assert query_xdp("twin0").program_id
        second.close("remove")
