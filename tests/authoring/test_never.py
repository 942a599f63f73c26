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
    ("redis", 'redis.command; content:"config set";', "redis.command is in upper case"),
    ("redis", 'redis.command; content:"config set"; nocase;', ""),
    ("mysql", 'mysql.command; content:"COM_QUERY";', "mysql.command is in lower case"),
    ("telnet", 'telnet.option; content:"DO TERMINAL-TYPE";', "telnet.option is in lower case"),
    ("nfs", 'nfs.operation; content:"rename";', "nfs.operation is in upper case"),
    ("bittorrent", f'bittorrent.info_hash; content:"{40 * "c"}";', "bittorrent.info_hash has 20 bytes"),
    ("bittorrent", f'bittorrent.info_hash; content:"|{20 * "c1"}|";', ""),
    ("bittorrent", 'bittorrent.peer_id; content:"-TR"; startswith;', ""),
    ("http", 'http.method; content:"post";', "methods count in upper case"),
    ("http", 'http.method; content:"GeT";', ""),  # some malware sends it so
    ("http", 'http.uri; content:"/a"; content:!"/a";', "http.uri is to have b'/a' and not to have it"),
    ("http", 'http.uri; content:"/ab"; content:!"/A"; nocase;', "http.uri is to have b'/a' and not to have it"),
    ("http", 'http.uri; content:"/ab"; content:!"/A";', ""),
    ("http", 'http.uri; content:"/a"; nocase; content:!"/a";', ""),
    ("http", 'http.uri; content:"/a"; content:!"/a"; distance:0;', ""),
    ("http", 'http.uri; content:"/a"; content:!"/a"; depth:2;', ""),
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


@pytest.mark.parametrize(("size", "silent"), [("{lt: 3}", False), ("{max: 4}", True), ("{not: 3}", True)])
def test_a_payload_that_is_too_short_in_yaml(tmp_path: Path, size: str, silent: bool) -> None:
    """In Suricata's language, such a rule is refused."""
    match = f"[payload.size: {size}, payload: {{contains: abcd}}]"
    faults = found(tmp_path, f"rules:\n  - title: x\n    sid: 1\n    traffic: udp\n    match: {match}\n", "r.yaml")
    assert [fault.partition(" of its")[0] for fault in faults] == (
        [] if silent else ["a payload of at most 2 bytes never has the 4"]
    )


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


@pytest.mark.parametrize(("match", "why"), [
    ("http.uri: {equals: /a, contains: bcd}", "http.uri never has both b'/a' and b'bcd'"),
    ("http.uri: {equals: /abcd, contains: bcd, startswith: /a, endswith: d}", ""),
    ("http.uri: {startswith: /a, equals: /b}", "http.uri never has both"),
    ("http.uri: {startswith: [/a, /b], equals: /b}", ""),
    ("http.uri: {startswith: /A, equals: /ab, nocase: true}", ""),
    ("http.uri: {endswith: .php, startswith: /a}", ""),
    ("http.uri: {size: {max: 3}, contains: abcd}", "http.uri of that size never has b'abcd'"),
    ("http.uri: {size: {min: 5}, equals: abcd}", "http.uri of that size never has b'abcd'"),
    ("http.uri: {size: {max: 4}, contains: abcd}", ""),
    ("http.uri: [{contains: abcd}, {bytes: {size: 1, after: 0, gt: 255}}]", "a number of 1 byte, of at most 255,"),
    ("http.uri: [{contains: abcd}, {bytes: {size: 1, after: 0, equals: 300}}]", "a number of 1 byte, of at most 255,"),
    ("http.uri: [{contains: abcd}, {bytes: {size: 2, after: 0, mask: 0x0ff0, gt: 255}}]", "a number of 2 bytes"),
    ("http.uri: [{contains: abcd}, {bytes: {size: 2, after: 0, gt: 255}}]", ""),
    ("http.uri: [{contains: abcd}, {bytes: {base: 10, after: 0, gt: 255}}]", ""),
    ("http.uri: {in_list: hosts}", "http.uri is never an address"),
    ("http.uri: {in_list: sums}", "http.uri is never a digest of md5"),
    ("http.uri|md5: {in_list: sums}", ""),
    ("file.md5: {in_list: sums}", ""),
    ("http.uri: {in_list: seen}", "nothing is ever in the list seen"),
])  # fmt: skip
def test_what_two_parts_of_a_rule_rule_out(tmp_path: Path, match: str, why: str) -> None:
    text = f"""lists:
  - {{name: hosts, items: [192.0.2.1], kind: ip}}
  - {{name: sums, items: [d41d8cd98f00b204e9800998ecf8427e], kind: md5}}
  - {{name: seen, learned: true}}
rules:
  - {{title: x, sid: 1, traffic: http, match: [{{{match}}}]}}
"""
    faults = found(tmp_path, text, "r.yaml")
    assert [fault[: len(why)] for fault in faults] == ([why] if why else [])


