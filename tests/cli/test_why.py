"""`ids why`: everything about one address, in every state of affairs, and commands that undo it."""

from __future__ import annotations

import json
import shlex
import socket
import textwrap
import time
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import pytest

from ids.config import load_config
from ids.errors import KernelError
from ids.kernel import Block, Blocklist
from ids.respond.policy import Penalty
from ids.state import penalties
from ids.store.database import open_writing, store_path
from ids.store.rows import alert_row, change_row, insertion
from ids.types import BlockMode, Change
from tests.cli.conftest import Ids, rows_of
from tests.store.samples import ROTTEN, line, rot

pytestmark = [pytest.mark.root, pytest.mark.xdp]

HOUR_NS = 3_600_000_000_000
ATTACKER = "203.0.113.66"
HOSTILE = "/?q=\x1b[2J\u202e<script>"
ORIGIN = "/etc/ids/rules/web.yaml:12"


def remember(folder: Path, origin: str = ORIGIN, *, alert: bool = True, **event: object) -> int:
    """Write down an attack of an hour ago: a block by rule 7, and its alert; return the moment."""
    now_ns = time.time_ns() - HOUR_NS // 2
    evidence = [{"buffer": "http.uri", "offset": 0, "excerpt": HOSTILE}]
    detail = {"signature": "Injection\x1b[31m", "rule": origin, "evidence": evidence}
    block = Change(
        "block", now_ns, ip_network(ATTACKER), 7, "rule", BlockMode.ENFORCE, now_ns + HOUR_NS, 77, detail=detail
    )
    ids = {"packet_ts_ns": now_ns, "rule": origin, "evidence": evidence}
    with closing(open_writing(store_path(str(folder), "default"))) as database:
        database.execute(insertion("changes"), change_row(block))
        if alert:
            row = alert_row(line(0, signature_id=7, src_ip=ATTACKER, flow_id=77, ids=ids, **event), now_ns)
            database.execute(insertion("alerts"), row)
    return now_ns


def blocked(blocks: Blocklist) -> None:
    blocks.add([Block(ip_network(ATTACKER), time.time_ns() + HOUR_NS, sid=7, label="rule")])


