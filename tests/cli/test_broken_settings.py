"""A broken file of settings stops nobody who has to unblock, to look, or to take the gate down."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from ids.kernel import Block, Blocklist
from tests.cli.conftest import Ids

pytestmark = [pytest.mark.root, pytest.mark.xdp]

BROKEN = "respond:\n  mode: shadwo\neve: {path: 'eve.json\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ids.yaml"
    path.write_text(BROKEN)
    return path


@pytest.mark.parametrize(
    "words",
    [
        "stats", "block list", "block show 192.0.2.9", "block export", "why 192.0.2.9", "allow list",
        "penalties list", "block add 192.0.2.8", "block delete 192.0.2.9", "allow add 192.0.2.9",
        "alerts list", "top --count 1",
    ],
)  # fmt: skip
def test_it_is_warned_of_and_the_command_works(ids: Ids, blocks: Blocklist, file: Path, words: str) -> None:
    blocks.add([Block(ip_network("192.0.2.9"), label="operator")])
    assert ids("block", "add", "192.0.2.7")[0] == 0  # with it there is a memory
    code, out, err = ids(*words.split(), "-c", file)
    assert code == 0, err
    warnings = [line for line in err.splitlines() if line.startswith("ids: warning: ")]
    assert warnings[0].startswith(f"ids: warning: {file}:3:22: is not valid YAML")
    assert warnings[1].startswith(f"ids: warning: {file}:2:9: respond.mode")
    assert (
        warnings[2] == f"ids: warning: {file}: a start and a reload would refuse this file; here the rest of it counts"
    )
    assert not any("warning" in line for line in out.splitlines())


def test_who_was_blocked_is_unblocked(ids: Ids, blocks: Blocklist, file: Path) -> None:
    blocks.add([Block(ip_network("192.0.2.9"), label="operator")])
    assert ids("block", "delete", "192.0.2.9", "-c", file)[0] == 0
    assert blocks.get(ip_network("192.0.2.9")) is None


def test_another_engine_is_not_taken_down_in_its_place(ids: Ids, blocks: Blocklist, file: Path) -> None:
    file.write_text("instance: 'lan\n" + BROKEN)
    code, _, err = ids("detach", "-c", file)
    assert code == 2
    assert "Which engine is meant cannot be read there; name it: --set instance=..." in err


def test_a_start_and_a_reload_refuse_it_as_ever(ids: Ids, file: Path) -> None:
    for words in (["reload"], ["check"], ["config", "check"], ["feeds", "update"]):
        assert ids(*words, "-c", file)[0] == 2
