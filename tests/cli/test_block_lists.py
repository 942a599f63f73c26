"""`ids block list`, `show`, `export` and comments, on a real fast path without an engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import numpy as np
import pytest

from ids.kernel import Block, Blocklist, NetworkSet
from ids.state.lists import load
from ids.store.database import open_reading
from ids.store.queries import changes
from ids.types import BlockMode
from tests.cli.conftest import Ids, rows_of

pytestmark = [pytest.mark.root, pytest.mark.xdp]

HOUR_NS = 3_600_000_000_000
HOSTILE = "\x1b[2Jgone\u202e"


def mixed(blocks: Blocklist) -> None:
    """Fill the list: several owners, families, ends, modes."""
    now_ns = time.time_ns()
    blocks.add(
        [
            Block(ip_network("203.0.113.1"), now_ns + HOUR_NS, sid=7, label="rule"),
            Block(ip_network("203.0.113.1"), None, BlockMode.SHADOW, label="feed"),
            Block(ip_network("203.0.113.0/28"), None, label="feed"),
            Block(ip_network("11.0.0.0/8"), now_ns + 2 * HOUR_NS, BlockMode.SHADOW, label="partner"),
            Block(ip_network("2001:db8::/32"), None, label="feed"),
            Block(ip_network("2001:db8::1"), None, sid=9, label="rule"),
        ]
    )


def listed(ids: Ids, *words: object) -> list[str]:
    return [row["network"] for row in rows_of(ids("block", "list", "-o", "json", *words)[1])]


def test_the_list_is_in_the_order_of_addresses(ids: Ids, blocks: Blocklist) -> None:
    mixed(blocks)
    expected = ["11.0.0.0/8", "203.0.113.0/28", "203.0.113.1/32", "2001:db8::/32", "2001:db8::1/128"]
    assert listed(ids) == expected
    rows = ids("block", "list")[1].splitlines()
    assert [row.split()[0] for row in rows[1:]] == expected
    assert "sid 7, feed" in rows[3]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--match", "203.0.113.0/24"], ["203.0.113.0/28", "203.0.113.1/32"]),
        (["--match", "203.0.113.5"], ["203.0.113.0/28"]),
        (["--match", "11.1.2.3"], ["11.0.0.0/8"]),
        (["--match", "2001:db8::/64"], ["2001:db8::/32", "2001:db8::1/128"]),
        (["--match", "::/0", "--limit", 1], ["2001:db8::/32"]),
        (["--match", "198.51.100.1"], []),
        (["--sort", "left", "--limit", 2], ["203.0.113.1/32", "11.0.0.0/8"]),
    ],
)
def test_what_is_listed(ids: Ids, blocks: Blocklist, words: list[object], expected: list[str]) -> None:
    mixed(blocks)
    assert listed(ids, *words) == expected


def test_the_most_hit_and_the_latest_come_first_when_asked(ids: Ids, blocks: Blocklist, pins: Path) -> None:
    for number in range(1, 4):
        blocks.add([Block(ip_network(f"203.0.113.{number}"), label="feed", added_ns=time.time_ns() - number * HOUR_NS)])
    keys, values = blocks.entries((4, True))
    values["packets"] = keys.view(np.uint8).reshape(-1, 4)[:, 3] * 10
    blocks.repair((4, True), keys, values, keys[:0])
    assert listed(ids, "--top", 2) == ["203.0.113.3/32", "203.0.113.2/32"]
    assert listed(ids, "--sort", "added") == ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32"]
    (row,) = rows_of(ids("block", "list", "--by", "label", "-o", "json")[1])
    assert row == {"label": "feed", "entries": 3, "packets": 60, "bytes": 0}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("rule", {0: 3, 7: 1, 9: 1}),
        ("LABEL", {"feed": 2, "partner": 1, "rule": 2}),
        ("family", {"IPv4": 3, "IPv6": 2}),
    ],
)
def test_sums(ids: Ids, blocks: Blocklist, by: str, expected: dict[object, int]) -> None:
    mixed(blocks)
    rows = rows_of(ids("block", "list", "--by", by, "-o", "json")[1])
    key = {"rule": "sid", "LABEL": "label"}.get(by, by)
    assert {row[key]: row["entries"] for row in rows} == expected
    assert all(str(name or "no rule") in ids("block", "list", "--by", by)[1] for name in expected)


def test_one_address_is_shown_with_all_that_holds_it(ids: Ids, blocks: Blocklist) -> None:
    mixed(blocks)
    code, out, _ = ids("block", "show", "203.0.113.1")
    assert code == 0
    assert "203.0.113.1/32: 0 packets" in out
    assert "in force  enforce  by sid 7" in out
    assert "waiting   shadow   by feed, for good" in out
    assert "203.0.113.0/28 (holds 203.0.113.1/32)" in out
    code, out, _ = ids("block", "show", "203.0.113.77")
    assert (code, out) == (1, "203.0.113.77/32 is not blocked\n")
    shown = rows_of(ids("block", "show", "203.0.113.1", "-o", "json")[1])
    assert [entry["network"] for entry in shown] == ["203.0.113.1/32", "203.0.113.0/28"]
    assert {entry["asked"] for entry in shown} == {"203.0.113.1/32"}


def test_an_export_imports_again_without_loss(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    mixed(blocks)
    ids("block", "add", "198.51.100.9", "--comment", HOSTILE)
    before = rows_of(ids("block", "list", "-o", "json")[1])
    code, exported, _ = ids("block", "export")
    assert code == 0
    assert exported.isascii()
    (tmp_path / "saved").write_text(exported)
    ids("block", "delete", "198.51.100.9")
    blocks.clear()
    code, out, _ = ids("block", "import", tmp_path / "saved")
    assert (code, out) == (0, f"{tmp_path}/saved: 7 claims taken back, 0 have run out since\n")
    after = rows_of(ids("block", "list", "-o", "json")[1])

    def plain(rows: list[dict[str, object]]) -> str:
        """Times pass from one clock to another and back, which costs some microseconds."""
        text = json.dumps(rows)
        return "".join("t" if part.isdigit() and len(part) > 15 else part for part in text.replace(",", " ").split())

    assert plain(after) == plain(before)
    ends = [(one["expires_ns"], other["expires_ns"]) for one, other in zip(before, after, strict=True)]
    assert all(one == other or abs(one - other) < 10**9 for one, other in ends)


def test_an_import_of_an_export_keeps_what_was_counted(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    blocks.add([Block(ip_network("203.0.113.1"), label="feed"), Block(ip_network("198.51.100.0/24"), label="feed")])
    for kind in ((4, True), (4, False)):
        keys, values = blocks.entries(kind)
        values["packets"] = 7
        blocks.repair(kind, keys, values, keys[:0])
    (tmp_path / "saved").write_text(ids("block", "export")[1])
    assert ids("block", "import", tmp_path / "saved")[0] == 0
    assert [block.packets for block in blocks.list()] == [7, 7]


def test_an_import_of_an_export_adds_to_what_is_there(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    mixed(blocks)
    (tmp_path / "saved").write_text(ids("block", "export")[1])
    ids("block", "delete", "203.0.113.1")
    ids("block", "add", "203.0.113.1", "198.51.100.1")
    assert ids("block", "import", tmp_path / "saved")[0] == 0
    shown = rows_of(ids("block", "show", "203.0.113.1", "-o", "json")[1])[0]
    assert {shown["label"], *(other["label"] for other in shown["others"])} == {"operator", "rule", "feed"}
    assert "198.51.100.1/32" in listed(ids)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text.replace('"mode":"shadow"', '"mode":"gentle"'), "no claim"),
        (lambda text: text.replace("203.0.113.0/28", "203.0.113.1/28"), "no network"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "cut off"),
        (lambda text: text.replace('"ids_blocklist":1', '"ids_blocklist":2'), "version 2"),
        (lambda text: text.replace('"sid":7', '"sid":-7'), "out of range"),
        (lambda text: text.replace('{"network"', "[1]", 1), "no claim"),
    ],
)
def test_an_export_that_was_damaged_changes_nothing(
    ids: Ids, blocks: Blocklist, tmp_path: Path, change: Callable[[str], str], problem: str
) -> None:
    mixed(blocks)
    (tmp_path / "saved").write_text(change(ids("block", "export")[1]))
    blocks.clear()
    code, _, err = ids("block", "import", tmp_path / "saved")
    assert code == 2
    assert problem in err
    assert listed(ids) == []


def test_claims_that_have_run_out_are_left_out_and_own_addresses_refused(
    ids: Ids, blocks: Blocklist, tmp_path: Path
) -> None:
    row = {"network": "203.0.113.1/32", "mode": "enforce", "sid": 0, "label": "feed", "added_ns": 1, "expires_ns": 5}
    head = {"ids_blocklist": 1, "claims": 2}
    for network, code in (("127.0.0.0/8", 2), ("203.0.113.2/32", 0)):
        rows = [head, row, row | {"network": network, "expires_ns": None}]
        (tmp_path / "saved").write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in rows))
        assert ids("block", "import", tmp_path / "saved")[0] == code
    assert listed(ids) == ["203.0.113.2/32"]


def test_a_feed_needs_its_label_and_an_export_takes_none(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    (tmp_path / "feed").write_text("203.0.113.1\n")
    code, _, err = ids("block", "import", tmp_path / "feed")
    assert code == 2
    assert "--label" in err
    mixed(blocks)
    (tmp_path / "saved").write_text(ids("block", "export")[1])
    assert ids("block", "import", tmp_path / "saved", "--label", "x")[0] == 2


def test_a_comment_stays_until_the_block_is_deleted(ids: Ids, blocks: Blocklist) -> None:
    ids("block", "add", "203.0.113.1", "203.0.113.2", "--comment", f"ticket 12 {HOSTILE}")
    for words in (["list"], ["show", "203.0.113.1"]):
        out = ids("block", *words)[1]
        assert "# ticket 12 \\x1b[2Jgone\\u202e" in out
        assert "\x1b" not in out
    assert rows_of(ids("block", "list", "-o", "json")[1])[0]["comment"] == f"ticket 12 {HOSTILE}"
    ids("block", "delete", "203.0.113.1")
    ids("block", "add", "203.0.113.1")
    assert "ticket" not in ids("block", "show", "203.0.113.1")[1]
    assert "ticket" in ids("block", "show", "203.0.113.2")[1]


def test_a_block_that_is_changed_keeps_its_comment_unless_a_new_one_is_given(ids: Ids, blocks: Blocklist) -> None:
    ids("block", "add", "203.0.113.1", "--comment", "ticket 12")
    ids("block", "add", "203.0.113.1", "--for", "1h")
    assert "# ticket 12" in ids("block", "show", "203.0.113.1")[1]
    ids("block", "add", "203.0.113.1", "--comment", "ticket 13")
    assert "# ticket 13" in ids("block", "show", "203.0.113.1")[1]
    ids("block", "add", "203.0.113.1", "--comment", "")
    assert "#" not in ids("block", "show", "203.0.113.1")[1], "an empty one takes it away"


def test_a_comment_ends_when_its_block_is_made_shorter(
    ids: Ids, blocks: Blocklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids("block", "add", "203.0.113.1", "--comment", "ticket 12")
    ids("block", "add", "203.0.113.1", "--for", "1h")
    later_ns = time.time_ns() + 7200 * 10**9
    monkeypatch.setattr("ids.state.comments.time.time_ns", lambda: later_ns)
    blocks.add([Block(ip_network("203.0.113.1"), None, label="operator")])
    assert "ticket" not in ids("block", "show", "203.0.113.1")[1]


def test_a_block_that_is_gone_leaves_its_comment_to_no_other(ids: Ids, blocks: Blocklist) -> None:
    ids("block", "add", "203.0.113.1", "--comment", "ticket 12")
    blocks.clear()
    ids("block", "add", "203.0.113.1")
    assert "ticket" not in ids("block", "show", "203.0.113.1")[1]


def test_the_comment_of_a_feeds_claim_ends_where_the_feed_drops_it(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    feed, saved = tmp_path / "feed", tmp_path / "saved"
    blocks.add([Block(ip_network(f"203.0.113.{host}"), label="feed") for host in (1, 2)])
    head, *rows = ids("block", "export")[1].splitlines()
    saved.write_text("\n".join([head, *(json.dumps(json.loads(row) | {"comment": "ticket 12"}) for row in rows)]))
    assert ids("block", "import", saved)[0] == 0
    feed.write_text("203.0.113.2\n")
    ids("block", "import", feed, "--label", "feed")
    feed.write_text("203.0.113.1\n203.0.113.2\n")
    ids("block", "import", feed, "--label", "feed", "--for", "1h")
    entries = {entry["network"]: entry.get("comment") for entry in rows_of(ids("block", "list", "-o", "json")[1])}
    assert entries == {"203.0.113.1/32": None, "203.0.113.2/32": "ticket 12"}
    ends = {row[0]: row[3] for row in json.loads((tmp_path / "default" / "comments.json").read_text())}
    assert ends["203.0.113.2/32"] is not None, "it ends with the claim, which has an end by now"


def test_a_comment_ends_with_the_block(ids: Ids, blocks: Blocklist, monkeypatch: pytest.MonkeyPatch) -> None:
    ids("block", "add", "203.0.113.1", "--for", "1h", "--comment", "ticket 12")
    exported = ids("block", "export")[1]
    assert "ticket 12" in exported
    later_ns = time.time_ns() + 7200 * 10**9
    monkeypatch.setattr("ids.state.comments.time.time_ns", lambda: later_ns)
    blocks.add([Block(ip_network("203.0.113.1"), None, label="operator")])
    assert "ticket" not in ids("block", "show", "203.0.113.1")[1]


def test_what_is_done_by_hand_is_written_down(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    ids("block", "add", "203.0.113.1", "--comment", "ticket 12")
    ids("block", "delete", "203.0.113.1")
    ids("allow", "add", "198.51.100.0/24")
    ids("allow", "delete", "198.51.100.0/24")
    with closing(open_reading(tmp_path / "default" / "events.db")) as database:
        rows = changes(database, by_hand=True)
    assert [row.kind for row in reversed(rows)] == ["block", "unblock", "allow", "disallow"]
    assert rows[-1].detail == {"comment": "ticket 12"}
    assert {row.network for row in rows[:2]} == {"198.51.100.0/24"}


def test_a_memory_that_cannot_be_written_does_not_keep_a_block_from_being_made(
    ids: Ids, blocks: Blocklist, tmp_path: Path
) -> None:
    (tmp_path / "default").write_text("no folder")
    code, _, err = ids("block", "add", "203.0.113.1")
    assert code == 0
    assert "not written down" in err
    assert listed(ids) == ["203.0.113.1/32"]


def test_many_entries_come_in_chunks_and_each_once(
    ids: Ids, blocks: Blocklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ids.cli.listing.CHUNK", 100)
    hosts = np.arange(0xC6336400, 0xC6336400 + 1001, dtype=np.uint32)
    blocks.replace("feed", NetworkSet.of_numbers(hosts))
    assert len(set(listed(ids))) == 1001
    assert len(ids("block", "list")[1].splitlines()) == 1002
    assert ids("block", "list", "--limit", 3)[1].splitlines()[3].split()[0] == "198.51.100.2/32"


def test_without_an_engine_a_change_by_hand_is_saved_by_the_command(
    ids: Ids, blocks: Blocklist, tmp_path: Path
) -> None:
    saved = tmp_path / "default" / "lists"
    ids("block", "add", "203.0.113.9")
    loaded = load(saved)
    assert loaded is not None
    assert len(loaded.claims) == 1
    ids("allow", "add", "198.51.100.0/24")
    loaded = load(saved)
    assert loaded is not None
    assert loaded.allowed_labels == ["operator"]
    ids("block", "delete", "203.0.113.9")
    loaded = load(saved)
    assert loaded is not None
    assert len(loaded.claims) == 0
