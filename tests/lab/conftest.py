"""A lab for each test that asks for one; tests skip, saying why, where none can be made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ids.errors import KernelError
from ids.lab import guard, removal, website
from ids.lab.topology import Lab
from ids.lab.website import start_website
from tests.lab.clients import PATIENCE_S, in_this_process


@pytest.fixture(scope="package", autouse=True)
def _patience() -> Iterator[None]:
    """Wait longer for processes to start and to end than a user would: the machine runs other tests too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "START_S", 3 * PATIENCE_S)
        patch.setattr(guard, "COMMAND_S", 2 * PATIENCE_S)
        patch.setattr(website, "START_S", PATIENCE_S)
        patch.setattr(removal, "GRACE_S", PATIENCE_S / 2)
        yield


@pytest.fixture(scope="package", autouse=True)
def _operator() -> Iterator[None]:
    """Run an operator's commands in this process; tests/cli/test_lab.py has the lab run them as it does elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "in_a_process", in_this_process)
        yield


@pytest.fixture(scope="session")
def can_build_labs() -> None:
    """Skip where namespaces are not to be had."""
    try:
        with Lab():
            pass
    except KernelError as error:
        pytest.skip(f"no lab here: {error}")


@pytest.fixture
def lab(can_build_labs: None) -> Iterator[Lab]:
    """Three namespaces, wired and routed, with nothing running in them."""
    with Lab() as built:
        yield built
    assert built.leftovers() == []


@pytest.fixture
def site(lab: Lab) -> Lab:
    """A lab with its web server running."""
    start_website(lab)
    return lab
