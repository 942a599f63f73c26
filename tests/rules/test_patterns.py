"""Regular expressions: PCRE's syntax, a bounded cost, and literals for the prefilter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.model.patterns import PatternError, compile_pattern
from ids.rules.model.regex_literals import required_literals


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


def test_catastrophic_backtracking_ends() -> None:
    """A pattern that takes 2^n steps on n bytes gives up at the match limit; without one this test would not end."""
    pattern = compile_pattern(r"(?!z)(x+x+)+y(?=q)")
    assert pattern.slow
    assert pattern.search(b"x" * 4000 + b"yz") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [("(ab", "parenthesis"), ("a*", "always holds"), ("x|", "always holds"), ("a\0b", "NUL"), (r"a(?{x})", "")],
)
def test_refused_patterns(text: str, reason: str) -> None:
    """What cannot be compiled, or always holds, is refused with the reason."""
    with pytest.raises(PatternError) as caught:
        compile_pattern(text)
    assert reason in str(caught.value)


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
