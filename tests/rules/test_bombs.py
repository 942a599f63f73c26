"""Rule files made to hurt whoever loads them, and rules made to hurt whoever is protected by them.

Each is loaded, and plays its traffic, in a process of its own, under limits. It ends in a clear error, with path, line
and what is wrong, or in what it says, within bounds that are counted: steps, and mebibytes at the peak. Seconds are not
asserted; a child has a generous limit of processor time as a net.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.shared import ROOT

pytestmark = pytest.mark.long

MEBIBYTES = 300
"""Of memory at the peak, beside what the program itself takes, where a row does not say more."""
MEBIBYTES_ASIDE = 640
"""Of the child that compiles: its own limit, and what it took before."""

Text = str | bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Bomb:
    """A file of rules, or several, what is sent, and what comes of it."""

    name: str
    files: Mapping[str, Text]
    says: str = ""
    """An error that has to come, as a regular expression: behind the path, or with ``^`` all of it. None: all rules
    load."""
    loads: int | None = None
    """How many rules load; where an error is expected, none."""
    traffic: bytes = b""
    datagram: bytes = b""
    alerts: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counters that are at least so high."""
    mebibytes: int = MEBIBYTES


def yaml_rule(match: str, more: str = "", traffic: str = "tcp") -> str:
    """Return a file with one rule."""
    return f"rules:\n  - title: bomb\n    sid: 9000001\n    traffic: {traffic}\n    match: {match}\n{more}"


def rule(options: str, sid: int = 1, traffic: str = "tcp any any -> any any") -> str:
    """Return a line of Suricata's language."""
    return f'alert {traffic} (msg:"bomb"; {options} sid:{sid}; rev:1;)\n'


def yara(strings: str, condition: str = "any of them", head: str = "") -> str:
    """Return a file with one rule of YARA."""
    return f"{head}rule bomb {{ meta: sid = 9000001 strings: {strings} condition: {condition} }}\n"


def in_yaml(name: str, text: Text, says: str, **more: Any) -> Bomb:
    return Bomb(name, {"bomb.yaml": text}, says, **more)


def in_rules(name: str, text: str | bytes, says: str, **more: Any) -> Bomb:
    return Bomb(name, {"bomb.rules": text}, says, **more)


def in_yara(
    name: str, strings: str, says: str = "", condition: str = "any of them", head: str = "", **more: Any
) -> Bomb:
    return Bomb(name, {"bomb.yar": yara(strings, condition, head)}, says, **more)


def regex(name: str, pattern: str, says: str = "", **more: Any) -> Bomb:
    """A regex that is looked for in many a's, behind which it nearly fits."""
    return in_yaml(
        name, yaml_rule(f"[payload: {{regex: '{pattern}'}}]"), says, **{"traffic": b"b" + AAAA + b"bc", **more}
    )


def chain(name: str, options: str, says: str = "", **more: Any) -> Bomb:
    """A rule that finds its literals in many a's, and not in their order."""
    return in_rules(name, rule(options), says, **{"traffic": b"b" + AAAA, **more})


def lines(count: int, line: Callable[[int], str]) -> str:
    return "".join(map(line, range(count)))


def words(count: int) -> str:
    return ",".join(f"w{n:05}" for n in range(count))


def nested(word: str, depth: int) -> str:
    return f"[{word}: " * depth + "[payload: {contains: abc}]" + "]" * depth


def listed(file: str, kind: str = "string") -> str:
    """Return a rule that asks for a list in a file."""
    asked = "src_ip: a" if kind == "ip" else "payload: {in_list: a}"
    return f"lists: [{{name: a, file: {file}, kind: {kind}}}]\n" + yaml_rule(f"[{asked}]")


