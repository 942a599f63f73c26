"""Scripts of rules in Lua: what they may do, what ends them, and what they see of a packet, a stream or an exchange."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.errors import RulesRefused
from ids.rules.language.loader import load_rules
from ids.rules.match.evaluation import MAX_FAULTS, SET_ASIDE_S
from ids.rules.model.lua import SCRIPTS, ScriptError, ScriptTimeout, needs_of, says_yes
from ids.rules.model.script import Script, functions_of
from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.protocols import handshakes as tls
from tests.protocols import questions as dns
from tests.protocols.mails import SESSION
from tests.protocols.test_ssh import ANSWERS, SAYS

TCP, HTTP, UDP = (f"alert {protocol} any any -> any any" for protocol in ("tcp", "http", "udp"))
GET = b"GET /a%20b?id=7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl\r\nCookie: c=1\r\n\r\n"
OK = to_client(b"HTTP/1.1 200 OK\r\nServer: nginx\r\nSet-Cookie: s=2\r\nContent-Length: 5\r\n\r\nhello")


def script(match: str, *needs: str, more: str = "") -> str:
    """Spell a script: what its function match does, and what it needs."""
    named = "".join(f'needs["{need}"] = tostring(true)\n' for need in needs)
    init = f"function init(args)\nlocal needs = {{}}\n{named}{more}\nreturn needs\nend\n"
    return f"{init}function match(args)\n{match}\nend\n"


def says(match: str, args: Mapping[bytes, Any] | None = None, sid: int = 1) -> bool:
    """Ask a script by itself."""
    source = script(match).encode()
    functions, _ = functions_of(source)
    asked = Script("x.lua", source, f"{hash(source)}", functions=functions, rule=(1, sid, 0, "", "", 3))
    return says_yes(asked, args or {}, {})


def started(tmp_path: Path, source: str, *rules: str, more: Iterable[str] = ()) -> Session:
    """Return an engine with rules, ``{}`` in which is the script."""
    (tmp_path / "x.lua").write_text(source)
    path = tmp_path / "r.rules"
    path.write_text("".join(f"{one.format('x.lua')}\n" for one in rules))
    return Session(f"rules.paths=[{path}]", "rules.strict=true", *more, rules=Rules())


def web(tmp_path: Path, source: str, options: str = "", header: str = HTTP) -> list[int]:
    """Return what a rule with a script finds in an HTTP exchange."""
    session = started(tmp_path, source, f"{header} ({options} lua:{{}}; sid:1;)")
    session.tcp(GET, OK)
    session.end()
    assert "rules.faults" not in session.counters.values
    return session.sids


# What a script may do.


@pytest.mark.parametrize(
    ("match", "yes"),
    [
        ("return 1", True),
        ("return 0", False),
        ("return 2", False),
        ("return true", False),
        ('return "1"', False),
        ("return nil", False),
        ("return {retval = 1}", True),
        ('return {retval = "1", other = "x"}', True),
        ("return {retval = 0}", False),
        ("return {}", False),
    ],
)
def test_one_is_yes(match: str, yes: bool) -> None:
    assert says(match) is yes


def test_bytes_stay_bytes() -> None:
    every = bytes(range(256)) * 2
    assert says(
        "local s = args.payload return #s == 512 and s:byte(256) == 255 and s:byte(1) == 0 and 1", {b"payload": every}
    )


def test_globals_last_from_call_to_call_of_one_rule() -> None:
    match = "n = (n or 0) + 1 return n == 2 and 1 or 0"
    assert [says(match, sid=5), says(match, sid=5), says(match, sid=6)] == [False, True, False]


@given(st.integers(-(2**31), 2**32 - 1), st.integers(-(2**31), 2**32 - 1), st.integers(0, 31))
@settings(max_examples=60)
def test_bit_is_that_of_luajit(a: int, b: int, n: int) -> None:
    def signed(x: int) -> int:
        return (x + 2**31) % 2**32 - 2**31

    ua, expected = a % 2**32, {
        f"bit.band({a}, {b})": signed(a & b), f"bit.bor({a}, {b})": signed(a | b), f"bit.bxor({a}, {b})": signed(a ^ b),
        f"bit.bnot({a})": signed(~a), f"bit.tobit({a})": signed(a), f"bit.lshift({a}, {n})": signed(a % 2**32 << n),
        f"bit.rshift({a}, {n})": signed(a % 2**32 >> n), f"bit.arshift({a}, {n})": signed(a) >> n,
    }  # fmt: skip
    expected[f"bit.rol({a}, {n})"] = signed(ua << n | ua >> (32 - n))
    expected[f"bit.ror({a}, {n})"] = signed(ua >> n | ua << (32 - n))
    expected[f"bit.bswap({a})"] = signed(int.from_bytes(ua.to_bytes(4, "big"), "little"))
    tests = " and ".join(f"{call} == {value}" for call, value in expected.items())
    assert says(f'return {tests} and bit.tohex({a}) == "{ua:08x}" and require("bit") == bit and 1 or 0')


@pytest.mark.parametrize(
    "name",
    ["io", "os", "package", "debug", "python", "dofile", "loadfile", "load", "loadstring", "setfenv", "getfenv",
     "collectgarbage", "module", "newproxy", "string.dump", "_G.io", "rawget(_G, 'os')"],
)  # fmt: skip
def test_nothing_outside_is_there(name: str) -> None:
    assert says(f"return {name} == nil and 1 or 0")


@pytest.mark.parametrize(
    "match",
    [
        "return getmetatable('').__index == string and string.dump == nil and 1 or 0",
        "local ok = pcall(require, 'io') return ok and 0 or 1",
        "local ok = pcall(require, 'os') return ok and 0 or 1",
        # Whatever a function here gets for itself, or an error carries, it is none of Python's objects.
        "local ok, e = pcall(error, {}) return type(e) == 'table' and 1 or 0",
        "local ok, e = pcall(require) return type(e) == 'string' and 1 or 0",
        "for k, v in pairs(_G) do if type(v) == 'userdata' then return 0 end end return 1",
        "for k, v in pairs(args) do if type(v) == 'userdata' then return 0 end end return 1",
        "local ok, e = pcall(function() return coroutine.wrap(function() return io.open('/etc/passwd') end)() end)"
        " return ok and 0 or 1",
    ],
)
def test_there_is_no_way_around(match: str) -> None:
    assert says(match, {b"payload": b"x"})


def test_what_is_compiled_is_not_run() -> None:
    with pytest.raises(ScriptError, match="it is compiled"):
        needs_of("x.lua", b"\x1bLua\x51\x00", ())


@pytest.mark.parametrize(
    "needs",
    [
        'local long = ("x"):rep(3e6) return {bytevar = {long, long}}',
        'return {[("x"):rep(257)] = "true"}',
        'return {payload = ("true"):rep(100)}',
        "local all = {} for n = 1, 65 do all[n] = 'v' .. n end return {bytevar = all}",
        "local all = {} for n = 1, 65 do all['v' .. n] = true end return all",
    ],
)
def test_what_a_script_says_it_needs_is_bounded(needs: str) -> None:
    source = f"function init() {needs} end function match() return 1 end"
    with pytest.raises(ScriptError, match="init needs what has no name, or a long one, or too much"):
        needs_of("x.lua", source.encode(), ())


# What ends a script.


@pytest.mark.parametrize(
    "match",
    [
        "while true do end",
        "while true do pcall(error, 'x') end",
        "while true do pcall(string.rep, 'x', 1e9) end",
        "return ('a'):rep(40):find(('a-'):rep(40) .. 'b') and 1 or 0",
        "local co = coroutine.wrap(function() while true do end end) co()",
        "getmetatable('').__concat = function() while true do end end return {} .. ''",
        "return setmetatable({}, {__index = function() while true do end end}).x",
        "table.sort(setmetatable({}, {}), function() end) while true do end",
    ],
)
def test_a_script_that_does_not_end_is_ended(match: str) -> None:
    with pytest.raises(ScriptTimeout, match=r"it takes more than 0\.1 s"):
        says(match)
    assert says("return 1"), "the next one finds another child"


@pytest.mark.parametrize(
    "match",
    [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
        "kept = kept or {} while true do kept[#kept + 1] = {} end",
        "return #(('x'):rep(1e9))",
    ],
)
def test_a_script_that_takes_too_much_memory_fails(match: str) -> None:
    with pytest.raises(ScriptError, match=r"it takes more than (32 MiB of memory|0.1 s)"):
        says(match)
    assert says("return 1")


def test_what_a_script_keeps_is_bounded_too() -> None:
    match = "kept = (kept or '') .. ('x'):rep(9e6) return #kept == 9e6 and 1 or 0"
    answers: list[bool | None] = []
    for _ in range(8):
        try:
            answers.append(says(match))
        except ScriptError:
            answers.append(None)
    assert None in answers, "it was too much at one time"
    assert answers.count(True) > 1, "and then it began anew"


def test_a_script_that_crashes_its_process_has_failed() -> None:
    deep = "return ('a'):rep(1e6):find(('a?'):rep(1e6)) and 1 or 0"
    with pytest.raises(ScriptTimeout):
        says(deep)
    assert says("return 1")


def test_a_child_that_dies_is_started_again() -> None:
    assert says("return 1", sid=7)
    before = SCRIPTS.starts
    assert SCRIPTS._process is not None
    os.kill(SCRIPTS._process.pid, signal.SIGKILL)
    with pytest.raises(ScriptTimeout):
        says("return 1", sid=7)
    assert says("return 1", sid=7)
    assert SCRIPTS.starts == before + 1


def test_the_engine_has_no_lua_in_it() -> None:
    assert says("return 1")
    assert "lupa" not in Path("/proc/self/maps").read_text()


def test_a_script_that_takes_too_long_is_set_aside(tmp_path: Path) -> None:
    session = started(tmp_path, script("while true do end", "payload"), f"{UDP} (lua:{{}}; sid:1;)")
    for _ in range(30):
        session.udp(b"x", dport=4000)
    assert session.counters["rules.faults"] == 3, "at four faults each, the third is too much"
    assert session.counters["rules.faulty.1"] == 3
    assert session.counters["rules.set_aside"] == 1
    assert session.counters["rules.skipped"] == 27
    session.wait(SET_ASIDE_S + 1)
    session.udp(b"x", dport=4000)
    assert session.counters["rules.faults"] == 4, "it is tried again, so that nobody switches it off for good"
    session.end()


def test_the_log_names_the_line_of_a_script_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = started(tmp_path, script("return args.payload:foo()", "payload"), f"{UDP} (lua:{{}}; sid:1;)")
    session.udp(b"x", dport=4000)
    session.end()
    (said,) = [record for record in caplog.records if "failed" in record.getMessage()]
    assert re.search(r"rule 1 \(.*\) failed: script .*lua:\d+: attempt to call method 'foo'", said.getMessage())
    assert said.exc_info in (None, (None, None, None)), "the engine's own lines say nothing about it"


def test_a_script_that_fails_is_counted_and_goes_on(tmp_path: Path) -> None:
    """Traffic may provoke an error at will; that costs no more than an answer, so it switches nothing off."""
    match = 'if args.payload == "bad" then error("no") end return 1'
    session = started(tmp_path, script(match, "payload"), f"{UDP} (lua:{{}}; sid:1;)", f"{UDP} (lua:!{{}}; sid:2;)")
    for _ in range(MAX_FAULTS + 5):
        session.udp(b"bad", dport=4000)
    assert session.counters["rules.faulty.1"] == session.counters["rules.faulty.2"] == MAX_FAULTS + 5
    assert "rules.set_aside" not in session.counters.values
    assert session.sids == []
    session.udp(b"good", dport=4000)
    session.end()
    assert session.sids == [1]


@pytest.mark.parametrize(
    ("match", "why"),
    [
        ("local x = nil + 1", r"x.lua: x.lua:7: attempt to perform arithmetic"),
        ("error('why', 0)", "x.lua: why"),
        ("error({})", "no text"),
        (r"error('a\027[31mb\nc', 0)", r"x.lua: a\\x1b\[31mb\\nc$"),
        ("error(setmetatable({}, {__tostring = function() while true do end end}))", "no text"),
        ("return nil_function()", "attempt to call global 'nil_function'"),
        ("local function f() return f() + 1 end return f()", "stack overflow"),
    ],
)
def test_an_error_says_what_and_where(match: str, why: str) -> None:
    with pytest.raises(ScriptError, match=why):
        says(match)


# What a script sees.


@pytest.mark.parametrize(
    ("need", "seen"),
    [
        ("http.uri", "/a b?id=7"),
        ("http.uri.raw", "/a%20b?id=7"),
        ("http.request_line", "GET /a%20b?id=7 HTTP/1.1"),
        ("http.request_headers", "Host: shop.example\r\nUser-Agent: curl\r\n"),
        ("http.request_cookie", "c=1"),
        ("http.request_user_agent", "curl"),
        ("http.response_body", "hello"),
        ("http.response_cookie", "s=2"),
        ("http.response_headers", "Server: nginx\r\nContent-Length: 5\r\n"),
    ],
)
def test_a_need_is_a_buffer_of_one_side(tmp_path: Path, need: str, seen: str) -> None:
    literal = seen.replace("\r\n", "\\r\\n")
    assert web(tmp_path, script(f'return args["{need}"] == "{literal}" and args.offset == 1 and 1 or 0', need)) == [1]


@pytest.mark.parametrize(
    ("need", "begins"),
    [("http.request_headers.raw", "Host: shop"), ("http.response_headers.raw", "Server: nginx")],
)
def test_headers_as_sent(tmp_path: Path, need: str, begins: str) -> None:
    assert web(tmp_path, script(f'return args["{need}"]:find("^{begins}") and 1 or 0', need)) == [1]


@pytest.mark.parametrize("need", ["http.request_headers", "http.response_headers"])
def test_headers_are_of_both_sides_where_the_rule_names_none(tmp_path: Path, need: str) -> None:
    assert web(tmp_path, script("return 1", need)) == [1, 1]
    assert web(tmp_path, script("return 1", need), "flow:to_client;") == [1]


def test_a_request_body(tmp_path: Path) -> None:
    session = started(
        tmp_path, script('return args["http.request_body"] == "a=1" and 1 or 0', "http.request_body"),
        f"{HTTP} (lua:{{}}; sid:1;)",
    )  # fmt: skip
    session.tcp(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=1", OK)
    session.end()
    assert session.sids == [1]


def test_a_script_is_asked_of_the_sticky_buffer_before_it(tmp_path: Path) -> None:
    source = script('return args.buffer == "CURL" and 1 or 0', "buffer")
    assert web(tmp_path, source, "http.user_agent; to_uppercase;") == [1]
    assert web(tmp_path, source, 'http.user_agent; to_uppercase; content:"URL";') == [1]
    assert web(tmp_path, source, "http.host; to_uppercase;") == []


def test_a_script_is_told_where_the_content_before_it_ended(tmp_path: Path) -> None:
    source = script('return args.buffer:sub(args.offset) == "7" and 1 or 0', "buffer")
    assert web(tmp_path, source, 'http.uri; content:"id=";') == [1]


def test_a_script_is_asked_of_the_instance_that_the_content_is_in(tmp_path: Path) -> None:
    source = script('return args["dns.rrname"] == "b.example" and 1 or 0', "dns.rrname")
    session = started(
        tmp_path, source,
        'alert dns any any -> any any (dns.query; content:"b."; lua:{}; sid:1;)',
        'alert dns any any -> any any (dns.query; content:"a."; lua:{}; sid:2;)',
    )  # fmt: skip
    session.udp(dns.message(dns.question(b"a.example"), dns.question(b"b.example")))
    session.end()
    assert session.sids == [1]


def test_a_script_is_asked_only_where_the_rest_holds(tmp_path: Path) -> None:
    source = script('error("asked")', "http.uri")
    assert web(tmp_path, source, 'http.uri; content:"nowhere";') == []
    assert web(tmp_path, source, 'http.method; content:"POST";') == []


def test_negation_turns_the_answer_round(tmp_path: Path) -> None:
    for answer, found in ((0, [1]), (1, [])):
        session = started(tmp_path, script(f"return {answer}", "http.uri"), f"{HTTP} (lua:!{{}}; sid:1;)")
        session.tcp(GET, OK)
        session.end()
        assert session.sids == found


def test_of_what_is_not_there_nobody_is_asked(tmp_path: Path) -> None:
    session = started(tmp_path, script("return 0", "http.request_body"), f"{HTTP} (lua:!{{}}; sid:1;)")
    session.tcp(GET, OK)
    session.end()
    assert session.sids == []


def test_payload_is_that_of_one_packet(tmp_path: Path) -> None:
    source = script('return args.payload == "two" and SCPacketPayload() == "two" and 1 or 0', "payload")
    session = started(tmp_path, source, f"{TCP} (flow:to_server; lua:{{}}; sid:1;)")
    session.tcp(b"one", b"two", dport=4444)
    session.end()
    assert session.sids == [1]


def test_a_packet_has_its_headers(tmp_path: Path) -> None:
    match = (
        "local p = args.packet return p:byte(13) == 8 and p:byte(14) == 0 and p:sub(-3) == 'two' and #p > 43 and 1 or 0"
    )
    session = started(tmp_path, script(match, "packet"), f"{UDP} (lua:{{}}; sid:1;)")
    session.udp(b"one", b"two", dport=4444)
    session.end()
    assert session.sids == [1]


def test_a_stream_is_what_came_so_far(tmp_path: Path) -> None:
    source = script('return args.stream:find("ne!tw") and 1 or 0', "stream")
    session = started(tmp_path, source, f"{TCP} (lua:{{}}; sid:1;)")
    session.tcp(b"one!", b"two", dport=4444, batch=1)
    session.end()
    assert session.sids == [1]


@pytest.mark.parametrize(
    "call",
    [
        "DnsGetQueries()", "DnsGetAnswers()", "DnsGetDnsRrname()", "TlsGetCertChain()", "SMTPGetRcptList()",
        "SMTPGetMimeField('From')", "HttpGetRequestHost()", "SshGetClientProtoVersion()", "Ja3GetHash()",
        "SCRuleClass()",
    ],
)  # fmt: skip
def test_of_a_protocol_that_is_not_spoken_nothing_is_known(tmp_path: Path, call: str) -> None:
    source = script(f"return {call} == nil and 1 or 0", "payload")
    session = started(tmp_path, source, f"{UDP} (lua:{{}}; sid:1;)")
    session.udp(b"x", dport=4000)
    session.end()
    assert session.sids == [1]


def test_variables_of_the_rule_by_number(tmp_path: Path) -> None:
    more = 'needs.bytevar = {"b", "a"}'
    match = "return SCByteVarGet(0) == 0x6364 + 1 and SCByteVarGet(1) == 0x61 and SCByteVarGet(2) == nil and 1 or 0"
    options = 'content:"abcd"; byte_extract:1,0,a; byte_math:bytes 2,offset 2,oper +,rvalue 1,result b;'
    session = started(tmp_path, script(match, more=more), f"{UDP} ({options} lua:{{}}; sid:1;)")
    session.udp(b"abcd", dport=4000)
    session.udp(b"abcdabcd", dport=4000)
    session.udp(b"xabcd", dport=4000)
    session.end()
    assert session.sids == [1, 1]


def found_in(
    tmp_path: Path, facts: Mapping[str, str], need: str, header: str, said: Iterable[Any], udp: bool
) -> list[str]:
    """Return which of the facts, expressions of Lua each, do not hold in an exchange."""
    wrong = []
    for sid, (call, value) in enumerate(facts.items(), 1):
        source = script(f"return {call} == {value} and 1 or 0", need)
        session = started(tmp_path, source, f"{header} (lua:{{}}; sid:{sid};)")
        (session.udp if udp else session.tcp)(*said)
        session.end()
        if sid not in session.sids:
            wrong.append(call)
    return wrong


def test_the_rule_the_packet_and_the_flow(tmp_path: Path) -> None:
    (tmp_path / "x.lua").write_text("")
    facts = {
        "SCRuleSid": "5", "SCRuleRev": "3", "SCRuleGid": "1", "SCRuleMsg()": '"title"',
        "select(2, SCRuleIds())": "3", "select(2, SCRuleClass())": "1",
        "SCRuleClass()": '"A Network Trojan was detected"',
        "SCPacketTuple()": "4", "select(2, SCPacketTuple())": '"203.0.113.1"',
        "select(3, SCPacketTuple())": '"192.0.2.1"', "select(4, SCPacketTuple())": "17",
        "select(5, SCPacketTuple())": "4000", "select('#', SCPacketTuple())": "6",
        "select(2, SCFlowTuple())": '"192.0.2.1"', "select(6, SCFlowTuple())": "4000",
        "SCFlowAppLayerProto()": '"unknown"', "select('#', SCFlowAppLayerProto())": "5",
        "type(SCFlowId())": '"number"', "SCFlowStats()": "1", "select(3, SCFlowStats())": "1",
        "#SCPacketTimeString()": "26", "SCPacketTimeString():sub(3, 3)": '"/"',
        "SCPacketTimestamp() >= SCFlowTimestamps()": "true", "select('#', SCFlowTimestamps())": "4",
        "SCFlowTimeString() ~= nil": "true", "SCPacketPayload()": '"answer"', "type(SCThreadInfo())": '"number"',
        "HttpGetRequestHost()": "nil", "DnsGetTxid()": "nil",
    }  # fmt: skip
    tests = " and ".join(f"({call}) == {value}" for call, value in facts.items())
    source = script(f"return {tests} and 1 or 0", "payload")
    options = "msg:title; classtype:trojan-activity; flow:to_client; lua:{}; rev:3; sid:5;".replace("title", '"title"')
    session = started(tmp_path, source, f"{UDP} ({options})")
    session.udp(b"question", to_client(b"answer"), dport=4000)
    session.end()
    assert session.sids == [5]


def test_http(tmp_path: Path) -> None:
    of_request = {
        "HttpGetRequestHost()": '"shop.example"', "HttpGetRequestHeader('user-agent')": '"curl"',
        "HttpGetRequestHeader('Absent')": "nil", "HttpGetRequestLine()": '"GET /a%20b?id=7 HTTP/1.1"',
        "HttpGetRequestUriRaw()": '"/a%20b?id=7"', "HttpGetRequestUriNormalized()": '"/a b?id=7"',
        "HttpGetRequestHeaders()['User-Agent']": '"curl"', "HttpGetRawRequestHeaders():sub(1, 5)": '"Host:"',
    }  # fmt: skip
    of_response = {
        "HttpGetResponseLine()": '"HTTP/1.1 200 OK"', "HttpGetResponseHeader('SERVER')": '"nginx"',
        "HttpGetResponseHeaders().Server": '"nginx"', "HttpGetRawResponseHeaders():sub(1, 7)": '"Server:"',
        "HttpGetResponseBody()[1]": '"hello"', "select(3, HttpGetResponseBody())": "5",
    }  # fmt: skip
    assert found_in(tmp_path, of_request, "http.uri", HTTP, (GET, OK), udp=False) == []
    assert found_in(tmp_path, of_response, "http.response_body", HTTP, (GET, OK), udp=False) == []
    assert found_in(tmp_path, of_request, "http.response_body", HTTP, (GET, OK), udp=False) == [], "its request is kept"


def test_dns(tmp_path: Path) -> None:
    header = "alert dns any any -> any any"
    asked = dns.question(b"a.example")
    address = dns.record(dns.A, bytes((192, 0, 2, 7)), ttl=60)
    zone = dns.record(dns.NS, dns.name(b"ns.example"), of=dns.name(b"example"))
    said = (
        dns.message(asked),
        to_client(dns.message(asked, answers=(address,), authorities=(zone,), flags=dns.ANSWER | 3)),
    )
    either = {
        "DnsGetTxid()": "0x1234", "DnsGetDnsRrname()": '"a.example"', "DnsGetQueries()[0].rrname": '"a.example"',
        "DnsGetQueries()[0].type": '"A"', "DnsGetQueries()[1]": "nil",
    }  # fmt: skip
    of_response = {
        "DnsGetAnswers()[0].addr": '"192.0.2.7"', "DnsGetAnswers()[0].ttl": "60", "DnsGetAnswers()[0].type": '"A"',
        "DnsGetAnswers()[0].rrname": '"a.example"', "DnsGetAuthorities()[0].type": '"NS"',
        "DnsGetRcode()": '"NXDOMAIN"', "DnsGetRecursionDesired()": "true",
    }  # fmt: skip
    assert found_in(tmp_path, either | {"next(DnsGetAnswers())": "nil"}, "dns.request", header, said, udp=True) == []
    assert found_in(tmp_path, either | of_response, "dns.response", header, said, udp=True) == []
    assert found_in(tmp_path, of_response, "dns.request", header, said, udp=True) == [*of_response]


def test_tls(tmp_path: Path) -> None:
    header = "alert tls any any -> any any"
    said = tls.client_side(), to_client(tls.server_side(tls.certificate()))
    known = {
        "TlsGetSNI()": '"Host.example"', "#Ja3GetHash()": "32", "Ja3GetString():sub(1, 4)": '"771,"',
        "#Ja3SGetHash()": "32", "Ja3SGetString():sub(1, 4)": '"771,"', "TlsGetVersion()": '"TLS 1.2"',
        "select(2, TlsGetCertInfo())": '"CN=host.example"', "select(3, TlsGetCertInfo())": '"C=XX, CN=Some CA"',
        "TlsGetCertSerial()": '"00:97:E6"', "TlsGetCertNotBefore()": "1609556645",
        "TlsGetCertNotAfter()": "2556241445", "TlsGetCertChain()[0].length == #TlsGetCertChain()[0].data": "true",
    }  # fmt: skip
    assert found_in(tmp_path, known, "tls", header, said, udp=False) == []


def test_ssh(tmp_path: Path) -> None:
    header = "alert ssh any any -> any any"
    known = {
        "SshGetClientProtoVersion()": '"2.0"', "SshGetClientSoftwareVersion()": '"OpenSSH_9.2"',
        "SshGetServerProtoVersion()": '"1.99"', "SshGetServerSoftwareVersion()": '"dropbear_2022"',
        "#HasshGet()": "32", "HasshGetString():sub(1, 4)": '"kex1"', "#HasshServerGet()": "32",
        "HasshServerGetString():sub(1, 4)": '"kex1"',
    }  # fmt: skip
    assert found_in(tmp_path, known, "ssh", header, (SAYS, to_client(ANSWERS)), udp=False) == []


def test_mail(tmp_path: Path) -> None:
    header = "alert smtp any any -> any any"
    said = [to_client(data) if side else data for side, data in SESSION]
    known = {
        "SMTPGetMailFrom()": '"<a@x.example>"', "SMTPGetRcptList()[1]": '"<b@y.example>"',
        "SMTPGetRcptList()[2]": '"<c@z.example>"', "SMTPGetMimeField('Message-ID')": '"<1@x>"',
        "SMTPGetMimeField('X-Mailer')": '"mailer"', "SMTPGetMimeList()[1]": '"from"',
    }  # fmt: skip
    assert found_in(tmp_path, known, "smtp", header, said, udp=False) == []


def test_a_protocol_that_is_not_spoken_is_not_asked_about(tmp_path: Path) -> None:
    assert web(tmp_path, script("return 1", "tls"), header=TCP) == []
    assert web(tmp_path, script("return 0", "tls"), header=TCP) == []


def test_several_workers_of_a_rule_have_states_of_their_own(tmp_path: Path) -> None:
    """A process that is forked asks a child of its own."""
    assert says("return 1")
    mine = SCRIPTS.starts
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(write, b"%d %d" % (says("return 1"), SCRIPTS.starts))
        SCRIPTS.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b"1 %d" % (mine + 1)
    assert says("return 1")
    assert SCRIPTS.starts == mine


# What is loaded again.


def test_a_changed_script_is_seen_at_a_reload(tmp_path: Path) -> None:
    session = started(tmp_path, script("return 0", "http.uri"), f"{HTTP} (lua:{{}}; sid:1;)")
    session.tcp(GET, OK)
    assert session.sids == []
    (tmp_path / "x.lua").write_text(script("return 1", "http.uri"))
    assert session.reload() == []
    session.tcp(GET, OK)
    session.end()
    assert session.sids == [1]


def test_rules_that_are_kept_know_their_scripts(tmp_path: Path) -> None:
    """The cache of rules holds them with the scripts that they had, and does not answer for others."""
    path = tmp_path / "r.rules"
    path.write_text(f"{HTTP} (lua:x.lua; sid:1;)\n")

    def sources() -> list[bytes]:
        loaded = load_rules([path], cache=tmp_path / "cache")
        return [one.source for rule in loaded.rules for one in rule.scripts]

    assert sources() == [], "it is not there yet"
    for text in (script("return 0", "http.uri"), script("return 1", "http.uri")):
        (tmp_path / "x.lua").write_text(text)
        assert [sources(), sources()] == [[text.encode()]] * 2
    assert len(list((tmp_path / "cache").glob("*.rules"))) == 3, "one for each"


def test_a_reload_with_a_broken_script_is_refused(tmp_path: Path) -> None:
    session = started(tmp_path, script("return 1", "http.uri"), f"{HTTP} (lua:{{}}; sid:1;)")
    (tmp_path / "x.lua").write_text("function init(")
    (error,) = session.reload()
    assert isinstance(error, RulesRefused)
    session.tcp(GET, OK)
    session.end()
    assert session.sids == [1]
