"""A filter among those of others: it hides nothing from them nor they from it, and takes away only what is its own."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.cli import cli
from ids.errors import KernelError
from ids.kernel import FastPath
from ids.kernel.attach.tcx import TcxLinks
from ids.kernel.instance import remove_pins
from ids.kernel.system import syscall
from tests.kernel.conftest import settings
from tests.kernel.exits import CLSACT, TCX, Exits, tc
from tests.kernel.test_lifecycle import Veth, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.usefixtures("without_challenges")]
OK, SHOT = 0, 2


@pytest.fixture
def exits(veth: Veth, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exits]:
    """The ways out of the namespace, with this process in it and no TCX to be had."""
    exits = Exits.of_kind(CLSACT, *veth[:2], monkeypatch)
    with inside(exits.namespace):
        yield exits


@pytest.fixture
def opened(bpffs: Path, exits: Exits) -> Iterator[FastPath]:
    """A fast path whose pins are gone after the test."""
    fastpath = FastPath.open(settings(bpffs), "among")
    yield fastpath
    fastpath.close("remove")


@pytest.fixture
def foreign(bpffs: Path, exits: Exits) -> Iterator[Callable[..., None]]:
    """Add a filter of somebody else's, which answers ``action`` for every packet."""
    pin = bpffs / "foreign"

    def add(action: int, pref: int, side: str = "egress") -> None:
        code = b"\xb7\x00\x00\x00" + action.to_bytes(4, "little") + b"\x95" + bytes(7)  # r0 = action; exit
        program = syscall.prog_load("foreign", code, 0, syscall.PROG_TYPE_SCHED_CLS)
        syscall.obj_pin(program, str(pin))
        os.close(program)
        words = ["dev", exits.interface, side, "protocol", "all", "pref", str(pref), "handle", "1"]
        tc("filter", "add", *words, "bpf", "direct-action", "object-pinned", str(pin))

    yield add
    pin.unlink(missing_ok=True)


def names(exits: Exits) -> list[str]:
    return [one["prog"]["name"] for one in exits.filters()]


def arrives(exits: Exits) -> bool:
    """Send a packet; return whether the other end of the wire gets it."""
    with inside(f"{exits.namespace}c"):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.bind(("192.0.2.2", 9))
        receiver.settimeout(0.5)
        sender.sendto(b"x", ("192.0.2.2", 9))
        try:
            return receiver.recv(1) == b"x"
        except TimeoutError:
            return False


@pytest.mark.parametrize("pref", [1, 7])
def test_no_other_filter_hides_a_packet_from_ours(
    exits: Exits, opened: FastPath, foreign: Callable[..., None], pref: int
) -> None:
    tc("qdisc", "add", "dev", exits.interface, "clsact")
    foreign(OK, pref)
    opened.view_egress([exits.interface])
    assert names(exits) == ["tc_ids", "foreign"]
    before = opened.stats()["note.flow_new"][0]
    assert arrives(exits)
    assert opened.stats()["note.flow_new"][0] == before + 1


def test_ours_hides_no_packet_from_another(exits: Exits, opened: FastPath, foreign: Callable[..., None]) -> None:
    opened.view_egress([exits.interface])
    assert arrives(exits)
    foreign(SHOT, 7)
    assert not arrives(exits)


def test_a_qdisc_of_somebody_else_stays(exits: Exits, opened: FastPath) -> None:
    tc("qdisc", "add", "dev", exits.interface, "clsact")
    opened.view_egress([exits.interface])
    opened.detach(exits.interface)
    assert exits.filters() == []
    assert exits.qdiscs() == ["clsact"]


@pytest.mark.parametrize("side", ["ingress", "egress"])
def test_a_qdisc_of_ours_stays_while_somebody_uses_it(
    exits: Exits, opened: FastPath, foreign: Callable[..., None], side: str
) -> None:
    opened.view_egress([exits.interface])
    foreign(OK, 7, side)
    opened.detach(exits.interface)
    assert exits.attached() == 0
    assert names(exits) == ["foreign"] * (side == "egress")
    assert exits.qdiscs() == ["clsact"]
    tc("filter", "delete", "dev", exits.interface, side)


def test_a_filter_whose_pins_are_gone_is_found_again(bpffs: Path, exits: Exits) -> None:
    killed = FastPath.open(settings(bpffs), "among")
    killed.view_egress([exits.interface])
    killed.close("keep")
    for pin in (bpffs / "among").iterdir():
        pin.unlink()
    (left,) = exits.filters()
    heir = FastPath.open(settings(bpffs), "among")
    heir.view_egress([exits.interface])
    (taken,) = exits.filters()
    assert (taken["pref"], taken["handle"]) == (left["pref"], left["handle"])
    assert taken["prog"]["id"] != left["prog"]["id"]
    heir.close("remove")
    assert exits.qdiscs() == []


def test_a_kernel_that_has_learnt_tcx_shows_no_packet_twice(
    exits: Exits, opened: FastPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.view_egress([exits.interface])
    monkeypatch.undo()
    Exits.of_kind(TCX, exits.namespace, exits.interface, monkeypatch)
    opened.view_egress([exits.interface])
    assert exits.attached() == 1, "what is there is taken over"
    program = opened.egress.load()
    links = TcxLinks(opened.pin_dir)
    links.attach(exits.interface, program)
    links.close()
    os.close(program)
    assert exits.attached() == 2
    opened.view_egress([exits.interface])
    assert exits.attached() == 1
    assert exits.filters() == []


def test_a_renamed_interface_keeps_no_filter(exits: Exits, opened: FastPath) -> None:
    opened.view_egress([exits.interface])
    for words in (["down"], ["name", "wire1"], ["up"]):
        subprocess.run(["ip", "link", "set", "dev", exits.interface, *words], check=words == ["down"])
    renamed = Exits(CLSACT, exits.namespace, "wire1")
    opened.view_egress(["wire1"])
    assert renamed.attached() == 1
    assert opened.egress.attached() == ["wire1"]


def test_instances_have_filters_of_their_own(bpffs: Path, exits: Exits, opened: FastPath) -> None:
    other = FastPath.open(settings(bpffs), "other")
    for fastpath in (opened, other):
        fastpath.view_egress([exits.interface])
    assert exits.attached() == 2
    other.close("remove")
    assert exits.attached() == 1


def test_a_qdisc_for_the_way_in_only_is_left_alone_and_reported(exits: Exits, opened: FastPath) -> None:
    tc("qdisc", "add", "dev", exits.interface, "ingress")
    with pytest.raises(KernelError, match=r"cannot see what leaves.*Linux 6\.6.*there is a qdisc `ingress`"):
        opened.view_egress([exits.interface])
    assert exits.qdiscs() == ["ingress"]
    assert opened.egress.attached() == []


def test_ids_detach_elsewhere_takes_nothing_away(bpffs: Path, exits: Exits, tmp_path: Path) -> None:
    opened = FastPath.open(settings(bpffs), "among")
    opened.attach(exits.interface)
    opened.view_egress([exits.interface])
    opened.close("keep")
    words = ["detach", "--set", "instance=among", "--set", f"fastpath.pin_dir={bpffs}"]
    words += ["--set", f"engine.runtime_dir={tmp_path}", "--set", f"engine.state_dir={tmp_path}"]
    with inside(f"{exits.namespace}c"):
        refused = CliRunner().invoke(cli, words)
    assert "another network namespace" in str(refused.exception or refused.output)
    assert exits.attached() == 1
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert exits.attached() == 0
    assert exits.qdiscs() == []
    assert not remove_pins(bpffs / "among")
