"""What can never hold is warned of in each language, and its near miss is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.authoring.never import nevers
from ids.rules.language.loader import load_rules

RULE = 'alert {head} any any -> any any (msg:"x"; flow:to_server; {options} sid:1; rev:1;)\n'


def found(tmp_path: Path, text: str, name: str = "r.rules") -> list[str]:
    """Return what can never hold in a file, without the sids."""
    file = tmp_path / name
    file.write_text(text)
    loaded = load_rules([file])
    assert (loaded.errors, loaded.refused) == ((), ())
    return [warning.message.partition(": ")[2] for warning in nevers(loaded)]


@pytest.mark.parametrize(("head", "options", "why"), [
    ("smtp", 'email.url; content:"Shop.example";', "email.url is in lower case"),
    ("smtp", 'email.url; content:"Shop.example"; nocase;', ""),
    ("smtp", 'email.url; content:!"Shop.example"; content:"shop";', ""),
    ("http", 'http.method; content:"post";', "methods count in upper case"),
    ("http", 'http.method; content:"GeT";', ""),  # some malware sends it so
    ("http", 'http.uri; content:"/a"; content:!"/a";', "http.uri is to have b'/a' and not to have it"),
    ("http", 'http.uri; content:"/ab"; content:!"/A"; nocase;', "http.uri is to have b'/a' and not to have it"),
    ("http", 'http.uri; content:"/ab"; content:!"/A";', ""),
    ("http", 'http.uri; content:"/a"; nocase; content:!"/a";', ""),
    ("http", 'http.uri; content:"/a"; content:!"/a"; distance:0;', ""),
    ("http", 'http.uri; content:"/a"; content:!"/a"; depth:2;', ""),
    ("tcp", 'dsize:<3; content:"abcd";', "a payload of at most 2 bytes never has the 4"),
    ("tcp", 'dsize:4; content:"abcd";', ""),
    ("tcp", 'dsize:!3; content:"abcd";', ""),
    ("tcp", 'dsize:<3; content:!"abcd";', ""),
    ("udp", 'flags:S; content:"abcd";', "tcp.flags never stands in a packet of udp"),
    ("ip", 'flags:S; content:"abcd";', ""),
    ("tcp", 'flags:S; content:"abcd";', ""),
    ("tcp", 'itype:8; content:"abcd";', "icmp.type never stands in a packet of tcp"),
    ("tcp", 'flowbits:isset,nobody; content:"abcd";', "it waits for nobody"),
    ("tcp", 'flowbits:isnotset,nobody; content:"abcd";', ""),
    ("tcp", 'flowvar:nobody,"x"; content:"abcd";', "it waits for nobody"),
])  # fmt: skip
def test_what_never_holds_and_its_near_miss(tmp_path: Path, head: str, options: str, why: str) -> None:
    faults = found(tmp_path, RULE.format(head=head, options=options))
    assert len(faults) == bool(why)
    assert all(fault.startswith(why) for fault in faults)


def test_what_another_rule_captures_is_not_waited_for_in_vain(tmp_path: Path) -> None:
    sets = RULE.format(head="tcp", options='pcre:"/^LOGIN (?P<flow_user>[a-z]+)/"; noalert;').replace(
        "sid:1;", "sid:2;"
    )
    assert not found(tmp_path, sets + RULE.format(head="tcp", options='content:"abcd"; flowvar:user,"root";'))


@pytest.mark.parametrize(("traffic", "silent"), [("udp", True), ("tcp", False), ("ip", False)])
def test_flags_of_tcp_in_yaml(tmp_path: Path, traffic: str, silent: bool) -> None:
    text = f"rules:\n  - title: x\n    sid: 1\n    traffic: {traffic}\n    match: [tcp.flags: [syn]]\n"
    assert len(found(tmp_path, text, "r.yaml")) == silent


@pytest.mark.parametrize(("traffic", "refused"), [("dns", True), ("tls", False), ("tcp", False)])
def test_a_scope_of_yara_and_traffic_of_another_protocol_are_refused(
    tmp_path: Path, traffic: str, refused: bool
) -> None:
    file = tmp_path / "r.yar"
    meta = f'sid = 1 scope = "tls.sni" traffic = "{traffic}"'
    file.write_text(f'rule one {{ meta: {meta} strings: $a = "evil" condition: $a }}')
    errors = load_rules([file]).errors
    assert ["never meet" in error.message for error in errors] == [True] * refused


def test_a_mark_of_byte_order_is_no_part_of_the_first_rule(tmp_path: Path) -> None:
    file = tmp_path / "r.rules"
    file.write_bytes(b"\xef\xbb\xbf" + RULE.format(head="tcp", options='content:"abcd";').encode())
    loaded = load_rules([file])
    assert (len(loaded.rules), loaded.refused) == (1, ())


@pytest.mark.parametrize(
    ("name", "word"), [("a.yaml", "`rules:`"), ("a.yar", "`rule name"), ("a.rules", "`alert http")]
)
def test_what_to_write_into_an_empty_file_is_of_its_language(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / name).write_text("")
    (warning,) = load_rules([tmp_path / name]).warnings
    assert word in warning.remedy


def test_faults_of_traffic_and_flow_are_reported_with_those_of_other_keys(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    keys = ["titel: x", "sid: 1", "traffic: htpp", "flow: [to_sever]", "match: [http.urii: {contains: abcd}]"]
    file.write_text("rules:\n  - " + "\n    ".join(keys))
    assert sorted(error.location.line for error in load_rules([file]).errors) == [2, 2, 4, 5, 6]
