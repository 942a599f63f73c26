"""``lua``: what a script's needs make of a rule, and why a rule is left out, with its place and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.authoring.lints import lints
from ids.cli import cli
from ids.rules.language.loader import load_rules
from ids.rules.model import lua
from ids.rules.model.rule import Rule
from ids.rules.model.script import MAX_SCRIPT_BYTES, Script
from ids.types import Direction
from tests.rules.test_lua import script

SERVER, CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


def left_out(
    tmp_path: Path, source: str | bytes | None, options: str = "", header: str = "tcp"
) -> tuple[str, str, str]:
    """Return cause, message and remedy for which a rule with a script is left out."""
    path = tmp_path / "r.rules"
    if source is not None:
        (tmp_path / "x.lua").write_bytes(source if isinstance(source, bytes) else source.encode())
    path.write_text(f"alert {header} any any -> any any ({options}lua:x.lua; sid:1;)\n")
    (error,) = load_rules([path]).refused
    return error.cause, str(error), error.remedy


def rule_of(tmp_path: Path, source: str, options: str = "", header: str = "tcp") -> Rule:
    """Return a rule with a script."""
    path = tmp_path / "r.rules"
    (tmp_path / "x.lua").write_text(source)
    path.write_text(f"alert {header} any any -> any any ({options} lua:x.lua; sid:1;)\n")
    (rule,) = load_rules([path]).rules
    return rule


@pytest.mark.parametrize(
    ("need", "buffers", "direction"),
    [
        ("http.uri", {"http.uri"}, SERVER),
        ("http.request_headers", {"http.header"}, None),
        ("http.response_headers.raw", {"http.header.raw"}, CLIENT),
        ("http.response_cookie", {"http.cookie"}, None),
        ("http.response_body", {"http.response_body"}, CLIENT),
        ("dns.rrname", {"dns.query"}, SERVER),
        ("dns.request", set(), SERVER),
        ("dns.response", set(), CLIENT),
        ("tls", set(), None),
        ("stream", {"payload"}, None),
        ("payload", {"payload"}, None),
        ("packet", set(), None),
    ],
)
def test_a_need_scopes_the_rule(tmp_path: Path, need: str, buffers: set[str], direction: Direction | None) -> None:
    header = "dns" if need.startswith("dns") else "tcp"
    rule = rule_of(tmp_path, script("return 1", need), header=header)
    assert (set(rule.buffers), rule.flow.direction) == (buffers, direction)
    assert rule.exchanges == ({need.partition(".")[0]} if need in ("dns.request", "dns.response", "tls") else set())
    payload_of = {"payload": "packet", "packet": "packet", "stream": "stream"}.get(need)
    assert rule.flow.payload_of == payload_of


def test_a_direction_that_is_said_is_the_rules(tmp_path: Path) -> None:
    for options in ("flow:to_client;", "flow:established,to_client;"):
        rule = rule_of(tmp_path, script("return 1", "http.request_headers.raw"), options, "http")
        assert rule.flow.direction == CLIENT, "as Suricata has it, whose buffer is that of both sides"


def test_a_script_comes_last(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, script("return 1", "payload"), 'lua:x.lua; content:"a"; dsize:>3;')
    assert [isinstance(part, Script) for part in rule.condition.parts] == [False, False, True, True]


@pytest.mark.parametrize("costly", ["while true do end", "for _ = 1, 3e6 do end"])
def test_a_load_with_many_costly_scripts_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, costly: str) -> None:
    """Whether they end by themselves, or are ended."""
    monkeypatch.setattr(lua, "COSTLY_S", 2 * lua.LOAD_CPU_S if "while" in costly else 1e-3)
    monkeypatch.setattr(lua, "ORDINARY_S", 1e-3)
    for number in range(40):
        (tmp_path / f"{number}.lua").write_text(script("return 1", "payload") + f"\n{costly} -- {number}")
    (tmp_path / "good.lua").write_text(script("return 1", "payload"))
    names = [*(f"{number}.lua" for number in range(40)), "good.lua"]
    path = tmp_path / "r.rules"
    path.write_text(
        "".join(f"alert tcp any any -> any any (lua:{name}; sid:{n};)\n" for n, name in enumerate(names, 1))
    )
    loaded = load_rules([path])
    untried = [error for error in loaded.refused if "it is not tried: scripts before it took" in str(error)]
    assert (len(loaded.rules), len(loaded.refused), len(untried)) == ((0, 41, 39) if "while" in costly else (1, 40, 40))
    path.write_text("alert tcp any any -> any any (lua:good.lua; sid:1;)\n")
    assert len(load_rules([path]).rules) == 1, "the next load tries anew"


def test_a_script_is_the_rules_own(tmp_path: Path) -> None:
    rule = rule_of(tmp_path, script("return 1", "http.uri"), 'msg:"m"; gid:3; rev:4; classtype:trojan-activity;')
    assert rule.scripts[0].rule == (3, 1, 4, "m", "A Network Trojan was detected", 1)


@pytest.mark.parametrize(
    ("source", "cause", "message"),
    [
        (None, "malformed", "cannot be read: no such file"),
        (b"--" + bytes(MAX_SCRIPT_BYTES), "malformed", "is larger than 256 KiB"),
        ("function init(", "malformed", "x.lua: x.lua:1: <name> or '...' expected near '<eof>'"),
        ("\n\nx = = 1", "malformed", "x.lua: x.lua:3: unexpected symbol near '='"),
        ("function init() return {} end", "malformed", "x.lua: it has no function match"),
        ("function match() end", "malformed", "x.lua: it has no function init"),
        ("function init() end function match() end", "malformed", "init returns no table of what the script needs"),
        ("error('at once')", "malformed", "x.lua: x.lua:1: at once"),
        ("while true do end", "malformed", "x.lua: it takes more than 0.5 s"),
        ("x = ('x'):rep(1e9)", "malformed", "x.lua: it takes more than"),
        (b"\x1bLua\x51\0\1\4", "malformed", "x.lua: it is compiled; give its source"),
        ("require('socket')", "malformed", "require: there is no module socket here"),
        (script("return 1", "http.urrl"), "malformed", "x.lua needs 'http.urrl', which is not known"),
        (
            script("return 1", more='needs.payload = "no"'),
            "malformed",
            "x.lua needs payload = 'no' (its value has to be true",
        ),
        (script("return 1", "http.uri", "http.request_body"), "malformed", "together"),
        (script("return 1", "tls", "payload"), "malformed", "together"),
        (script("return 1", "buffer"), "malformed", "x.lua needs the buffer, and none is named before it"),
        (
            script("return 1", more='needs.bytevar = {"a"}'),
            "malformed",
            "no byte_extract or byte_math before it sets 'a'",
        ),
        (script("return 1", more='needs.bytevar = "a"'), "malformed", "bytevar is no table of names"),
        (script("return 1", more='needs.flowvar = {"a"}'), "lua flowvar", "x.lua needs flowvar: scripts see no state"),
        (script("return 1", more='needs.flowint = {"a"}'), "lua flowint", "x.lua needs flowint: scripts see no state"),
        (script("SCFlowintIncr(0)"), "lua function", "x.lua uses SCFlowintIncr, which is not there for scripts"),
        (script("io.open('a') os.time()"), "lua function", "x.lua uses io, os, which is not there for scripts"),
    ],
)
def test_why_a_rule_is_left_out(tmp_path: Path, source: str | bytes | None, cause: str, message: str) -> None:
    found, text, remedy = left_out(tmp_path, source)
    assert found == cause
    assert f"r.rules:1:{len('alert tcp any any -> any any (') + 1}: lua: " in text
    assert message in text
    assert remedy or "urrl" not in message


@pytest.mark.parametrize(
    ("need", "options", "header", "message"),
    [
        ("tls", "", "http", "x.lua needs tls, and the rule is on http"),
        ("payload", "flow:only_stream; ", "tcp", "x.lua needs packets, and the rule is on streams"),
        ("packet", 'http.uri; content:"a"; ', "http", "x.lua needs packet of single packets, beside http.uri"),
        ("payload", 'http.uri; content:"a"; ', "http", "x.lua needs payload of single packets, beside http.uri"),
        ("stream", "", "udp", "x.lua needs the stream, which udp has not"),
        ("dns.request", "flow:to_client; ", "dns", "x.lua needs dns.request, which is the client's, but flow asks"),
        ("dns.response", "flow:to_server; ", "dns", "x.lua needs dns.response, which is the server's, but flow"),
        ("smtp", "flow:to_client; ", "smtp", "x.lua needs smtp, which is the client's, but flow asks for to_client"),
        ("http.uri", "", "tls", "never meet"),
        ("http.uri", "flow:to_client; ", "http", "http.uri is sent by the client"),
    ],
)
def test_needs_and_the_rule_contradict_each_other(
    tmp_path: Path, need: str, options: str, header: str, message: str
) -> None:
    assert message in left_out(tmp_path, script("return 1", need), options, header)[1]


def test_the_name_is_from_the_folder_of_the_rules(tmp_path: Path) -> None:
    (tmp_path / "lua").mkdir()
    (tmp_path / "lua" / "a b.lua").write_text(script("return 1", "payload"))
    path = tmp_path / "r.rules"
    path.write_text("alert tcp any any -> any any (lua:! lua/a b.lua ; sid:1;)\n")
    (rule,) = load_rules([path]).rules
    assert [(one.name, one.negated) for one in rule.scripts] == [("lua/a b.lua", True)]


@pytest.mark.parametrize(
    ("need", "options", "names"),
    [
        ("payload", "", "payload"),
        ("packet", "", "packet"),
        ("tls", "", "exchange of tls"),
        ("http.uri", "", "http.uri"),
    ],
)
def test_a_script_alone_is_warned_of(tmp_path: Path, need: str, options: str, names: str) -> None:
    rule_of(tmp_path, script("return 1", need), options)
    found = [lint for lint in lints(load_rules([tmp_path / "r.rules"])) if lint.name == "no-literal"]
    assert [lint.message for lint in found] == [f"sid 1: no literal to look for, so it is evaluated on every {names}"]
    rule_of(tmp_path, script("return 1", "payload"), 'content:"something rare";')
    assert not [lint for lint in lints(load_rules([tmp_path / "r.rules"])) if lint.name == "no-literal"]


def test_yaml_has_no_scripts(tmp_path: Path) -> None:
    rule_of(tmp_path, script("return 1", "payload"), 'msg:"m";')
    result = CliRunner().invoke(cli, ["rules", "import", str(tmp_path / "r.rules")])
    assert "0 rules converted, 1 not" in result.stderr
    assert "a script, which the keyword lua asks" in result.stderr


@pytest.mark.parametrize(("answer", "shown"), [("return 1", "ok  the script x.lua says yes"),
                                               ("return 0", "NO  the script x.lua says yes"),
                                               ("error('why')", "x.lua:8: why")])  # fmt: skip
def test_explain_shows_what_a_script_said(tmp_path: Path, answer: str, shown: str) -> None:
    rule_of(tmp_path, script(answer, "http.uri"), 'msg:"m"; http.uri; content:"jndi";', "http")
    pcap = Path(__file__).parents[3] / "pcaps" / "log4shell.pcap"
    result = CliRunner().invoke(cli, ["rules", "explain", f"{tmp_path / 'r.rules'}:1", str(pcap)])
    assert " ".join(shown.split()) in " ".join(result.output.split())
