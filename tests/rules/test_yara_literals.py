"""Covers of YARA rules: the literals without which a rule cannot match."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest
import yara
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ids.rules.language.yara_condition import MAX_DEPTH
from ids.rules.language.yara_literals import covers
from ids.rules.language.yara_strings import MAX_NEEDLES, Needles
from ids.rules.model.rarity import MAX_LITERAL

pytestmark = pytest.mark.long

SHIPPED = sorted(Path(__file__).parents[2].glob("rules/*/*.yar"))


def stands(needles: Needles, data: bytes) -> bool:
    """Judge whether one of the needles is in the data."""
    return any(value in (data.lower() if nocase else data) for value, nocase in needles)


def cover(condition: str, strings: str = "") -> Needles | None:
    """Return the cover of one rule, which libyara must accept."""
    source = f"rule r {{ {'strings: ' * bool(strings)}{strings} condition: {condition} }}"
    yara.compile(source=source)
    found = covers(source)
    assert list(found) == ["r"]
    return found["r"]


def plain(*values: bytes) -> Needles:
    """Return needles that heed case."""
    return frozenset((value, False) for value in values)


def caseless(*values: bytes) -> Needles:
    """Return needles that do not."""
    return frozenset((value, True) for value in values)


@pytest.mark.parametrize(
    ("string", "needles"),
    [
        # text
        ('"needle"', plain(b"needle")),
        ('"needle" ascii fullword private', plain(b"needle")),
        ('"Needle" nocase', caseless(b"needle")),
        (r'"a\"b\\c\td\re\nf\x41\xff"', plain(b'a"b\\c\td\re\nfA\xff')),
        ('"é€"', plain("é€".encode())),
        (r'"ab\xc0cdef" nocase', caseless(b"cdef")),  # which byte is the small À depends on the locale
        (r'"\xc0" nocase', None),
        ('"abc" wide', plain(b"a\0b\0c")),
        ('"ABC" wide nocase', caseless(b"a\0b\0c")),
        ('"abc" wide ascii', plain(b"a\0b\0c", b"abc")),
        ('"' + "x" * 100 + '"', plain(b"x" * MAX_LITERAL)),
        ('"needle" xor', None),
        ('"needle" xor(1-9) ascii wide', None),
        ('"needle" base64', None),
        ('"needle" base64wide ascii', None),
        # hex
        ("{ 6e 65 65 64 6C 65 }", plain(b"needle")),
        ("{6e6565/* } */64 // }\n 6c65} private", plain(b"needle")),
        ("{ 61 62 ?? 63 64 65 }", plain(b"cde")),
        ("{ 61 62 6? 63 64 65 ?6 66 }", plain(b"cde")),
        ("{ 61 62 ~63 63 64 65 ~?6 66 }", plain(b"cde")),
        ("{ 61 62 [0-4] 63 64 65 [3] 61 [5-] 62 [-] 63 }", plain(b"cde")),
        ("{ 61 ( 62 | 63 64 ) 65 66 }", plain(b"ef")),
        ("{ 61 ?? ( 62 63 64 | 64 ?? 65 66 67 ) ?? 61 }", plain(b"bcd", b"efg")),
        ("{ 61 ?? ( 62 63 | ( 64 65 | 66 67 ) ) }", plain(b"bc", b"de", b"fg")),
        ("{ 61 ?? ( 62 63 | ?? ) ?? 62 }", plain(b"b")),
        ("{ ?1 ?? 1? }", None),
        # regular expressions
        ("/need[lm]e/", plain(b"need")),
        (r"/\/need\x6ce\./", plain(b"/needle.")),
        ("/Needle/i", caseless(b"needle")),
        ("/Needle/ nocase", caseless(b"needle")),
        ("/needle.x/s wide ascii", plain(b"needle", b"n\0e\0e\0d\0l\0e")),
        ("/ab(cde|fgh)+i?/", plain(b"cde", b"fgh")),
        ("/(abc|d)?ef{2}/", plain(b"f")),
        ("/abc|x*/", None),
        (r"/a\vb/", None),  # in YARA a v, in Python a vertical tab
        (r"/needle\Z/", None),
        (r"/needle[\b]/", None),  # in YARA a b, in Python a backspace
        ("/[]needle]/", None),
    ],
)
def test_a_string_has_literals_that_each_match_contains(string: str, needles: Needles | None) -> None:
    """Text, hex and regular expressions with each of their modifiers."""
    assert cover("$a", f"$a = {string}") == needles


ABC = '$a1 = "alpha" $a2 = "alp" $b = "bravo!!" $x = "nothing" xor'
A1, A2, B = b"alpha", b"alp", b"bravo!!"


@pytest.mark.parametrize(
    ("condition", "needles"),
    [
        # a string, its number, its places
        ("$a1", plain(A1)),
        ("$a1 at 0", plain(A1)),
        ("$a1 at filesize - uint16(2) * 3", plain(A1)),
        ("$a1 in (0..(filesize - 1))", plain(A1)),
        ("$x", None),
        ("#a1", plain(A1)),
        ("#a1 > 0", plain(A1)),
        ("#a1 >= 1", plain(A1)),
        ("#a1 == 0x2", plain(A1)),
        ("#a1 != 0", plain(A1)),
        ("3 < #a1", plain(A1)),
        ("(#a1) > (1)", plain(A1)),
        ("#a1 > #b", plain(A1)),
        ("#a1 in (0..100) > 1KB", plain(A1)),
        ("#a1 >= 0", None),
        ("#a1 > -1", None),
        ("#a1 == 0", None),
        ("#a1 != 1", None),
        ("#a1 < 5", None),
        ("#a1 >= #b", None),
        ("#a1 + 1 > 0", None),
        ("-#a1 <= 0", None),
        ("~#a1 < 0", None),
        ("-@a1 <= 0", plain(A1)),
        ("#a1 > filesize", None),
        ("#a1 > 0.5", None),
        ("@a1 < 100", plain(A1)),
        ("@a1[2] != 5", plain(A1)),
        ("!a1[#b] * 2 + 1 == 11", plain(A1)),
        ("7 > @a1 | 1", plain(A1)),
        ("@a1 < @b", plain(B)),
        ("uint8(@a1) == 0x61", None),
        ("defined @a1", None),
        # and, or, not
        ("$a1 and $b", plain(B)),
        ("$a1 or $b", plain(A1, B)),
        ("$a1 or $x", None),
        ("$a1 and $x", plain(A1)),
        ("$a1 and ($x or filesize > 5)", plain(A1)),
        ("not $a1", None),
        ("not not $a1", None),
        ("not $a1 and $b", plain(B)),
        ("not ($a1 and $b)", None),
        ("$x or $a1 and $b", None),
        ("($x or $a1) and $b", plain(B)),
        ("true", None),
        ("false", plain()),
        ("false or $b", plain(B)),
        ("filesize < 100KB", None),
        ("uint16be(0) == 0x4d5a and $b", plain(B)),
        ('"text" contains "ex" or $b', None),
        # N of a set
        ("any of them", None),
        ("any of ($a*)", plain(A1, A2)),
        ("any of ($a1, $b)", plain(A1, B)),
        ("any of ($x, $b)", None),
        ("1 of ($a*)", plain(A1, A2)),
        ("2 of ($a*)", plain(A1)),
        ("2 of ($a*, $b)", plain(A1, B)),
        ("3 of ($a*, $b)", plain(B)),
        ("9 of ($a*, $b)", plain(B)),
        ("2 of ($x, $b)", plain(B)),
        ("3 of them", plain(A1, B)),
        ("all of them", plain(B)),
        ("all of ($a*) in (0..99)", plain(A1)),
        ("any of ($a*) at 0", plain(A1, A2)),
        ("34% of ($a*, $b)", plain(A1, B)),
        ("33% of ($a*, $b)", plain(A1, A2, B)),
        ("50% of ($a*)", plain(A1, A2)),
        ("100% of ($a*, $b)", plain(B)),
        ("none of them", None),
        ("none of ($a*) in (0..9)", None),
        ("0 of ($a*)", None),
        ("#b of ($a*)", None),
        ("(1 + 1) of ($a*)", None),
        # loops
        ("for any of ($a*) : ( $ )", plain(A1, A2)),
        ("for any of ($a*) : ( # > 1 and @ < 5 )", plain(A1, A2)),
        ("for any of ($a*) : ( # < 1 )", None),
        ("for any of ($a*) : ( $ or $b )", plain(A1, A2, B)),
        ("for any of ($a*) : ( # == 0 and $b )", plain(B)),
        ("for all of ($a*) : ( $ at 3 )", plain(A1)),
        ("for 2 of ($a*, $b) : ( for any i in (1..#) : ( @[i] < 9 ) )", plain(A1, B)),
        ("for none of ($a*) : ( $ )", None),
        ("for 0 of ($a*) : ( $ )", None),
        ("for all of ($a*) : ( not $ )", None),
        ("for any i in (1..#a1) : ( @a1[i] < 9 )", plain(A1)),
        ("for 2 i in (1, 2, 3) : ( $b in (i..i + 9) )", plain(B)),
        ("for all i in (1..#a1) : ( @a1[i] < 9 )", None),  # no turn at all
        ('for any s in ("a", "b") : ( $b and s == "a" )', plain(B)),
        ("for any r in (1, 2) : ( r == 2 )", None),
    ],
)  # fmt: skip
def test_a_condition_has_the_cover_that_its_truth_needs(condition: str, needles: Needles | None) -> None:
    """All forms of the grammar; the condition may also speak of strings that it does not need."""
    unused = " and (true or any of them)"
    assert cover(f"({condition}){unused}", ABC) == needles


def test_anonymous_strings_are_members_of_sets() -> None:
    """They have no other name than the one they share."""
    anonymous = '$ = "alpha" $ = "bravo"'
    assert cover("any of them", anonymous) == plain(b"alpha", b"bravo")
    assert cover("any of ($)", anonymous) == plain(b"alpha", b"bravo")
    assert cover("all of ($*)", anonymous) == plain(b"bravo")


def test_rules_speak_of_rules_before_them() -> None:
    """By name, or by the start of their names."""
    source = """
        import "math"
        private rule a1 { strings: $s = "alpha" condition: $s }
        rule a2 : tag { meta: condition_of = "x } rule y {" strings: $s = "bravo" condition: $s or a1 }
        rule any_a { condition: any of (a*) }
        rule every_a { condition: all of (a1, a2) }
        rule both { condition: a1 and math.mean(0, filesize) > 7.2 }
        rule not_a { condition: not a1 }
        rule loop { condition: for any a1 in (1, 2) : ( a1 == 2 ) }
    """
    yara.compile(source=source)
    alpha, either = plain(b"alpha"), plain(b"alpha", b"bravo")
    assert covers(source) == {
        "a1": alpha, "a2": either, "any_a": either, "every_a": alpha, "both": alpha, "not_a": None, "loop": None,
    }  # fmt: skip


def test_a_global_rule_must_hold_for_each_rule_of_its_file() -> None:
    """Also for those above it."""
    source = """
        rule first { condition: filesize > 5 }
        global private rule every { strings: $s = "alpha" condition: $s }
        rule second { strings: $s = "much rarer" condition: $s }
    """
    assert covers(source) == {"first": plain(b"alpha"), "every": plain(b"alpha"), "second": plain(b"much rarer")}


def test_what_is_not_understood_has_no_cover() -> None:
    """The rule alone, if its end can be found; else all rules of the file."""
    good, bad = 'rule good { strings: $a = "alpha" condition: $a }', "rule bad { condition: $a $a }"
    assert covers(good + bad) == {"good": plain(b"alpha"), "bad": None}
    for rest in ("\0", 'include "other.yar"', "rule open {", '"', "\ud800", "/* open", "rule x { condition: true } }"):
        assert set(covers(good + bad + rest).values()) == {None}


def test_too_many_needles_are_no_cover() -> None:
    """A rule with so many strings is run always."""
    strings = [f'$s{i} = "string {i}"' for i in range(MAX_NEEDLES + 1)]
    assert cover("any of them", " ".join(strings)) is None
    assert len(cover("any of them", " ".join(strings[1:])) or ()) == MAX_NEEDLES


def test_deep_conditions_have_no_cover() -> None:
    """Depth is bounded, where libyara's own is not."""
    for depth, needles in ((MAX_DEPTH - 1, plain(b"alpha")), (MAX_DEPTH, None), (2000, None)):
        assert cover("(" * depth + "$a" + ")" * depth, '$a = "alpha"') == needles


