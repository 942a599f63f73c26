"""Regular expressions: PCRE's syntax, a bounded cost, and literals for the prefilter."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.cache import Cache
from ids.rules.model import patterns, scanning
from ids.rules.model.cheaper import cheaper
from ids.rules.model.patterns import Pattern, PatternError, Patterns, SearchTimeout, compile_pattern
from ids.rules.model.regex_literals import required_literals, shape_of
from ids.rules.model.scanning import COMPILE_BYTES, CostError


@pytest.mark.parametrize(
    ("text", "data", "span"),
    [
        (r"(?i)union\s+select", b"1 UNION  select", (2, 15)),
        (r"^GET", b"POST GET", None),
        (r"\x00\x01", b"a\0\1", (1, 3)),
        ("é", "né".encode(), (1, 3)),
        (r"a.c", b"a\nc", None),
        (r"(?s)a.c", b"a\nc", (0, 3)),
    ],
)
def test_linear_patterns(text: str, data: bytes, span: tuple[int, int] | None) -> None:
    """What Hyperscan can express runs on it, and the match is located."""
    pattern = compile_pattern(text)
    assert pattern.slow == ""
    assert pattern.search(data) == span


def test_look_around_runs_on_pcre_and_says_so() -> None:
    """What Hyperscan cannot express still works, with the reason why it is slow."""
    pattern = compile_pattern(r"(?<!x)ab(?!c)", nocase=True)
    assert "assertion" in pattern.slow
    assert pattern.search(b"xab abc AB!") == (8, 10)
    assert pattern.search(b"xab abc") is None


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the data that PCRE is asked to search."""
    seen: list[bytes] = []
    ask = patterns.SEARCHER.ask

    def noted(order: str, *arguments: Any, **limits: Any) -> Any:
        seen.append(arguments[-1])
        return ask(order, *arguments, **limits)

    monkeypatch.setattr(patterns.SEARCHER, "ask", noted)
    return seen


def test_pcre_is_asked_only_where_more_than_the_pattern_is_found(cache: Cache, asked: list[bytes]) -> None:
    for _ in ("fresh", "kept"):
        asked.clear()
        pattern = compile_pattern(r"(a+)b\1c", cache=cache)
        assert pattern.slow
        assert pattern.search(b"a" * 1000 + b"c") is None
        assert asked == []
        assert pattern.search(b"aabac") == (1, 5)
        assert pattern.search(b"aabxc") is None
        assert asked[:1] == [b"aabac"]


def test_a_sieve_that_is_large_is_left_out(monkeypatch: pytest.MonkeyPatch, asked: list[bytes]) -> None:
    """Its regex is not: it loaded without one."""
    monkeypatch.setattr(patterns, "SIEVE_BYTES", 100)
    assert compile_pattern(r"(a+)b\1c").search(b"nothing") is None
    assert asked == [b"nothing"]


def test_a_sieve_that_is_costly_is_left_out_and_counts_among_what_a_load_may_cost(
    monkeypatch: pytest.MonkeyPatch, asked: list[bytes]
) -> None:
    load = Patterns()
    monkeypatch.setattr(patterns, "COSTLY_S", 2.5 * patterns.SIEVE_CPU_S)
    cost: list[float] = []
    compile_scanner = scanning.compile_scanner

    def noted(expressions: list[bytes], flags: list[int], cpu_s: float, **further: Any) -> Any:
        cost.append(cpu_s)
        return compile_scanner(expressions, flags, cpu_s, **further)

    monkeypatch.setattr(patterns, "compile_scanner", noted)
    for number in range(5):
        pattern = load.compile(rf"(?s)(?=select)select.{{0,4000}}from.{{0,4000}}(?:where|having){number}")
        assert pattern.slow
        assert pattern.search(b"nothing") is None
        assert asked == [b"nothing"] * (number + 1)
    assert cost.count(patterns.SIEVE_CPU_S) == 3, "after these, too much was spent"


