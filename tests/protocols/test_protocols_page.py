"""The pages on protocols name all that are parsed or recognised, and no counter that nothing counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ids.protocols import BY_NAME
from tests.shared import ROOT

PAGES = [ROOT / "docs" / name for name in ("protocols.md", "windows.md")]
SOURCE = "".join(path.read_text() for path in (ROOT / "ids").rglob("*.py"))
OF_ALL = {"memcap", "skipped_bytes", "requests_evicted", "commands_evicted", "malformed", "gap"}
"""Counters that are made with the protocol's name in front."""


@pytest.mark.parametrize("name", BY_NAME)
def test_every_protocol_is_named(name: str) -> None:
    assert f"`{name}`" in PAGES[0].read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_counter_that_is_named_is_counted(page: Path) -> None:
    """A name with a dot that is no buffer, option or oddity of a rule stands in the source as well."""
    tables = "".join(line for line in page.read_text().splitlines() if line.startswith("|"))
    for name in re.findall(r"`([a-z0-9_]+\.[a-z0-9_.]+)`", tables):
        last = name.partition(".")[2]
        assert last in OF_ALL or re.search(rf'"(?:{re.escape(name)}|{re.escape(last)})"', SOURCE), name


@pytest.mark.parametrize("name", ["smtp", "ftp", "ssh"])
def test_every_oddity_of_mail_and_files_is_named(name: str) -> None:
    named = set(re.findall(rf"`({name}\.[\w.]+)`", PAGES[0].read_text()))
    assert {f"{name}.{oddity}" for oddity in BY_NAME[name].oddities} <= named