@pytest.mark.parametrize(
    "source",
    [
        "rule r { condition: " + "(" * 100_000,
        "rule r { condition: " + "not " * 100_000 + "true }",
        'rule r { strings: $a = "' + '\\"' * 100_000,
        "rule r { strings: $a = {" + " /* { */" * 50_000,
        "rule r { strings: $a = { " + "(01|" * 50_000 + "02" + ")" * 50_000 + " } condition: $a }",
        "rule r " + "{//\n" * 100_000,
        "rule r { strings: $a = /" + "[^a]" * 20_000 + "(?/ condition: $a }",
        "rule r { strings: " + "".join(f'$s{i}="s" ' for i in range(5000))
        + "condition: " + " or ".join(["all of them"] * 5000) + "}",
        "".join(f'rule r{i} {{ strings: $a = "abc" condition: $a and any of (r*) }}' for i in range(5000)),
        'rule r { strings: $a = "abc" condition: ' + " or ".join(["any of ($a, $a, $a, $a)"] * 20_000) + "}",
    ],
)  # fmt: skip
def test_hostile_files_cost_linear_time(source: str) -> None:
    """Far from the minutes that quadratic time would take, with room for a slow machine."""
    begin = time.process_time()
    covers(source)
    assert time.process_time() - begin < 10