@pytest.mark.parametrize(
    "text", [r"(a+)b\1c", r"(?<!a)b", r"(?!x)[ab]+c(?=a|$)", r"^(?:(a)|b)(?(1)b|a)", r"a\b(?<=ca)|(?>b+)c"]
)
@given(data=st.text("abcx \n", max_size=24).map(str.encode), nocase=st.booleans())
def test_what_pcre_finds_it_is_asked_for(text: str, data: bytes, nocase: bool) -> None:
    """What is found in its stead is never less than the pattern."""
    data = data.swapcase() if nocase else data
    pattern = compile_pattern(text, nocase)
    assert pattern.slow
    expected = patterns.SEARCHER.ask("search", text.encode(), nocase, data, cpu_s=1.0, memory_bytes=COMPILE_BYTES)
    assert pattern.search(data) == expected


def test_catastrophic_backtracking_ends() -> None:
    """A pattern that takes 2^n steps on n bytes gives up at the match limit; without one this test would not end."""
    pattern = compile_pattern(r"(?!z)(x+x+)+y(?=q)")
    assert pattern.slow
    assert pattern.search(b"x" * 4000 + b"yz") is None


def test_a_search_that_takes_the_square_of_the_data_is_ended() -> None:
    """Each place where a match may begin costs less than the match limit, and all together seven seconds."""
    pattern = compile_pattern(r"a.*b(?=c)")
    assert pattern.search(b"aabc") == (0, 3)
    with pytest.raises(SearchTimeout, match=r"on 50000 bytes: it takes more than 0\.1 s"):
        pattern.search(b"a" * 49_999 + b"b")
    assert pattern.search(b"aabc") == (0, 3), "the next search has a child of its own"


def test_a_pattern_that_is_too_costly_is_refused_with_a_cheaper_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    """This one takes seconds; what is offered in its place was tried, and finds whatever it would have found."""
    monkeypatch.setattr(patterns, "COMPILE_CPU_S", 0.2)
    text = r"(?s)select.{0,4000}from.{0,4000}(?:where|having)"
    with pytest.raises(PatternError, match=r"too costly to compile: it takes more than (0\.2|4) s") as caught:
        compile_pattern(text)
    assert "write .* for .{0,4000}" in caught.value.remedy
    spelling = cheaper(text)
    assert spelling is not None
    assert spelling[0] in caught.value.remedy
    assert compile_pattern(spelling[0]).search(b"select 1 from x where") is not None


def test_a_pattern_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "COMPILE_BYTES", 4 << 20)
    with pytest.raises(PatternError, match="too costly to compile: it takes more than 4 MiB of memory"):
        compile_pattern(r"(?s)a.{0,3000}b.{0,300}c")


def test_a_pattern_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "PATTERN_BYTES", 10_000)
    with pytest.raises(PatternError, match=r"too costly: its compiled form has [\d,]+ bytes"):
        compile_pattern(r"a.{0,1000}b")


def test_costly_patterns_cost_a_load_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """When they have had their time, the others have a tenth of it."""
    for name, seconds in (("COSTLY_S", 0.3), ("COMPILE_CPU_S", 0.2)):
        monkeypatch.setattr(patterns, name, seconds)
    load = Patterns()
    allowed = set()
    for number in range(4):
        with pytest.raises(PatternError) as caught:
            load.compile(rf"(?s)select{number}.{{0,4000}}from.{{0,4000}}(?:where|having)")
        allowed |= set(re.findall(r"more than ([\d.]+) s", str(caught.value)))
    assert allowed == {"0.2", "0.02"}
    assert load.compile("ab+c").search(b"abbc") == (0, 4)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("a{65}", ("a{64,}", "a{65}", "a{64,}")),
        ("a{0,2000}b", ("a*b", "a{0,2000}", "a*")),
        (r"[^\]}]{1,2000}b", (r"[^\]}]+b", r"[^\]}]{1,2000}", r"[^\]}]+")),
        (r"(?:a|\x41){20,2000}b", (r"(?:a|\x41){20,}b", r"(?:a|\x41){20,2000}", r"(?:a|\x41){20,}")),
        (r"\w{0,100}(.{2,300}){5}", (r"\w*(.{2,}){5}", ".{2,300}", ".{2,}")),
        (r"a{2,64}\{100}[{99}]", None),
        ("a{x}b{", None),
        ("", None),
    ],
)
def test_large_counts_have_a_cheaper_spelling(text: str, spelling: tuple[str, str, str] | None) -> None:
    found = cheaper(text)
    assert (found and (found[0], *found[1])) == spelling


