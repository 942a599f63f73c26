"""Which addresses are kept from blocks whatever a rule says."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

import pytest

from ids.respond.protected import Protected

ROUTES = """\
default via 192.0.2.1 dev eth0
198.51.100.0/24 via inet6 fe80::1 dev eth0
203.0.113.0/24
	nexthop via 192.0.2.2 dev eth0 weight 1
	nexthop via 192.0.2.3 dev eth1 weight 1
"""
LINKS = '[{"addr_info": [{"local": "192.0.2.9"}, {"label": "no address"}]}, {}]'


def addresses(*texts: str) -> frozenset[Any]:
    return frozenset(map(ipaddress.ip_address, texts))


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an `ip` that prints what files beside it hold, and fails where there is none."""
    program = tmp_path / "ip"
    program.write_text(f'#!/bin/sh\ncase "$*" in\n-j*) cat {tmp_path}/links;;\n*) cat {tmp_path}/routes$1;;\nesac\n')
    program.chmod(0o755)
    (tmp_path / "links").write_text(LINKS)
    (tmp_path / "routes-4").write_text(ROUTES)
    (tmp_path / "routes-6").write_text("default via fe80::2 dev eth0 proto ra\n")
    (tmp_path / "resolv.conf").write_text("nameserver\nnameserver 127.0.0.53\n")
    (tmp_path / "upstream").write_text("# of DHCP\nnameserver\t198.51.100.53\nnameserver fe80::3%eth0\nsearch x\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def protected(system: Path) -> Protected:
    return Protected([system / "resolv.conf", system / "upstream"])


def test_interfaces_next_hops_and_resolvers_are_protected(system: Path) -> None:
    known = protected(system)
    assert known.of_interfaces == set()
    assert known.read() == addresses(
        "192.0.2.9",
        "192.0.2.1", "fe80::1", "192.0.2.2", "192.0.2.3", "fe80::2",
        "127.0.0.53", "198.51.100.53", "fe80::3",
    )  # fmt: skip
    assert known.of_interfaces == addresses("192.0.2.9")


@pytest.mark.parametrize("lost", ["links", "routes-4", "routes-6", "resolv.conf"])
def test_what_cannot_be_read_stays_protected(system: Path, lost: str) -> None:
    known = protected(system)
    before = known.read()
    (system / lost).unlink()
    assert (known.read(), known.failures) == (before, 1)


def test_what_changed_is_read_anew_in_a_thread(system: Path) -> None:
    known = protected(system)
    known.read()
    (system / "routes-4").write_text("default via 192.0.2.4 dev eth0\n" * 100_000)
    known.refresh()
    known.wait()
    assert addresses("192.0.2.4") <= known.addresses
    assert not addresses("192.0.2.1") & known.addresses