@given(st.text(alphabet='rule a{}$#@="/\\()[]:condition strings 0123456789abcdef.*|?~-\n', max_size=200))
def test_no_text_raises(text: str) -> None:
    """Whatever it is; also inside a rule."""
    covers(text)
    covers(f"rule r {{ strings: $a = {text} condition: $a and {text} }}")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_rule_has_a_cover(path: Path) -> None:
    """A rule without one would cost each byte of its scope a scan."""
    source = path.read_text()
    found = covers(source)
    assert set(found) == {rule.identifier for rule in yara.compile(source=source)}
    assert [name for name, needles in found.items() if not needles] == []


# A string: how it is spelt, and bytes that it matches, or nearly.
LETTERS = st.text(alphabet="aBc\u00e9", min_size=1, max_size=5)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Text strings under modifiers that go together."""
    value = draw(LETTERS)
    modifiers = draw(
        st.sampled_from(["", "ascii", "wide", "wide ascii", "nocase", "nocase wide", "fullword", "xor", "private"])
    )
    raw = value.encode()
    wide = b"".join(bytes([byte, 0]) for byte in raw)
    return f'"{value}" {modifiers}', [raw, wide, raw.swapcase(), wide.swapcase(), bytes(b ^ 1 for b in raw)]


@st.composite
def hexes(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Hex strings of bytes, wildcards, jumps and alternatives, beginning and ending with a byte."""
    parts, made = ["61"], b"a"
    for kind in draw(
        st.lists(st.sampled_from(["62", "??", "6?", "~63", "[0-2]", "[1]", "(62|63 64)", "(?1|62)"]), max_size=5)
    ):
        parts.append(kind)
        made += {"62": b"b", "6?": b"c", "~63": b"a", "[0-2]": b"", "(62|63 64)": b"cd", "(?1|62)": b"a"}.get(
            kind, b"\0"
        )
    return f"{{ {' '.join(parts)} 63 }}", [made + b"c", made.replace(b"cd", b"b") + b"c"]


