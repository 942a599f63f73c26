"""Who did what by a command."""

from __future__ import annotations

import ipaddress
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ids.store import byhand
from ids.store.byhand import Deed, command_line, record, who
from ids.store.database import open_reading
from ids.store.queries import changes

NETWORK = ipaddress.ip_network("192.0.2.0/24")


def test_the_user_behind_sudo_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("SUDO_UID", "1000")
    assert who() == ("alice", 1000)
    monkeypatch.setattr(os, "getuid", lambda: 4242424)
    assert who() == ("4242424", 4242424), "who is not root cannot say that somebody else typed"


def test_a_deed_is_written_with_user_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/ids", "block", "add", "192.0.2.0/24", "--comment", "a b\udcff"])
    path = tmp_path / "d" / "events.db"
    assert record(path, [Deed("block", NETWORK)]) == ""
    with closing(open_reading(path)) as database:
        (row,) = changes(database, by_hand=True)
    assert (row.kind, row.network, row.label) == ("block", "192.0.2.0/24", "operator")
    assert row.command == "ids block add 192.0.2.0/24 --comment 'a b?'"
    assert row.uid == os.getuid()


def test_a_long_command_is_cut_and_many_networks_are_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byhand, "MAX_ROWS", 3)
    monkeypatch.setattr(sys, "argv", ["ids", "x" * 10000])
    assert len(command_line()) == byhand.MAX_COMMAND + 1
    path = tmp_path / "d" / "events.db"
    record(path, [Deed("block", NETWORK)] * 10)
    with closing(open_reading(path)) as database:
        rows = changes(database)
    assert len(rows) == 4
    assert rows[0].detail == {"networks": 7}


def test_where_it_cannot_be_written_the_reason_is_returned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in record(tmp_path / "file" / "events.db", [Deed("block", NETWORK)])