def of_zeros(size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return write


LAUGHS = "a: &a [lol, lol]\n" + lines(30, lambda n: f"a{n}: &a{n} [*a{n - 1 if n else ''}, *a{n - 1 if n else ''}]\n")
AAAA = b"a" * 30_000
ABC = 'content:"abc";'
HEAD = "rules:\n  - title: x\n    sid: 9000001\n    traffic: tcp\n"
HTTP = "http any any -> any any"
LOOPS = "for all i in (1..100000): (for all j in (1..100000): (i + j != 0))"
NETWORKS = ",".join(f"10.{n >> 8 & 255}.{n & 255}.0/{8 + n % 17}" for n in range(3500))
PORTS = "".join(f",!{n}" for n in range(1, 20_000, 2))
EXHAUSTED = {"rules.exhausted": 1}
SET_ASIDE = {"rules.set_aside": 1}

YAML_FILES = [
    in_yaml("a billion laughs", LAUGHS, r"2:\d+: YAML aliases .* not supported"),
    in_yaml("an anchor within itself", "rules: &a [*a]\n", "1:12: YAML aliases"),
    in_yaml("merge keys", HEAD + "    <<: {sid: 2}\n", "5:5: .*merge"),
    in_yaml("a key twice", HEAD + "    sid: 2\n", "5:5: key 'sid' is given twice"),
    in_yaml("lists within each other", "rules: " + "[" * 100_000, r"1:\d+: is nested deeper than 64"),
    in_yaml("mappings within each other", "rules: " + "{a: " * 100_000, r"1:\d+: is nested deeper than 64"),
    in_yaml("blocks, each deeper", lines(5000, lambda n: " " * n + "a:\n"), r"\d+:\d+: is nested deeper than 64"),
    in_yaml("any within any", yaml_rule("[" + "any: [" * 60 + "]" * 61), r"5:\d+: is nested deeper than 64"),
    in_yaml("none of none of none", yaml_rule(nested("none", 40)), r"5:\d+: .*nested"),
    in_yaml("a hundred megabytes", of_zeros(100 << 20), " is larger than 16 MiB", mebibytes=64),
    in_yaml("a text of fifteen megabytes", HEAD + f"    description: {'x' * (15 << 20)}\n", r"5:\d+: .{,300}$"),
    in_yaml("a number of a million digits", f"rules: [{{sid: {'9' * 1_000_000}}}]\n", "1:15: is a number of 1000000"),
    in_yaml("a number of a million sixtieths", f"rules: [{{sid: 1{':59' * 1_000_000}}}]\n", "1:15: is a number of 30"),
    in_yaml("a key of a million digits", f"? {'9' * 1_000_000}\n: 1\n", "1:3: is a number of 1000000"),
    in_yaml(
        "a hundred thousand unknown keys",
        f"rules: [{{{','.join(f'titl{n}: 1' for n in range(100_000))}}}]\n",
        ".*more faults",
    ),
    in_yaml(
        "a hundred thousand faults",
        f"lists: [{{name: a, items: [{'[],' * 99_000}]}}]\n",
        ".*more faults are not listed",
    ),
    in_yaml("a date that is none", HEAD + "    date: 2026-99-99\n", r"5:\d+: is no valid value"),
    in_yaml("a date for a key", HEAD + "    2026-99-99: 1\n", "5:5: is no valid value"),
    in_yaml(
        "a tag for a time, and no time", HEAD + "    date: !!timestamp soon\n", r"5:\d+: YAML tags \('!!timestamp'\)"
    ),
    in_yaml("a tag for a number, and no number", HEAD + "    rev: !!int ''\n", r"5:\d+: is no valid value"),
    in_yaml("a tag for a truth, and no truth", HEAD + "    silent: !!bool perhaps\n", r"5:\d+: is no valid value"),
    in_yaml("a tag that runs code", "rules: [!!python/object/apply:os.system id]\n", "1:9: YAML tags .*not supported"),
    in_yaml("binary that is none", HEAD + "    description: !!binary a\n", r"5:\d+: "),
    in_yaml(
        "infinity for a number",
        "rules: [{title: x, sid: .inf}]\n",
        "1:25: sid: input should be a valid integer, not inf",
    ),
    in_yaml("a list for a key", "rules:\n  ? [a, b]\n  : c\n", r"2:5: key \['a', 'b'\] is neither text nor"),
    in_yaml("NUL bytes", b"rules: [\0\0]\n", r"1:9: is not valid YAML: .*U\+0000"),
    in_yaml("bytes that are no UTF-8", b"rules: [\xff\xfe]\n", "1:9: is not UTF-8 at byte 8"),
    in_yaml("half a character", yaml_rule(r'[payload: {contains: "\ud800"}]'), r"5:\d+: is not valid YAML"),
    in_yaml("a key of another alphabet", HEAD + "    m\u0430tch: []\n", "5:5: unknown key .*did you mean 'match'"),
    in_yaml("too many items", f"lists: [{{name: a, items: [{'x,' * 100_001}]}}]\n", r"1:19: .*at most 100000"),
    in_yaml(
        "twenty thousand alternatives", yaml_rule(f"[payload: {{contains: [{words(20_000)}]}}]"), r"5:\d+: .*256 tests"
    ),
    in_yaml("nine transforms", yaml_rule(f"[payload{'|md5|sha1' * 5}: {{contains: abc}}]"), r"5:\d+: .*transform"),
    in_yaml("hosts that never end", listed("/dev/zero", "ip"), r"6:21: /dev/zero: .*no file that ends"),
    in_yaml("names that never end", listed("/dev/zero"), r"6:32: /dev/zero: .*no file that ends"),
    Bomb(
        "a list that waits for a writer",
        {"bomb.yaml": listed("pipe"), "pipe": os.mkfifo},
        "^.*/pipe: .*no file that ends",
    ),
    Bomb(
        "base64 within base64",
        {"a.yaml": yaml_rule(f"[payload{'|base64' * 8}: {{contains: abc}}]")},
        traffic=b"QUFB" * 9000,
    ),
]

TRAFFIC = [
    Bomb("networks within each other", {"a.rules": rule(ABC, 1, f"tcp [{NETWORKS}] any -> any any")}),
    Bomb("ports that are not", {"a.rules": rule(ABC, 1, f"tcp any [1:65535{PORTS}] -> any any")}),
    Bomb(
        "a rule of a megabyte",
        {"a.rules": rule(ABC, 1, f"tcp any [1:65535{PORTS * 20}] -> any any")},
        "1:1: .*longer than 65,536",
    ),
    Bomb(
        "brackets",
        {"a.rules": rule(ABC, 1, f"tcp {'[' * 9999}192.0.2.1{']' * 9999} any -> any any")},
        "1:11: .*nested deeper",
    ),
    Bomb(
        "negations",
        {"a.rules": rule(ABC, 1, f"tcp {'[!' * 9999}192.0.2.1{']' * 9999} any -> any any")},
        "1:11: .*nested deeper",
    ),
]

REGEXES = [
    regex("nested quantifiers", "(a+)+$"),
    regex("nested quantifiers and a back-reference", r"(a+)+(b)\2$"),
    regex("look-ahead that backtracks", "(?=(a|a|aa)+$)a+b"),
    regex("look-behind and look-ahead", "(?<=b)(?=(a+)+c)a+"),
    regex("look-ahead at every place", "(?=(a{0,3000}d))a+b", traffic=b"d" + AAAA + b"b"),
    regex("a regex that calls itself", "b(a(?1)?a)+$|b(a|b(?2))+c"),
    regex("a regex that calls itself, and no more", "b|a(?R)", alerts=1),
    regex("huge repeats", "((a{1,1000}){1,1000}){1,1000}", r"5:\d+: regex .*too large"),
    regex("a repeat of more than is counted", "a{1,100000}b", r"5:\d+: regex .*too large"),
    regex("many counted classes", "(?:[^&]{0,1000}x){20}"),
    regex("groups within each other", "(" * 10_000 + "a" + ")" * 10_000, r"5:\d+: regex .{,300}$"),
    regex("fifty thousand alternatives", "|".join(f"w{n:05}" for n in range(50_000)), r"5:\d+: regex .{,300}$"),
    regex("a class that never closes", "[" * 1000, r"5:\d+: regex"),
    Bomb("Suricata's regex", {"a.rules": rule(r'content:"aaa"; pcre:"/(a+)+(b)\2$/";')}, traffic=AAAA),
    Bomb("a regex without a literal", {"a.rules": rule(r'pcre:"/(.+)+(.)\2$/";')}, traffic=AAAA + b"bc"),
    Bomb(
        "a transform that backtracks",
        {"a.rules": rule(r'http.uri; pcrexform:"((?:a+)+(?=b)c)$"; content:"a";', 2, HTTP)},
        traffic=b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", alerts=1,
    ),
]  # fmt: skip

CHAINS = [
    chain("contents that go back", 'content:"a"; ' + 'content:"a"; distance:0; ' * 30 + 'content:"b"; distance:0;'),
    chain(
        "contents, then a regex", 'content:"a"; ' + 'content:"a"; distance:0; ' * 10 + 'pcre:"/^b/R";', counts=EXHAUSTED
    ),
    chain(
        "caseless contents",
        'content:"a"; nocase; ' + 'content:"A"; nocase; distance:0; ' * 9 + 'content:"b"; distance:0;',
    ),
    chain(
        "a jump backwards",
        'content:"a"; '
        + 'byte_jump:1,0,relative,post_offset -200; content:"a"; distance:0; ' * 9
        + 'content:"b"; distance:0;',
        counts=EXHAUSTED,
    ),
    chain(
        "numbers at each place",
        'content:"a"; ' + 'byte_test:1,=,97,0,relative; content:"a"; distance:0; ' * 9 + 'content:"b"; distance:0;',
        counts=EXHAUSTED,
    ),
    chain(
        "digits at each place",
        'content:"a"; ' + 'byte_test:0,=,97,0,relative,string,dec; content:"a"; distance:0; ' * 9,
        counts=EXHAUSTED,
    ),
    chain(
        "thousands of contents that are not",
        'content:"a"; ' + "".join(f'content:!"w{n:04}"; ' for n in range(3000)),
        alerts=11,  # once in 2,560 bytes
    ),
    chain(
        "a shift by four thousand million",
        'byte_math:bytes 4, offset 0, oper <<, rvalue 4000000000, result n; content:"b"; offset:n;',
        alerts=2,  # of the packet and of its stream
    ),
    chain(
        "a number squared a hundred times",
        "byte_extract:4,0,n; "
        + "byte_math:bytes 4, offset 0, oper *, rvalue n, result n; " * 100
        + 'content:"b"; offset:n;',
    ),
    chain(
        "a factor upon a factor",
        "byte_extract:4,0,n,multiplier 65535; "
        + "byte_jump:4,0,multiplier 65535,post_offset 65535; " * 99
        + 'content:"b"; distance:0;',
    ),
    chain("places beyond every buffer", 'content:"b"; isdataat:65535,relative; content:"a"; distance:65535;'),
    chain("a place beyond what is counted", "isdataat:99999999999999999999;", "1:43: .*is not from"),
    chain("a size beyond what is counted", 'content:"a"; byte_test:99,>,0,0;', "1:56: "),
    Bomb(
        "thousands of contents that are",
        {"a.rules": rule("".join(f'content:"w{n:04}"; ' for n in range(3000)))},
        traffic=b"".join(b"w%04d" % n for n in range(3000)),
        alerts=1,
    ),
    Bomb(
        "one weak literal in ten thousand rules",
        {"a.rules": lines(10_000, lambda n: rule(f'content:"aa"; content:"w{n:05}";', n + 1))},
        loads=10_000,
        traffic=AAAA,
        mebibytes=400,
    ),
    Bomb(
        "a thousand rules without a literal",
        {"a.rules": lines(1000, lambda n: rule(f'pcre:"/(.)x{n}\\1$/";', n + 1))},
        loads=1000,
        traffic=AAAA,
        mebibytes=400,
    ),
]

LINES = [
    in_rules(
        "a line of twenty megabytes", "alert tcp any any -> any any (" + "x" * (20 << 20), "1:1: .*longer than 65,536"
    ),
    in_rules("a line that is continued for ever", "alert tcp \\\n" * 500_000, "1:1: .*longer than 65,536"),
    in_rules("thousands of options", rule("nocase;" * 9000), r"1:\d+: nocase: there is no content before it"),
    in_rules("quotes that never close", rule('content:"abc') * 2000, "1:43: content: .*has no closing quote"),
    in_rules("bars that never close", rule(f'content:"{"|41" * 9999}";'), r"1:43: content"),
    in_rules("NUL bytes in a rule", 'alert tcp any any -> any any (msg:"x\0"; sid:1;)\n', "1:37: a control character"),
    in_rules("a keyword of another alphabet", rule('c\u043entent:"abc";'), "1:43: is no option"),
    in_rules("a sid beyond every number", rule(ABC, 10**30), r"1:\d+: sid: .* is no number"),
    in_rules(
        "ten thousand bits in one test",
        rule(f"{ABC} flowbits:isset,{'|'.join(map(str, range(9999)))};"),
        "1:58: .*64 bits",
    ),
    in_rules(
        "a list that never ends",
        rule("dns.query; dataset:isset,a,type string,load /dev/zero;"),
        r"1:\d+: .*no file that ends",
    ),
    Bomb(
        "a list that waits",
        {"a.rules": rule("dns.query; dataset:isset,a,type string,load pipe;"), "pipe": os.mkfifo},
        r"1:\d+: .*no file that ends",
    ),
    in_rules(
        "a threshold of four thousand million",
        rule(f"{ABC} threshold:type both, track by_src, count 4294967295, seconds 4294967295;"),
        "",
    ),
]

YARA_FILES = [
    in_yara("a jump of four thousand million bytes", "$a = { 41 42 [0-4294967295] 43 }", r"1:\d+: .*jump"),
    in_yara("a thousand wide jumps", f"$a = {{ 41 {'[0-1000] 41 ' * 1000}}}", r"1:\d+: \$a has 1000 jumps"),
    in_yara("sixteen wide jumps", f"$a = {{ 41 {'[0-1000] 41 ' * 16}}}", traffic=AAAA),
    in_yara("endless jumps", f"$a = {{ 41 {'[-] 41 ' * 16} 42}}", traffic=AAAA + b"B" + AAAA),
    in_yara("nothing but wildcards", "$a = { ?? ?? ?? ?? ?? ?? }", traffic=AAAA, alerts=1),
    in_yara("loops within loops", '$a = "aaa"', condition=f"$a and {LOOPS}", traffic=AAAA, counts=SET_ASIDE),
    in_yara("a regex that backtracks", "$a = /(a+)+b/", traffic=AAAA + b"c"),
    in_yara("a regex that repeats what repeats", "$a = /a((a{1,900}){1,900})b/", traffic=AAAA),
    in_yara("a repeat beyond what is counted", "$a = /a{1,100000}b/", "1:1: .*too large"),
    in_yara("brackets", '$a = "abc"', r"1:\d+: memory exhausted", condition="(" * 50_000 + "$a" + ")" * 50_000),
    in_yara("negations", '$a = "abc"', r"1:\d+: memory exhausted", condition="not " * 50_000 + "$a"),
    in_yara("too many strings", " ".join(f'$a{n} = "w{n:05}"' for n in range(20_000)), r"1:\d+: too many strings"),
    in_yara("a file that includes itself", '$a = "abc"', "1:1: includes are disabled", head='include "bomb.yar"\n'),
    in_yara(
        "a file that includes what never ends", '$a = "abc"', "1:1: includes are disabled", head='include "/dev/zero"\n'
    ),
    in_yara("a module that is not there", '$a = "abc"', "1:1: unknown module", head='import "magic"\n'),
    in_yara("comments that never end", "", "1:1: syntax error", head="/*" * 500_000),
]

BOMBS = [*YAML_FILES, *TRAFFIC, *REGEXES, *CHAINS, *LINES, *YARA_FILES]


class Child:
    """The process that `bomb_child` serves in: it forks for each bomb, so that each has its own limits and peak."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rules.bomb_child"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def explode(self, folder: Path) -> dict[str, Any]:
        """Return what came of the bomb in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)