@st.composite
def regexes(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Expressions of a few parts, each with what it matches."""
    table = {
        "a": b"a", "B": b"B", "ab": b"ab", "[bc]": b"c", "[a]": b"a", "a?": b"", "(ab|c)": b"c", "(ab|aB|a)": b"aB",
        "(a|)": b"", "b{2}": b"bb", "b{,2}": b"", "(cb)+": b"cb", "c*": b"", ".": b"\n", r"\.": b".", r"\x61": b"a",
        r"\/": b"/", "a{": b"a{", "b+?": b"b", r"\w": b"_", "[^c]": b"a", r"\(?": b"", "c{}": b"c{}", r"\bb": b"b",
    }  # fmt: skip
    parts = draw(st.lists(st.sampled_from(list(table)), min_size=1, max_size=4))
    made = b"".join(table[part] for part in parts)
    flags = draw(st.sampled_from(["", "i", "s", "is"]))
    modifiers = draw(st.sampled_from(["", "wide", "wide ascii", "nocase", "nocase wide"]))
    wide = b"".join(bytes([byte, 0]) for byte in made)
    return f"/{''.join(parts)}/{flags} {modifiers}", [made, wide, made.swapcase(), wide.swapcase()]


NAMES = ["_a1", "_a2", "_b"]  # a string whose name begins so may go unused
SET = st.sampled_from(["them", "($_a*)", "($_a1, $_b)", "($_*)", "($_a*, $_b)"])
MANY = st.sampled_from(["any", "all", "none", "0", "1", "2", "3", "(2)", "#_b", "1 + 1"])
OPERATOR = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
NUMBER = st.sampled_from(["0", "1", "2", "-1", "(1)", "filesize", "#_b", "@_a1", "!_b[1]", "1 + #_a2", "uint8(1)"])


@cache
def conditions(*rules: str) -> st.SearchStrategy[str]:
    """Generate conditions over the strings of `NAMES` and earlier rules."""
    name = st.sampled_from(NAMES)

    def atoms(names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        number = st.one_of(NUMBER, names.map("#{}".format), names.map("@{}[1]".format), names.map("-@{}".format))
        return st.one_of(
            names.map("${}".format),
            st.builds("${} {}".format, names, st.sampled_from(["at 0", "at 1 + 1", "in (0..3)", "in (1..filesize)"])),
            st.builds("{} {} {}".format, number, OPERATOR, number),
            st.builds("#{} in (0..4) {} {}".format, names, OPERATOR, st.sampled_from("012")),
            st.builds("#{} {} {}".format, names, OPERATOR, st.sampled_from("012")),
        )

    sets = st.one_of(
        st.builds("{} of {} {}".format, MANY, SET, st.sampled_from(["", "", "in (0..5)", "at 0"])),
        st.builds("{}% of {}".format, st.sampled_from([1, 33, 34, 50, 67, 100]), SET),
        st.sampled_from(["true", "false", "filesize > 3", '"ab" contains "a"', *rules]),
    )
    if rules:
        sets |= st.builds("{} of ({})".format, MANY, st.sampled_from(["r*", rules[0], ", ".join(rules)]))

    def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.builds("{} and {}".format, inner, inner),
            st.builds("{} or {}".format, inner, inner),
            st.builds("({})".format, inner),
            st.builds("not {}".format, inner),
            st.builds("defined {}".format, inner),
        )

    turn = st.recursive(atoms(st.one_of(st.just(""), name)), combined, max_leaves=3)
    loops = st.one_of(
        st.builds("for {} of {} : ({})".format, MANY, SET, turn),
        st.builds("for {} i in (1..{}) : ({})".format, MANY, st.sampled_from(["2", "#_a1"]), atoms(name)),
        st.builds("for {} i in (1..#{}) : (@_a1[i] {} {})".format, MANY, name, OPERATOR, st.sampled_from("0123")),
    )
    return st.recursive(st.one_of(atoms(name), sets, loops), combined, max_leaves=5)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Generate a file of up to three rules, and data that hold one, some or all of their strings."""
    rules: list[str] = []
    source = ""
    examples = [b"", b"x", b"\0", b"a", b" "]
    for number in range(draw(st.integers(1, 3))):
        strings = ""
        for name in NAMES:
            spelt, matched = draw(st.one_of(texts(), hexes(), regexes()))
            strings += f" ${name} = {spelt}\n"
            examples += matched
        modifier = draw(st.sampled_from(["", "", "", "private ", "global "]))
        source += f"{modifier}rule r{number} {{ strings:\n{strings} condition: {draw(conditions(*rules))} }}\n"
        rules.append(f"r{number}")
    some = st.lists(st.sampled_from(examples), min_size=2, max_size=5).map(b"".join)
    return source, [*examples, b"".join(examples), *draw(st.lists(some, min_size=5, max_size=10))]


@settings(max_examples=300)
@given(files())
@example(("rule r0 { strings: $a = /a\\vb/ condition: $a }", [b"avb"]))
@example(('rule r0 { strings: $a = "a" condition: for all i in (1..#a) : (@a[i] == 0) }', [b""]))
def test_a_rule_matches_only_where_a_needle_stands(case: tuple[str, list[bytes]]) -> None:
    """What the cover promises, held against libyara."""
    source, scanned = case
    try:
        compiled = yara.compile(source=source)
    except yara.Error:
        assume(False)
    found = covers(source)
    assert set(found) == {rule.identifier for rule in compiled}
    for data in scanned:
        for match in compiled.match(data=data, fast=True):
            needles = found[match.rule]
            assert needles is None or stands(needles, data), (match.rule, needles, data)
