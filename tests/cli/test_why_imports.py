"""`ids why` shows which import brought what blocks an address, though that names a list and no address."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ids.kernel import Blocklist
from tests.cli.conftest import Ids

pytestmark = [pytest.mark.root, pytest.mark.xdp]

ADDRESS = "203.0.113.9"


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    path = tmp_path / "drop.txt"
    path.write_text(f"{ADDRESS}\n203.0.113.10\n")
    return path


def history(ids: Ids, address: str = ADDRESS) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(ids("why", address, "-o", "json")[1])["history"]
    return rows


def test_the_import_of_a_feed_that_brought_it_and_the_latest(
    ids: Ids, blocks: Blocklist, feed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second", "third"):
        monkeypatch.setattr(sys, "argv", ["ids", "block", "import", name])
        assert ids("block", "import", feed, "--label", "drop")[0] == 0
        assert ids("block", "import", feed, "--label", "other", "--shadow")[0] == 0
    rows = [row for row in history(ids) if row["label"] == "drop"]
    assert [row["command"].split()[-1] for row in rows] == ["third", "first"]
    assert {row["kind"] for row in rows} == {"import"}
    assert "import    drop (2 networks)" in ids("why", ADDRESS)[1]
    assert history(ids, "203.0.113.11") == []


def test_what_a_feed_brought_and_somebody_lifted(ids: Ids, blocks: Blocklist, feed: Path) -> None:
    ids("block", "import", feed, "--label", "drop")
    ids("block", "delete", ADDRESS)
    assert [row["kind"] for row in history(ids)] == ["unblock", "import"]
    feed.write_text("203.0.113.10\n")
    ids("block", "import", feed, "--label", "drop")
    assert [row["kind"] for row in history(ids)] == ["unblock", "import"], "a later one has nothing to do with it"


def test_a_claim_of_an_export_that_was_taken_back(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    ids("block", "add", ADDRESS, "203.0.113.10", "--for", "1h")
    (tmp_path / "saved").write_text(ids("block", "export")[1])
    (tmp_path / "default" / "events.db").unlink()  # it comes to another host
    blocks.clear()
    ids("block", "import", tmp_path / "saved")
    (row,) = history(ids)
    assert (row["kind"], row["network"], row["label"]) == ("import", f"{ADDRESS}/32", "operator")
    assert row["expires_ns"] is not None


def test_an_export_of_more_claims_than_have_rows(
    ids: Ids, blocks: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ids.cli.importing.MAX_ROWS", 1)
    ids("block", "add", ADDRESS, "203.0.113.10")
    (tmp_path / "saved").write_text(ids("block", "export")[1])
    (tmp_path / "default" / "events.db").unlink()
    blocks.clear()
    ids("block", "import", tmp_path / "saved")
    (row,) = history(ids)
    assert (row["kind"], row["detail"]["claims"]) == ("import", 2)
    assert "import    an export (2 claims)" in ids("why", ADDRESS)[1]
