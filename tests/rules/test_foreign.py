"""What looks like another language's spelling in a YAML rule is warned of; what is meant as it stands is not."""

from __future__ import annotations

import pytest

from tests.rules.builders import load, rule_text


def warned(match: str) -> list[str]:
    """Return the warnings of a rule that loads, but for those of what it costs."""
    loaded = load("rules:\n" + rule_text(f"[{match}]", traffic="http", more="flow: [to_server]"))
    assert loaded.errors == ()
    return [warning.message.removeprefix("sid 1: ") for warning in loaded.warnings if "literal" not in warning.message]


@pytest.mark.parametrize(("test", "why"), [
    ("contains: '|4d 5a|'", "'|4d 5a|' is text here"),
    ("contains: 'abc|0d0a|def'", "'|0d0a|' is text here"),
    ("contains: 'a|xy|d'", ""),
    ("contains: 'cat /etc/passwd|ab|cd'", "'|ab|' is text here"),
    (r"contains: '\x90\x90abc'", r"'\\x90' is text here"),
    (r"contains: 'abcd\r\n'", r"'\\r\\n' is text here"),
    (r'contains: "\\x90\\x90abc"', ""),  # who writes it so means it
    (r'contains: "\x41bcdef\r\n"', ""),
    (r"contains: 'C:\windows'", ""),
    ("contains: “abcdef”", "it has U+201C"),
    ("contains: abc\u200bdef", "it has U+200B"),
    ("contains: ünïcode", ""),
    ("contains: {hex: 'e2 80 9c'}", ""),
    ("regex: '/ab[cd]ef/i'", "regex '/ab[cd]ef/i': the slashes around it"),
    ("regex: '/ab[cd]ef/'", ""),  # a path
    ("regex: '/api/v1/is'", ""),
    (r'regex: "\bselect"', r"regex '\x08select': it has the control character U+0008"),
    (r"regex: '\bselect'", ""),
])  # fmt: skip
def test_what_another_language_means_by_it(test: str, why: str) -> None:
    found = warned(f"http.request_body: {{{test}}}")
    assert [message[: len(why)] for message in found] == ([why] if why else [])