@given(st.text(alphabet="ab{}(),012345[]\\.*?", max_size=40))
def test_the_cheaper_spelling_has_no_large_count(text: str) -> None:
    """No text makes it fail, and a count is replaced once and for all."""
    found = cheaper(text)
    assert found is None or cheaper(found[0]) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("(ab", "parenthesis"), ("a*", "always holds"), ("x|", "always holds"), ("a\0b", "NUL"), (r"a(?{x})", "")],
)
def test_refused_patterns(text: str, reason: str) -> None:
    """What cannot be compiled, or always holds, is refused with the reason."""
    with pytest.raises(PatternError) as caught:
        compile_pattern(text)
    assert reason in str(caught.value)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Where patterns are kept, at each start."""
    return Cache(tmp_path / "cache", "regex")


class _Compilers:
    """Counts what is compiled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        for name in ("compile_scanner", "check_backtracking"):
            monkeypatch.setattr(patterns, name, self._counted(getattr(patterns, name)))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            return function(*arguments, **named)

        return counted


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch) -> _Compilers:
    """A count of what Hyperscan and Chimera are asked to compile."""
    return _Compilers(monkeypatch)


@pytest.mark.parametrize("nocase", [False, True])
@pytest.mark.parametrize("text", [r"a(b|c)+d", "é", "x[a-f]{2,5}y", "a.{1,3000}b", r"(?<!x)ab(?!c)", r"(a)b\1"])
def test_a_kept_pattern_finds_what_a_fresh_one_finds(
    text: str, nocase: bool, cache: Cache, compilers: _Compilers
) -> None:
    """The next start neither compiles nor guesses: the same spans, the same reason for being slow."""
    fresh = compile_pattern(text, nocase, cache)
    compilers.calls = 0
    kept = compile_pattern(text, nocase, cache)
    assert compilers.calls == 0
    assert kept.slow == fresh.slow
    for data in (b"xab abcd", b"ABBCD xAb aba", "É né".encode(), b"xabcdefy xaffy", b""):
        assert kept.search(data) == fresh.search(data)
    assert compilers.calls == 0


def test_a_damaged_file_has_the_pattern_compiled_anew(cache: Cache, compilers: _Compilers, tmp_path: Path) -> None:
    compile_pattern("ab+c", cache=cache)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    compilers.calls = 0
    assert compile_pattern("ab+c", cache=cache).search(b"xabbc") == (1, 5)
    assert compilers.calls == 1


