"""Which functions a script names, by its text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.match.facts import _FACTS
from ids.rules.model.script import LOOKUPS, VALUES, functions_of
from tests.shared import ROOT


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("return DnsGetTxid()", ["DnsGetTxid"]),
        ("local f = HttpGetRequestHeader f('Host')", ["HttpGetRequestHeader"]),
        ('x = "a"..SCPacketPayload()', ["SCPacketPayload"]),
        ("-- DnsGetTxid()\nSCFlowId()", ["SCFlowId"]),
        ("--[[ DnsGetTxid()\n]] SCFlowId()", ["SCFlowId"]),
        ("--[==[ ]] DnsGetTxid() ]==] SCFlowId()", ["SCFlowId"]),
        ('x = \'DnsGetTxid()\' .. "\\"DnsGetTxid()"', []),
        ("x = [[DnsGetTxid()]] y = [=[ ]] SCFlowId() ]=]", []),
        ("t.DnsGetTxid() t:SCFlowId()", []),
        ("SCLogInfo(SCRuleSid) print('x')", []),
    ],
)
def test_what_is_called_is_named(source: str, named: list[str]) -> None:
    assert functions_of(source.encode()) == (tuple(named), [])


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("SCFlowvarSet(0, 'a', 1)", ["SCFlowvarSet"]),
        ("f = SCFlowintIncr", ["SCFlowintIncr"]),
        ("SCFlowHasAlerts() SCStreamingBuffer() SCLogPath()", ["SCFlowHasAlerts", "SCLogPath", "SCStreamingBuffer"]),
        ("HttpGetEverything()", ["HttpGetEverything"]),
        ("io.open('/etc/passwd') os.time() package.path = '' debug.getinfo(1) python.eval('1')",
         ["debug", "io", "os", "package", "python"]),
        ("loadstring('x')() dofile 'a' load {}", ["dofile", "load", "loadstring"]),
        ("os['exec' .. 'ute']('id')", ["os"]),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named(source: str, missing: list[str]) -> None:
    assert functions_of(source.encode())[1] == missing


@pytest.mark.parametrize(
    "source",
    [
        "local SCORE = 0 SCAN = 1",
        "local debug = false if debug then end",
        "local function load(x) return x end load(1)",
        "config = {load = 1, io = 2}",
        "payload:load(1)",
    ],
)
def test_other_names_are_the_scripts_own(source: str) -> None:
    assert functions_of(source.encode()) == ((), [])


def test_each_function_has_what_finds_its_values_out() -> None:
    assert _FACTS.keys() | {"SCByteVarGet"} == VALUES | LOOKUPS


@given(st.binary(max_size=200) | st.text("SCFlowId()dDnsGet. \n'\"-[]", max_size=80).map(str.encode))
def test_of_any_text_no_more_is_found_than_stands_in_it(source: bytes) -> None:
    named, missing = functions_of(source)
    assert {*named} <= VALUES | LOOKUPS
    assert all(name.encode() in source for name in (*named, *missing))
    assert {*named}.isdisjoint(missing)


_NOISE = st.sampled_from(["-- {}\n", "--[[ {} ]]", '"{}"', "'{}'", "[==[ {} ]==]", "t.{}"])


@given(st.lists(_NOISE, max_size=6), st.lists(_NOISE, max_size=6))
def test_a_call_is_found_among_what_only_looks_like_one(before: list[str], behind: list[str]) -> None:
    hidden = ["; ".join(one.format("DnsGetTxid()") for one in some) for some in (before, behind)]
    assert functions_of(f"{hidden[0]} ; SCFlowId() ; {hidden[1]}".encode()) == (("SCFlowId",), [])
    assert functions_of(f"{hidden[0]} ; {hidden[1]}".encode()) == ((), [])


def test_every_function_is_documented() -> None:
    text = (ROOT / "docs" / "rules.md").read_text()
    assert [name for name in sorted(VALUES | LOOKUPS) if name not in text] == []
