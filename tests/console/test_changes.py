"""What the console changes outlives a reboot and is written down; where it is not, the page says so."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from ids.console import changes
from ids.kernel import Block
from ids.state import lists
from ids.store.database import open_reading, store_path
from ids.store.queries import changes as remembered
from ids.types import BlockMode
from tests.console.conftest import Open

NETWORK = ipaddress.ip_network("192.0.2.7")


class Held:
    """Stands for a list of the kernel's that has one network."""

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get(self, network: object) -> Block | None:
        return Block(NETWORK, None, label="operator") if network == NETWORK else None

    def delete(self, network: object) -> bool:
        return network == NETWORK

    def add(self, networks: object, label: str) -> None: ...


@pytest.mark.parametrize("trouble", ["", "/var/lib/ids: No space left on device"])
@pytest.mark.parametrize(("path", "kind"), [("/unblock", "unblock"), ("/allow", "allow")])
def test_a_change_is_kept_and_written_down(
    open_site: Open, monkeypatch: pytest.MonkeyPatch, path: str, kind: str, trouble: str
) -> None:
    kept: list[tuple[Path, Path]] = []

    def keep(pins: Path, folder: Path) -> str:
        kept.append((pins, folder))
        return trouble

    monkeypatch.setattr(changes, "Blocklist", SimpleNamespace(open=lambda _: Held()))
    monkeypatch.setattr(changes, "AllowList", SimpleNamespace(open=lambda _: Held()))
    monkeypatch.setattr(lists, "keep", keep)
    site = open_site(write=True)
    said = {"/unblock": changes.lift, "/allow": changes.allow}[path](site.config, NETWORK)
    state = Path(site.config.engine.state_dir)
    assert kept == [(state / "default", state / "default")]
    assert ("would not outlive a reboot" in said and trouble in said) is bool(trouble)
    with closing(open_reading(store_path(str(state), "default"))) as database:
        assert [row.kind for row in remembered(database)] == [kind]


def test_the_record_of_a_lifted_block_says_whose_it_was_and_since_when(
    open_site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ids why` finds by it which import brought the block."""
    was = Block(NETWORK, 9, BlockMode.SHADOW, label="drop", sid=0, packets=3, bytes=4, added_ns=5)
    monkeypatch.setattr(Held, "get", lambda *_: was)
    monkeypatch.setattr(changes, "Blocklist", SimpleNamespace(open=lambda _: Held()))
    monkeypatch.setattr(lists, "keep", lambda *_: "")
    site = open_site(write=True)
    changes.lift(site.config, NETWORK)
    with closing(open_reading(store_path(site.config.engine.state_dir, "default"))) as database:
        (row,) = remembered(database)
    assert (row.label, row.mode, row.until_ns, row.packets, row.bytes) == ("drop", "shadow", 9, 3, 4)
    assert row.detail == {"added_ns": 5, "last_hit_ns": None}


def test_what_was_not_blocked_changes_nothing(open_site: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "Blocklist", SimpleNamespace(open=lambda _: Held()))
    monkeypatch.setattr(lists, "keep", lambda *_: pytest.fail("there is nothing to keep"))
    site = open_site(write=True)
    assert "was not on the blocklist" in changes.lift(site.config, ipaddress.ip_network("192.0.2.8"))