def exploded(bomb: Bomb, folder: Path, child: Child) -> dict[str, Any]:
    """Load a bomb and play its traffic in a child; return what it says."""
    for name, text in bomb.files.items():
        path = folder / name
        if callable(text):
            text(path)
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    for name, data in (("traffic", bomb.traffic), ("datagram", bomb.datagram)):
        if data:
            (folder / name).write_bytes(data)
    found = child.explode(folder)
    assert "mebibytes" in found, found
    return found


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_a_bomb_ends_in_an_error_or_within_bounds(bomb: Bomb, tmp_path: Path, child: Child) -> None:
    found = exploded(bomb, tmp_path, child)
    if bomb.says:
        path = "" if bomb.says.startswith("^") else re.escape(str(tmp_path / next(iter(bomb.files)))) + ":?"
        wanted = re.compile(path + bomb.says, re.DOTALL)
        assert [error for error in found["errors"] if wanted.match(error)], found["errors"]
    else:
        assert found["errors"] == []
    assert found["loaded"] == (bomb.loads if bomb.loads is not None else 0 if bomb.says else 1)
    assert len(found["alerts"]) == bomb.alerts
    counted = {name: found["counters"].get(name, 0) for name in bomb.counts}
    assert all(counted[name] >= least for name, least in bomb.counts.items()), counted
    assert found["mebibytes"] <= bomb.mebibytes
    assert found["mebibytes_aside"] <= MEBIBYTES_ASIDE
