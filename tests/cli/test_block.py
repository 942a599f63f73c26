"""`ids block` and `ids allow` on a real fast path, without an engine: what an operator types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ids.kernel import FastPath, FastPathSettings
from ids.literal import literal
from tests.cli.conftest import Ids, rows_of

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def networks(ids: Ids) -> dict[str, dict[str, Any]]:
    return {entry["network"]: entry for entry in rows_of(ids("block", "list", "-o", "json")[1])}


def test_a_block_is_added_listed_and_deleted(ids: Ids) -> None:
    assert ids("block", "add", "203.0.113.7", "2001:db8:7::/48", "--for", "1h")[0] == 0
    entry = networks(ids)["203.0.113.7/32"]
    assert (entry["mode"], entry["label"], entry["packets"]) == ("enforce", "operator", 0)
    assert "2001:db8:7::/48" in networks(ids)
    assert "operator" in ids("block", "list")[1]
    assert ids("block", "delete", "203.0.113.7", "2001:db8:7::/48")[0] == 0
    assert networks(ids) == {}


def test_deleting_what_is_not_blocked_is_reported(ids: Ids) -> None:
    code, _, err = ids("block", "delete", "203.0.113.200")
    assert code == 1
    assert "203.0.113.200/32 was not on the list" in err


@pytest.mark.parametrize("also", [True, False], ids=["blocked by itself too", "not by itself"])
def test_who_unblocks_an_address_hears_of_the_prefix_that_still_blocks_it(ids: Ids, also: bool) -> None:
    ids("block", "add", "203.0.113.64/26", *(["203.0.113.66"] if also else []))
    code, _, err = ids("block", "delete", "203.0.113.66")
    assert code == (0 if also else 1)
    assert "203.0.113.66/32 is still blocked, with all of 203.0.113.64/26 (by operator)" in err
    code, _, err = ids("block", "delete", "203.0.113.64/26")
    assert (code, err) == (0, "")


def test_a_block_of_this_host_needs_force(ids: Ids) -> None:
    code, _, err = ids("block", "add", "127.0.0.0/8")
    assert code == 2
    assert "--force" in err
    assert ids("block", "add", "127.0.0.0/8", "--force")[0] == 0
    ids("block", "delete", "127.0.0.0/8")


def test_a_block_of_a_trusted_proxy_needs_force(ids: Ids, tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    feed.write_text("203.0.113.7\n2001:db8:7::5\n198.51.100.0/24\n")
    for proxies in ("[203.0.113.0/28]", "['2001:db8:7::/48']", "[198.51.100.9]"):
        trusted = ("--set", f"respond.trusted_proxies={proxies}")
        for words in (("add", "203.0.113.0/24", "2001:db8::/32", "198.51.100.9"), ("import", feed, "--label", "x")):
            code, _, err = ids("block", *words, *trusted)
            assert code == 2
            assert "respond.trusted_proxies; --force" in err
    ids("block", "add", "198.51.100.9")
    exported = tmp_path / "export"
    exported.write_text(ids("block", "export")[1])
    ids("block", "delete", "198.51.100.9")
    code, _, err = ids("block", "import", exported, "--set", "respond.trusted_proxies=[198.51.100.0/28]")
    assert (code, "respond.trusted_proxies; --force" in err) == (2, True)
    assert networks(ids) == {}


def test_the_allow_list_is_kept_the_same_way(ids: Ids) -> None:
    assert ids("allow", "add", "198.51.100.0/24")[0] == 0
    assert "198.51.100.0/24" in ids("allow", "list")[1]
    assert ids("allow", "delete", "198.51.100.0/24")[0] == 0
    assert "empty" in ids("allow", "list")[1]


@pytest.mark.parametrize(("network", "share"), [("0.0.0.0/0", "one in 1 "), ("2000::/3", "one in 8 ")])
def test_who_allows_nearly_everybody_is_told(ids: Ids, network: str, share: str) -> None:
    code, _, err = ids("allow", "add", "10.0.0.0/8", "fc00::/7", network)
    assert (code, err.count("ids: note: ")) == (0, 1)
    assert share in err
    assert f"`ids allow delete {network}`" in err
    assert ids("allow", "delete", "10.0.0.0/8", "fc00::/7", network)[0] == 0


def test_a_feed_replaces_its_own_earlier_set_and_nobody_elses(ids: Ids, tmp_path: Path) -> None:
    feed = tmp_path / "drop.netset"
    ids("block", "add", "203.0.113.99")
    feed.write_text("# a feed\n203.0.113.0/27\n203.0.113.32/27\n198.51.100.9\n")
    assert ids("block", "import", feed, "--label", "drop")[0] == 0
    assert networks(ids).keys() == {"203.0.113.99/32", "203.0.113.0/26", "198.51.100.9/32"}
    feed.write_text("198.51.100.9\n198.51.100.10\n")
    code, out, _ = ids("block", "import", feed, "--label", "drop", "-o", "json")
    assert (code, json.loads(out)["added"], json.loads(out)["deleted"]) == (0, 1, 1)
    assert networks(ids).keys() == {"203.0.113.99/32", "198.51.100.9/32", "198.51.100.10/32"}
    assert networks(ids)["198.51.100.9/32"]["label"] == "drop"


def test_a_feed_with_bad_lines_is_in_force_without_them(ids: Ids, tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("nonsense\n" + "\n".join(f"198.51.100.{n}" for n in range(170, 190)))
    code, _, err = ids("block", "import", feed, "--label", "other")
    assert code == 1
    assert f"{feed}:1" in err
    assert "198.51.100.177/32" in networks(ids)


@pytest.mark.parametrize(
    ("good", "bad", "words", "code"),
    [
        (10, 0, [], 0),
        (9, 1, [], 1),
        (18, 2, [], 1),
        (8, 1, [], 2),
        (7, 2, [], 2),
        (7, 2, ["--force"], 1),
        (0, 0, [], 2),
        (0, 0, ["--force"], 0),
        (0, 1, ["--force"], 1),
    ],
)
def test_up_to_a_tenth_of_a_feed_may_be_unusable(
    ids: Ids, tmp_path: Path, good: int, bad: int, words: list[str], code: int
) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("192.0.2.99\n")
    assert ids("block", "import", feed, "--label", "tenth")[0] == 0
    feed.write_text("".join(f"192.0.2.{100 + n}\n" for n in range(good)) + "nonsense\n" * bad)
    assert ids("block", "import", feed, "--label", "tenth", *words)[0] == code
    ours = {network for network, entry in networks(ids).items() if entry["label"] == "tenth"}
    taken = {f"192.0.2.{100 + n}/32" for n in range(good)}
    assert ours == ({"192.0.2.99/32"} if code == 2 else taken)


def test_a_feed_that_would_cut_this_host_off_is_refused_as_a_whole(ids: Ids, tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("198.51.100.78\n127.0.0.1\n")
    assert ids("block", "import", feed, "--label", "other")[0] == 2
    assert "198.51.100.78/32" not in networks(ids)


@pytest.mark.parametrize("content", ["", "<html>\n<h1>404</h1>\n198.51.100.80\n</html>\n"], ids=["empty", "error page"])
def test_a_file_that_is_no_feed_does_not_take_its_place(ids: Ids, tmp_path: Path, content: str) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("198.51.100.91\n")
    assert ids("block", "import", feed, "--label", "kept")[0] == 0
    feed.write_text(content)
    code, _, err = ids("block", "import", feed, "--label", "kept")
    assert code == 2
    assert "--force" in err
    assert "198.51.100.91/32" in networks(ids)
    ids("block", "delete", "198.51.100.91")


def test_a_block_that_the_allow_list_overrides_is_reported(ids: Ids) -> None:
    ids("allow", "add", "198.51.100.0/24")
    code, _, err = ids("block", "add", "198.51.100.7", "203.0.113.7")
    assert code == 0
    assert "198.51.100.0/24 is on the allow-list, which wins over the block of 198.51.100.7/32" in err
    assert "block of 203.0.113.7" not in err
    ids("allow", "delete", "198.51.100.0/24")
    ids("block", "delete", "198.51.100.7", "203.0.113.7")


@pytest.mark.parametrize("label", ["[/]", ":x: [red]", "a\x1b[2J"])
def test_a_label_is_shown_as_it_is(ids: Ids, tmp_path: Path, label: str) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("198.51.100.92\n")
    assert ids("block", "import", feed, "--label", label)[0] == 0
    code, out, _ = ids("block", "list")
    assert (code, literal(label) in out) == (0, True)
    ids("block", "delete", "198.51.100.92")


@pytest.mark.parametrize(
    ("words", "attached", "reported", "noted"),
    [
        (["--for", "1h"], ["eth0"], "203.0.113.7/32 blocked, for 1h", False),
        ([], ["eth0"], "203.0.113.7/32 blocked, until deleted", False),
        (["--shadow"], ["eth0"], "203.0.113.7/32 in shadow: counted only, until deleted", False),
        ([], [], "203.0.113.7/32 on the blocklist, until deleted", True),
        (["--shadow"], [], "203.0.113.7/32 in shadow: counted only, until deleted", True),
    ],
)
def test_blocked_is_said_only_of_what_is_dropped(
    ids: Ids, monkeypatch: pytest.MonkeyPatch, words: list[str], attached: list[str], reported: str, noted: bool
) -> None:
    for module in ("block", "listing"):
        monkeypatch.setattr(f"ids.cli.{module}.guarded_interfaces", lambda _: attached)
    _, out, err = ids("block", "add", "203.0.113.7", *words)
    assert out.rstrip() == reported
    assert ("nothing is attached: nothing is dropped" in err) is noted
    assert ("nothing is attached: nothing is dropped" in ids("block", "list")[2]) is noted
    data = json.loads(ids("block", "add", "203.0.113.7", *words, "-o", "json")[1])
    assert (data["done"], data["mode"], data["attached"]) == (
        ["203.0.113.7/32"], "shadow" if "--shadow" in words else "enforce", attached,
    )  # fmt: skip
    ids("block", "delete", "203.0.113.7")


def test_a_block_that_only_counts_because_of_the_gates_mode_says_so(ids: Ids, pins: Path, tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("198.51.100.93\n")
    orders = [("block", "add", "203.0.113.7"), ("block", "import", feed, "--label", "f")]
    fastpath = FastPath.open(FastPathSettings(pin_dir=pins), "default")
    try:
        for shadow in (True, False):
            fastpath.shadow(shadow)
            for words in orders:
                assert ("the gate is in shadow mode" in ids(*words)[2]) is shadow
                assert "the gate is in shadow mode" not in ids(*words, "--shadow")[2]
    finally:
        fastpath.close("keep")
        ids("block", "delete", "203.0.113.7", "198.51.100.93")


def test_an_import_says_whether_it_is_in_force(ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("198.51.100.93\n")
    _, out, err = ids("block", "import", feed, "--label", "f")
    assert "1 network on the blocklist" in out
    assert "nothing is attached" in err
    monkeypatch.setattr("ids.cli.importing.guarded_interfaces", lambda _: ["eth0"])
    assert "1 network blocked" in ids("block", "import", feed, "--label", "f")[1]
    assert "1 network in shadow: counted only" in ids("block", "import", feed, "--label", "f", "--shadow")[1]
    ids("block", "delete", "198.51.100.93")


def test_a_block_that_is_changed_is_reported_with_what_it_was(ids: Ids) -> None:
    ids("block", "add", "203.0.113.8", "--for", "7d", "--shadow")
    assert "for 1h (before: shadow, for " in ids("block", "add", "203.0.113.8", "--for", "1h")[1]
    assert "until deleted (before: enforce, for " in ids("block", "add", "203.0.113.8")[1]
    ids("block", "delete", "203.0.113.8")


def test_ipv4_addresses_in_the_spelling_of_dual_stack_logs_are_ipv4(ids: Ids, tmp_path: Path) -> None:
    ids("block", "add", "::ffff:192.0.2.69", "::ffff:198.51.100.0/120")
    assert networks(ids).keys() >= {"192.0.2.69/32", "198.51.100.0/24"}
    assert not any(":" in network for network in networks(ids))
    assert ids("block", "delete", "::ffff:192.0.2.69", "198.51.100.0/24")[0] == 0
    assert ids("allow", "add", "::ffff:192.0.2.70")[0] == 0
    assert "192.0.2.70/32" in ids("allow", "list")[1]
    assert ids("allow", "delete", "192.0.2.70")[0] == 0
    feed = tmp_path / "feed.txt"
    feed.write_text("::ffff:192.0.2.71\n")
    ids("block", "import", feed, "--label", "log")
    assert "192.0.2.71/32" in networks(ids)
    assert ids("block", "delete", "::ffff:192.0.2.71")[0] == 0


def test_an_operator_is_shown_who_blocks_a_network_for_as_long_already(ids: Ids, tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("203.0.113.40\n")
    ids("block", "import", feed, "--label", "fa", "--for", "7d")
    code, _, err = ids("block", "add", "203.0.113.40", "203.0.113.41", "--for", "1h")
    assert code == 0
    assert "203.0.113.40/32 is already blocked by fa, for another" in err
    assert "203.0.113.41" not in err
    assert "already blocked" not in ids("block", "add", "203.0.113.40", "--for", "8d")[2]
    ids("block", "delete", "203.0.113.40", "203.0.113.41")
    ids("block", "import", feed, "--label", "fa")
    assert "already blocked by fa, for good" in ids("block", "add", "203.0.113.40")[2]
    ids("block", "delete", "203.0.113.40")


def test_every_owner_of_a_network_is_listed_and_only_a_delete_takes_it_from_all(ids: Ids, tmp_path: Path) -> None:
    feed = tmp_path / "feed.txt"
    feed.write_text("203.0.113.50\n")
    for label in ("fa", "fb"):
        code, out, _ = ids("block", "import", feed, "--label", label)
        assert (code, "1 new" in out) == (0, True)
    assert "fa, fb" in ids("block", "list")[1]
    feed.write_text("203.0.113.51\n")
    ids("block", "import", feed, "--label", "fa")
    assert networks(ids)["203.0.113.50/32"]["label"] == "fb"
    ids("block", "import", feed, "--label", "fb", "--shadow")
    entry = networks(ids)["203.0.113.51/32"]
    assert (entry["label"], entry["mode"]) == ("fa", "enforce")
    (other,) = entry["others"]
    assert other | {"added_ns": 0} == {
        "mode": "shadow", "sid": 0, "label": "fb", "added_ns": 0, "expires_ns": None, "comment": None,
    }  # fmt: skip
    ids("block", "delete", "203.0.113.51")
    assert "203.0.113.51/32" not in networks(ids)