def test_another_processors_database_has_the_pattern_compiled_anew(
    cache: Cache, compilers: _Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_pattern("ab+c", nocase=True, cache=cache)
    monkeypatch.setattr(patterns, "load_scanner", lambda raw: None)
    compilers.calls = 0
    pattern = compile_pattern("ab+c", nocase=True, cache=cache)
    assert compilers.calls == 1
    assert pattern.search(b"xABBc") == (1, 5)
    assert pattern.search(b"ac") is None


@pytest.mark.parametrize("text", ["(ab", "a*", r"a(?{x})"])
def test_a_bad_pattern_is_refused_at_each_start(text: str, cache: Cache) -> None:
    refusals = set()
    for _ in range(3):
        with pytest.raises(PatternError) as caught:
            compile_pattern(text, cache=cache)
        refusals.add(str(caught.value))
    assert len(refusals) == 1


def test_case_makes_another_pattern(cache: Cache) -> None:
    for nocase in (False, True, False):
        assert (compile_pattern("ab", nocase, cache).search(b"AB") is not None) == nocase


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        (r"(?i)union\s+select", ([b"select"], True)),
        (r"(foo|barbaz)+x?", ([b"foo", b"barbaz"], False)),
        (r"a(?:bcd)?e{2,}fg", ([b"fg"], False)),
        (r"\bcmd\.exe$", ([b"cmd.exe"], False)),
        (r"[a-z]+", None),
        (r"(abc|x*)", None),
        (r"(?=abc)x", ([b"x"], False)),
        (r"[[:alpha:]]", None),
        (r"\Qa.b\E", None),
        ("(" * 100 + "a" + ")" * 100, None),
    ],
)
def test_required_literals(text: str, literals: tuple[list[bytes], bool] | None) -> None:
    """Each match contains one of these; None claims nothing."""
    assert required_literals(text, False) == literals