def test_a_block_by_a_rule_is_explained_in_full(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    remember(tmp_path, packet="RQAAKA==", in_iface="eth0", app_proto="http")
    blocked(blocks)
    penalties.save(tmp_path / "default", [Penalty(ip_network(ATTACKER), 3, time.time_ns() + HOUR_NS, True)])
    code, out, _ = ids("why", ATTACKER)
    assert code == 0
    for said in (
        "is on the blocklist, but no interface has the program",
        "in force  enforce  by sid 7, another ",
        "Rule 7: Injection\\x1b[31m",
        ORIGIN,
        "saw in http.uri at 0: /?q=\\x1b[2J\\u202e<script>".replace("\\u202e", "\\x202e"),
        "alert 1, flow 77: TCP 203.0.113.66 port 40000 to 203.0.113.1 port 80 on eth0, http",
        "45 00 00 28",
        f"block     {ATTACKER}/32 until",
        "Blocked before: 203.0.113.66/32, 3 times",
        "[ ] it is on the allow-list",
        "[x] no interface has the program",
        f"ids block delete {ATTACKER}/32",
        f"ids allow add {ATTACKER}/32",
        f"ids penalties reset {ATTACKER}/32",
        "or except it from rule 7 by the settings",
        "- {sid: 7, src_ip: ['203.0.113.66']}",
    ):
        assert said in out, said
    assert "\x1b" not in out
    assert "not known" not in out


def test_the_commands_undo_it(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    remember(tmp_path)
    blocked(blocks)
    penalties.save(tmp_path / "default", [Penalty(ip_network(ATTACKER), 3, time.time_ns() + HOUR_NS, True)])
    undo = json.loads(ids("why", ATTACKER, "-o", "json")[1])["undo"]
    for row in undo:
        program, *words = shlex.split(row["command"])
        assert program == "ids"
        assert ids(*words)[0] == 0, row
    code, out, _ = ids("why", ATTACKER)
    assert code == 1
    assert "is not blocked" in out
    assert "To keep it from being blocked:" in out
    assert "To undo it:" not in out
    assert "unblock" in out
    assert penalties.load(tmp_path / "default") == []
    assert ids("allow", "delete", ATTACKER)[0] == 0


def test_who_lifted_it_and_when_is_shown(ids: Ids, blocks: Blocklist, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked(blocks)
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("SUDO_UID", "1000")
    ids("block", "delete", ATTACKER)
    code, out, _ = ids("why", ATTACKER)
    assert code == 1
    assert f"unblock   {ATTACKER}/32 by alice (uid 1000): ids" in out


@pytest.mark.parametrize("subject", ["77", "1", f"{ATTACKER}/32", "203.0.113.64/28", "::ffff:203.0.113.66"])
def test_it_is_found_by_flow_alert_address_and_network(
    ids: Ids, blocks: Blocklist, tmp_path: Path, subject: str
) -> None:
    remember(tmp_path)
    code, out, _ = ids("why", subject)
    assert code == 1
    assert "Rule 7: Injection" in out
    assert ("is about 203.0.113.66/32" in out) is subject.isdecimal()


def test_a_block_whose_alert_was_suppressed_still_has_its_evidence(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    remember(tmp_path, alert=False)
    blocked(blocks)
    answer = json.loads(ids("why", "77", "-o", "json")[1])
    assert answer["alert"] is None
    assert answer["evidence"][0]["excerpt"] == HOSTILE
    assert answer["cause"]["detail"]["rule"] == ORIGIN


@pytest.mark.parametrize("origin", [ORIGIN, "/usr/lib/ids/share/ids/rules/base/web.yaml:1", "/etc/et/web.rules:9"])
def test_the_exception_is_one_of_the_settings_whosever_file_the_rule_is_in(
    ids: Ids, blocks: Blocklist, tmp_path: Path, origin: str
) -> None:
    remember(tmp_path, origin)
    out = ids("why", ATTACKER)[1]
    told = out.partition("or except it from rule 7 by the settings, and `ids reload")[2].partition("\n")[2]
    settings = tmp_path / "settings.yaml"
    settings.write_text(textwrap.dedent(told))
    (exception,) = load_config(settings).respond.exceptions
    assert (exception.sid, exception.gid, [str(net) for net in exception.src_ip]) == (7, 1, [f"{ATTACKER}/32"])
    assert "[ ] the rule has an exception that fits" in out
    assert "[x] the rule has an exception that fits" in ids("why", ATTACKER, "-c", str(settings))[1]


def test_a_feed_brings_it_back_and_a_wider_entry_holds_it(ids: Ids, blocks: Blocklist) -> None:
    blocks.add([Block(ip_network("203.0.113.0/24"), None, label="spamhaus")])
    out = ids("why", ATTACKER)[1]
    assert "203.0.113.0/24 (holds 203.0.113.66/32)" in out
    assert "ids block delete 203.0.113.0/24" in out
    assert "spamhaus brings it back" in out


def test_the_allow_list_wins_and_a_shadow_only_counts(ids: Ids, blocks: Blocklist) -> None:
    blocks.add([Block(ip_network(ATTACKER), None, BlockMode.SHADOW, label="feed")])
    assert "is not dropped: its block is a shadow" in ids("why", ATTACKER)[1]
    ids("allow", "add", "203.0.113.0/24")
    code, out, _ = ids("why", ATTACKER)
    assert code == 0
    assert "passes: 203.0.113.0/24 is allowed" in out
    assert "[x] it is on the allow-list" in out
    assert "ids allow delete 203.0.113.0/24" in out


def test_without_a_fast_path_and_without_a_memory_it_says_what_is_not_known(
    ids: Ids, blocks: Blocklist, tmp_path: Path
) -> None:
    code, out, _ = ids("why", ATTACKER, "--set", "instance=other")
    assert code == 1
    assert out.count("not known:") == 2
    assert "--set instance=other" in out, "the commands mean the same engine"


def test_lists_that_cannot_be_read_are_not_taken_for_empty_ones(
    ids: Ids, blocks: Blocklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Blocklist:
        raise KernelError("cannot open the pin: Permission denied", "Run as root")

    blocked(blocks)
    monkeypatch.setattr("ids.store.places.Blocklist.open", refused)
    monkeypatch.setattr("ids.store.places.guarded_interfaces", lambda _: ())  # as a folder looks that one may not open
    code, out, _ = ids("why", ATTACKER)
    assert code == 3
    assert out.startswith(f"Whether {ATTACKER}/32 is blocked is not known")
    assert "is not blocked" not in out
    assert "[x]" not in out
    code, out, _ = ids("why", ATTACKER, "--json")
    assert json.loads(out)["known"] is False


def test_an_engine_that_hangs_is_named_and_the_rest_is_answered(
    ids: Ids, blocks: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ids.cli.penalties.ASK_S", 0.05)
    blocked(blocks)
    penalties.save(tmp_path / "default", [Penalty(ip_network(ATTACKER), 3, time.time_ns() + HOUR_NS, True)])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(tmp_path / "default.sock"))
        deaf.listen(1)
        code, out, _ = ids("why", ATTACKER, "--set", f"engine.runtime_dir={tmp_path}")
    assert code == 0
    assert "by sid 7" in out
    assert "203.0.113.66/32, 3 times" in out
    assert "not known: the engine at" in out


def test_a_memory_that_is_damaged_costs_only_its_part(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    blocked(blocks)
    remember(tmp_path)
    path = store_path(str(tmp_path), "default")
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xa5" * (path.stat().st_size - 100))
    code, out, _ = ids("why", ATTACKER)
    assert code == 0
    assert "by sid 7" in out
    assert "not known:" in out


def test_events_that_are_damaged_cost_only_what_they_say(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    blocked(blocks)
    remember(tmp_path)
    for text in ROTTEN:
        with closing(open_writing(store_path(str(tmp_path), "default"))) as database:
            rot(database, text)
        for subject in (ATTACKER, 1, 77):
            code, out, _ = ids("why", subject)
            assert code == 0, (subject, text)
            assert "Rule 7" in out, (subject, text)
            assert ATTACKER in ids("why", subject, "-o", "json")[1]


@pytest.mark.parametrize("word", ["example.org", "203.0.113.1/24", "999999", "9" * 30])
def test_what_is_nothing_of_these_is_refused(ids: Ids, blocks: Blocklist, tmp_path: Path, word: str) -> None:
    remember(tmp_path)
    code, _, err = ids("why", word)
    assert code == 2
    assert "ids:" in err


def test_penalties_are_listed_and_reset_without_an_engine(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    now_ns = time.time_ns()
    folder = tmp_path / "default"
    rows = [
        Penalty(ip_network("192.0.2.1"), 2, now_ns + HOUR_NS, True),
        Penalty(ip_network("2001:db8::/64"), 1, 5, True),
    ]
    penalties.save(folder, rows)
    blocks.add([Block(ip_network("192.0.2.1"), now_ns + HOUR_NS, sid=7, label="rule")])
    out = ids("penalties", "list")[1]
    assert "192.0.2.1/32" in out
    assert "the next lasts 4 times as long" in out
    assert ids("penalties", "reset")[0] == 2
    assert ids("penalties", "reset", "2001:db8::1")[1] == "2001:db8::/64 counts as never blocked\n"
    assert ids("penalties", "reset", "2001:db8::1")[0] == 1
    assert penalties.load(folder) == rows[:1]
    assert ids("penalties", "reset", "--all", "-o", "json")[1] == '{"done": ["192.0.2.1/32"]}\n'
    assert ids("penalties", "list")[1] == "nobody was blocked before\n"


def test_a_block_that_was_lifted_before_its_end_is_no_penalty(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    end_ns = time.time_ns() + HOUR_NS
    rows = [Penalty(ip_network(ATTACKER), 1, end_ns, True), Penalty(ip_network("192.0.2.1"), 3, end_ns, True)]
    penalties.save(tmp_path / "default", rows)
    blocked(blocks)
    blocks.add([Block(ip_network("192.0.2.1"), end_ns, sid=7, label="rule")])
    assert "2 times as long" in ids("penalties", "list")[1].splitlines()[0]
    assert ids("block", "delete", ATTACKER, "192.0.2.1")[0] == 0
    assert [(row["network"], row["times"]) for row in rows_of(ids("penalties", "list", "-o", "json")[1])] == [
        ("192.0.2.1/32", 2)
    ], "as the next block takes them"
    assert "Blocked before" not in ids("why", ATTACKER)[1]
    assert "192.0.2.1/32, 2 times" in ids("why", "192.0.2.1")[1]


def test_what_is_blocked_inside_a_network_is_named(ids: Ids, blocks: Blocklist) -> None:
    blocks.add([Block(ip_network(f"203.0.113.{last}"), None, label="feed") for last in range(64, 76)])
    code, out, _ = ids("why", "203.0.113.64/29")
    assert code == 1, "not all of it is"
    assert "is not blocked as a whole, but 8 of it: 203.0.113.64/32, " in out
    assert "--match" not in out
    assert "but 12 of it: 203.0.113.64/32, " in (out := ids("why", "203.0.113.0/24")[1])
    assert "(`ids block list --match 203.0.113.0/24`)" in out
    assert json.loads(ids("why", "203.0.113.72/29", "-o", "json")[1])["within"]["networks"] == 4
    assert "203.0.113.1/32 is not blocked.\n" in ids("why", "203.0.113.1")[1]


def test_a_trusted_proxy_is_said_to_be_one_and_its_client_is_named(ids: Ids, blocks: Blocklist, tmp_path: Path) -> None:
    remember(tmp_path)
    client = {"ip": "198.51.100.7", "via": "x-forwarded-for", "proxy": ATTACKER}
    with closing(open_writing(store_path(str(tmp_path), "default"))) as database:
        row = alert_row(line(1, signature_id=7, src_ip=ATTACKER, ids={"client": client}), 1)
        database.execute(insertion("alerts"), row)
    proxies = ("--set", f"respond.trusted_proxies=[{ATTACKER}]")
    out = ids("why", ATTACKER, *proxies)[1]
    assert f"{ATTACKER}/32 is not blocked: a trusted proxy never is, its flows are dropped instead." in out
    assert "[x] it is a trusted proxy (respond.trusted_proxies)" in out
    assert " for 198.51.100.7  sid 7" in ids("why", "198.51.100.7")[1]
    assert "trusted proxy" not in ids("why", "198.51.100.7", *proxies)[1]