@pytest.mark.parametrize(("match", "more", "why"), [
    ("tcp.flags: {all: [syn], none: [syn]}", "", "no value of tcp.flags"),
    ("tcp.flags: {all: [syn], none: [ack]}", "", ""),
    ("tcp.flags: {any: [syn, fin], exactly: [ack]}", "", "no value of tcp.flags"),
    ("ip.ttl: {lt: 5}}, {ip.ttl: {gt: 5}", "", "no value of ip.ttl"),
    ("ip.ttl: {lt: 5}}, {ip.ttl: {gt: 3}", "", ""),
    ("payload: abcd", "count: {distinct: src_ip, by: src, at_least: 3, within: 1m}", "of src there is never"),
    ("payload: abcd", "count: {distinct: dst_ip, by: pair, at_least: 3, within: 1m}", "of pair there is never"),
    ("payload: abcd", "count: {distinct: dst_ip, by: src, at_least: 3, within: 1m}", ""),
    ("payload: abcd", "flow: to_server, count: {distinct: src_ip, by: client, at_least: 3, within: 1m}", "of client"),
    ("payload: abcd", "flow: to_client, count: {distinct: src_ip, by: client, at_least: 3, within: 1m}", ""),
    ("payload: abcd", "count: {distinct: src_ip, by: client, at_least: 3, within: 1m}", ""),
    ("payload: abcd", "set: [{flow: a}], when: [{flow: a, not_flow: a}]", "the bit a is to be set and not to be"),
    ("payload: abcd", "set: [{flow: a}, {flow: b}], when: [{flow: [a, b], not_flow: a}]", ""),
])  # fmt: skip
def test_what_no_packet_and_no_party_is(tmp_path: Path, match: str, more: str, why: str) -> None:
    keys = f", {more}" if more else ""
    text = f"rules:\n  - {{title: x, sid: 1, traffic: tcp, match: [{{{match}}}]{keys}}}\n"
    faults = found(tmp_path, text, "r.yaml")
    assert [fault[: len(why)] for fault in faults] == ([why] if why else [])


def test_rules_that_come_after_each_other_are_never_heard(tmp_path: Path) -> None:
    def text(*after: int) -> str:
        return "rules:\n" + "".join(
            f"  - {{title: x, sid: {sid}, traffic: tcp, match: [{{payload: abcd{sid}}}]"
            + (f", after: {{rules: {other}, within: 1m}}" if other else "") + "}\n"
            for sid, other in enumerate(after, 1)
        )  # fmt: skip

    assert len(found(tmp_path, text(2, 3, 1), "r.yaml")) == 3
    assert len(found(tmp_path, text(2, 1, 2), "r.yaml")) == 3
    assert not found(tmp_path, text(2, 3, 0), "r.yaml")
    assert not found(tmp_path, text(0, 1, 2), "r.yaml")


def test_a_list_that_another_rule_learns_is_no_empty_one(tmp_path: Path) -> None:
    text = """lists: [{name: seen, learned: true}]
rules:
  - {title: x, sid: 1, traffic: http, match: [{http.uri: {in_list: seen}}]}
  - {title: y, sid: 2, traffic: http, match: [{http.uri: {learn: seen}}]}
"""
    assert not found(tmp_path, text, "r.yaml")