atoms = st.sampled_from(["a", "b", "ab", ".", "[ab]", r"\x62", "(?i:A)", r"\w", "c{2}", "b?", "a+", "(?:ab)*", "[^a]"])
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(?:" + "|".join(parts) + ")"),
        st.tuples(inner, st.sampled_from(["?", "+", "{2,3}", "{0,1}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
    ),
    max_leaves=8,
)


@given(expressions, st.text("abcAB!", max_size=12), st.booleans())
def test_a_match_has_a_required_literal(text: str, subject: str, nocase: bool) -> None:
    """Whatever Hyperscan finds contains a literal that was required: the prefilter never hides a match."""
    try:
        pattern = compile_pattern(text, nocase)
    except PatternError:
        return
    data = subject.encode()
    required = required_literals(text, nocase)
    if pattern.search(data) is not None and required is not None:
        literals, caseless = required
        searched = data.lower() if caseless else data
        assert any((value.lower() if caseless else value) in searched for value in literals)


@pytest.mark.parametrize("text", ["(ab)+", "(ab)+c", "(abc)+?", r"(\.\./){1,}"])
def test_a_pattern_that_crashes_hyperscan_with_the_start_of_its_matches_is_run_without(text: str) -> None:
    """In a process of its own: Hyperscan 5.4.12 reads beyond its memory there, on more than 256 bytes."""
    code = (
        "from ids.rules.model.patterns import compile_pattern\n"
        f"pattern = compile_pattern({text!r})\n"
        "for data in (b'x' * 400, b'a' * 5000, b'ab' * 300 + b'c' + b'x' * 300, bytes(range(256)) * 3):\n"
        "    pattern.search(data)\n"
        "print('alive', pattern.search(b'x' * 300 + b'abc../') is not None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "alive True"), done.stderr


@pytest.mark.parametrize(
    ("text", "data", "expected"),
    [
        ("a{2}b", b"xaab", (1, 4)),
        ("a+b", b"xaab aab", (1, 4)),
        ("a.*b", b"xaab aab", (1, 8)),
        ("a.*?b", b"xaab aab", (1, 4)),
        ("x(?:ab|cd)*", b"xabcdx", (0, 5)),
        ("ab|abc", b"abc", (0, 2)),  # the first alternative
        ("a?(?:ab)?b*", b"xabb", (0, 0)),
        ("a?(?:ab)?b*", b"abab", (0, 2)),  # not the longest
        ("a.{300,}b", b"a" * 700 + b"b" * 300, (0, 1000)),  # more ends than are looked at
    ],
)
def test_the_leftmost_match_ends_where_pcre_likes(text: str, data: bytes, expected: tuple[int, int]) -> None:
    assert Pattern.lazy(text).leftmost(data)[0] == expected


@pytest.mark.parametrize(("text", "asked"), [("a.*b", False), ("a.*?b", False), ("[ab]c", False), ("a.*b.*", True)])
def test_pcre_is_asked_only_where_it_is_not_clear(text: str, asked: bool) -> None:
    assert Pattern.lazy(text).leftmost(b"acb xcb xb ")[1] is asked


@given(
    st.text(st.sampled_from("ab."), min_size=1, max_size=3),
    st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{1,3}", "{2}", "{1,2}?"]),
    st.text(st.sampled_from("ab"), min_size=1, max_size=2),
    st.binary(max_size=12).map(lambda data: bytes(97 + byte % 3 for byte in data)),
)
def test_what_is_known_of_a_match_is_what_comes_of_it(head: str, count: str, tail: str, data: bytes) -> None:
    text = head + count + tail
    shape = shape_of(text)
    found = re.search(text.encode(), data)
    if found is None:
        return
    assert shape.least <= len(found[0]) <= shape.most
    rest = data[found.start() :]
    sizes = [size for size in range(len(rest) + 1) if re.fullmatch(text.encode(), rest[:size])]
    if shape.prefers:
        assert len(found[0]) == (max(sizes) if shape.prefers == "longest" else min(sizes))


def test_a_match_that_hyperscan_cannot_place_is_placed_by_pcre() -> None:
    data = b"x" * 300 + b"ababc"
    assert compile_pattern("(ab)+").leftmost(data) == ((300, 304), True)


def test_what_takes_long_to_compile_is_searched_by_pcre_until_it_is_made_beside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that no packet waits for it."""

    def costly(*_: object) -> Pattern:
        raise CostError("it takes more than 0.05 s")

    held = threading.Event()
    compile_fully = patterns.compile_within

    def later(*arguments: Any) -> Pattern:
        held.wait()
        return compile_fully(*arguments)

    monkeypatch.setattr(patterns, "first_compiled", costly)
    monkeypatch.setattr(patterns, "compile_within", later)
    patterns.begin_lazy(Cache(tmp_path, patterns.CACHE_SUFFIX))
    pattern = Pattern.lazy("a[bc]+d")
    data = [b"xabcbd", b"abc", b"", b"ad abd"]
    before = [pattern.search(each) for each in data]
    assert (pattern.slow, pattern._scanner) == (patterns.NOT_YET, None)
    held.set()
    patterns.BESIDE.join()
    assert pattern.slow == ""
    assert pattern._scanner is not None
    assert [pattern.search(each) for each in data] == before == [(1, 6), None, None, (3, 6)]
    assert patterns.Patterns(Cache(tmp_path, patterns.CACHE_SUFFIX)).compile("a[bc]+d", empty=True).slow == ""


def test_what_can_never_be_compiled_stays_with_pcre(monkeypatch: pytest.MonkeyPatch) -> None:
    def costly(*_: object) -> Pattern:
        raise CostError("it takes more than 2 s")

    monkeypatch.setattr(patterns, "first_compiled", costly)
    monkeypatch.setattr(patterns, "compile_within", costly)
    patterns.begin_lazy(None)
    pattern = Pattern.lazy("a[bc]+e")
    assert pattern.search(b"abce") == (0, 4)
    patterns.BESIDE.join()
    assert pattern.search(b"abce") == (0, 4)
    assert pattern._scanner is None


def test_a_first_search_has_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load has a hundred times as much for the same."""
    asked: list[float] = []

    def scanner(_expressions: object, _flags: object, cpu_s: float, **_: object) -> Any:
        asked.append(cpu_s)
        raise CostError("too long")

    monkeypatch.setattr(patterns, "compile_scanner", scanner)
    patterns.begin_lazy(None)
    assert Pattern.lazy("a[bc]+f").search(b"abcf") == (0, 4)
    patterns.BESIDE.join()
    assert asked[0] == patterns.FIRST_CPU_S < scanning.COMPILE_CPU_S == asked[1]
