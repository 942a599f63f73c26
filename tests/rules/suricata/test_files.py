"""Files of rules: what is a rule, what is left out and where it stands, and what is kept for the next start."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ids.cache import Cache
from ids.errors import RuleError
from ids.protocols import ODDITIES
from ids.rules.language.loader import load_configured, load_rules
from ids.rules.language.suricata import kept
from ids.rules.language.suricata import loader as suricata_loader
from ids.rules.language.suricata.files import ConfigPaths
from ids.rules.language.suricata.unsaid import UNSAID
from ids.rules.model.chain import Chain, Content
from ids.rules.model.rule import leaves
from ids.rules.model.ruleset import RuleSet
from ids.rules.settings import RulesSettings
from ids.types import Direction
from tests.rules.suricata.making import fault_of, parts_of, rule_of
from tests.shared import shared

GOOD = 'alert tcp any any -> any any (msg:"good"; content:"abc"; sid:1;)\n'


def load(text: str, tmp_path: Path, **options: object) -> RuleSet:
    path = tmp_path / "a.rules"
    path.write_bytes(text.encode("latin-1"))
    return load_rules([path], **options)  # type: ignore[arg-type]


def left_out(loaded: RuleSet, tmp_path: Path) -> list[str]:
    return [str(error).removeprefix(f"{tmp_path}/") for error in loaded.refused]


def test_comments_empty_lines_and_disabled_rules_are_skipped(tmp_path: Path) -> None:
    text = "# a comment\n\n   \n#alert tcp nonsense\n# alert tcp \\\n  nonsense (\n" + GOOD + "\r\n"
    loaded = load(text, tmp_path)
    assert [rule.signature.sid for rule in loaded.rules] == [1]
    assert loaded.refused == ()


def test_a_rule_may_go_over_several_lines(tmp_path: Path) -> None:
    text = 'alert tcp any any -> any any ( \\\n  msg:"over \\\nlines"; \\\r\n  content:"a"; replace:"b"; sid:1;)\n'
    text += GOOD
    loaded = load(text, tmp_path)
    assert left_out(loaded, tmp_path) == [
        "a.rules:4:16: replace: it is not supported (leave it out, or use another rule)"
    ]
    assert [rule.source.line for rule in loaded.rules] == [5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bogus", "1:1: it has no options"),
        ("  alert tcp any any -> any (sid:1;)", "1:3: its header has 6 words instead of seven"),
        ("warn tcp any any -> any any (sid:1;)", "1:1: 'warn' is no action"),
        ("alert foo any any -> any any (sid:1;)", "1:7: unknown protocol 'foo'"),
        ("alert irc any any -> any any (sid:1;)", "1:7: nothing here recognises irc"),
        ("alert tcp any any <- any any (sid:1;)", "1:19: '<-' is no direction"),
        ("alert tcp $NONE any -> any any (sid:1;)", "1:11: variable $NONE is not defined"),
        ("alert tcp any 5:1 -> any any (sid:1;)", "1:15: the range 5:1 runs backwards"),
        ("alert tcp any any -> 1.2.3 any (sid:1;)", "1:22: '1.2.3' is no address"),
        ("alert tcp any any -> any any (sid:1;", "1:37: no ) ends the options"),
        ("alert tcp any any -> any any (sid:1)", "1:31: no ; ends the option"),
        ("alert tcp any any -> any any (sid:1; ???;)", "1:38: is no option"),
        ('alert tcp any any -> any any (content:"a";)', "1:1: it has no sid"),
        ("alert tcp any any -> any any (sid:x;)", "1:31: sid: 'x' is no number"),
        ("alert tcp any any -> any any (contend:a; sid:1;)", "1:31: contend: no such option is known"),
        ("alert http any any -> any any (vxlan_vni:1; sid:1;)", "1:32: vxlan_vni: it is not supported"),
    ],
)
def test_faults_have_their_place(text: str, expected: str, tmp_path: Path) -> None:
    (fault,) = left_out(load(text + "\n", tmp_path), tmp_path)
    assert fault.startswith(f"a.rules:{expected}")


MALFORMED = [
    'content:"a"; fast_pattern; fast_pattern;', 'content:"a"; depth:5; fast_pattern:only;', "dsize:1; dsize:1;",
    "reference:url,,a;", 'metadata:"a b";',
    "content:;", "content:abc;", 'content:"";', 'content:"|4|";', 'content:"|41 42";', r'content:"a\b";',
    'content:"a"b";', "nocase;", 'content:"a"; nocase; nocase;', 'content:"a"; nocase:1;', 'content:"abc"; depth:2;',
    'content:"abc"; within:2;', 'content:"a"; depth:1; depth:2;', 'content:"a"; startswith; depth:3;',
    'content:"a"; depth:3; startswith;', 'content:"a"; offset:-1;', 'content:"a"; offset:x;',
    'content:"a"; depth:70000;', 'content:"a"; fast_pattern; content:"b"; fast_pattern;',
    'content:"ab"; fast_pattern:1,2;', 'content:!"a"; fast_pattern:only;',
    'content:"a"; fast_pattern:only; content:"b"; distance:0;', 'pcre:"abc";', 'pcre:"/abc";', 'pcre:"/a(/";',
    'pcre:"/a[/";', 'pcre:"/a/q";', 'pcre:"/a/UP";', 'pcre:"//";', r'pcre:"/a)/";', 'pcre:"/a/R";', "isdataat:x;",
    "isdataat:1,foo;", "byte_test:1,>,2;", "byte_test:9,>,0,0;", "byte_test:1,?,2,0;", "byte_test:1,>,x,0;",
    "byte_test:24,>,0,0,string;", "byte_jump:4;", "byte_jump:4,70000;", "byte_extract:1,0,1x;",
    "byte_math:bytes 4,offset 0,oper +,rvalue 1;", "byte_math:bytes 4,offset 0,oper /,rvalue 0,result n;",
    "base64_data;", 'content:"a"; base64_decode; base64_data; content:"b"; http.uri; content:"c";', "ttl:300;",
    "ttl:10<>11;", "ttl:x;", "dsize:<0;", "seq:>1;", "flags:Z;", "flags:+S*;", "flags:S,1,2;", "fragbits:X;",
    "ipopts:foo;", "sameip:1;", "ip_proto:foo;", "tos:300;", "tcpv4-csum:maybe;", "decode-event:A B;",
    "stream_size:foo,<,1;", "flow:foo;", "flow:to_server,to_client;", "flow:only_stream,no_stream;",
    "flow:established; flow:to_server;", "flowbits:set;", "flowbits:foo,a;", "flowbits:set,a|b;", "flowbits:set,a b;",
    "hostbits:set,a,foo;", "xbits:set,a,track foo;", "xbits:set,a,track ip_src,expire 0;", "flowint:ab,foo,1;",
    "threshold:type limit;", "threshold:type foo, track by_src, count 1, seconds 1;", "tag:foo;", "tag:host,1,foo;",
    "detection_filter:track by_foo, count 1, seconds 1;", "reference:foo;", "target:foo;", "msg:a;",
    'msg:"a"; msg:"b";', "requires:version 7;", "app-layer-protocol:foo;", "bsize:5;", "to_lowercase;", "http.uri;",
    'http.uri; http.host; content:"a";', 'http.uri; content:"a"; http_host;', 'http.uri; content:"abc"; bsize:2;',
    'http.uri; xor:"0"; content:"a";', 'http.uri; content:"a"; tls.sni; content:"b";',
    'http.uri; content:"a"; http.stat_code; content:"b";', 'http.uri; content:"a"; flow:to_client;',
    'http.uri; pcre:"/a/M";', "priority:x;", "classtype:a b;",
]  # fmt: skip


@pytest.mark.parametrize("options", MALFORMED)
def test_what_suricata_refuses_is_refused(options: str) -> None:
    cause, message = fault_of(options)
    assert cause == "malformed"
    assert message


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ("hostbits:set,a,both;", "hostbits both"),
        ("xbits:set,a,track tx;", "xbits tx"),
        ("app-layer-event:dns.no_such_event;", "app-layer-event"),
        ("stream-event:no_such_event;", "stream-event"),
        ("app-layer-protocol:!irc;", "protocol irc"),
        ("app-layer-protocol:http,final;", "app-layer-protocol mode"),
        ("requires:foo bar;", "requires"),
    ],
)
def test_what_is_not_supported_has_its_name(options: str, cause: str) -> None:
    assert fault_of(options)[0] == cause


@pytest.mark.parametrize("event", UNSAID)
def test_of_an_event_that_nothing_says_it_is_said_why(event: str) -> None:
    cause, message = fault_of(f"app-layer-event:{event};")
    assert (cause, message) == ("app-layer-event", f"{event}: {UNSAID[event]}")
    assert event not in ODDITIES


def test_a_bad_rule_costs_itself_alone(tmp_path: Path) -> None:
    text = GOOD + "nonsense\n" + GOOD.replace("sid:1", "geoip:src,DE; sid:2") + GOOD.replace("sid:1", "sid:3")
    loaded = load(text, tmp_path)
    assert [rule.signature.sid for rule in loaded.rules] == [1, 3]
    assert loaded.errors == ()
    assert loaded.left_out() == "2 left out: keyword geoip 1, malformed 1"


def test_strict_settings_make_errors_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text(GOOD + "nonsense\n")
    assert load_configured(RulesSettings(paths=[str(path)])).errors == ()
    (error,) = load_configured(RulesSettings(paths=[str(path)], strict=True)).errors
    assert error.location.line == 2


def test_of_two_revisions_the_newer_one_stays(tmp_path: Path) -> None:
    old, new = (GOOD.replace("sid:1;", f"sid:1; rev:{rev};") for rev in (1, 2))
    for text in (old + new, new + old, old + new + old):
        loaded = load(text, tmp_path)
        assert [rule.signature.rev for rule in loaded.rules] == [2]
        assert {rule.cause for rule in loaded.refused} == {"duplicate sid"}


def test_a_sid_belongs_to_one_rule_of_all_languages(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("rules: [{title: t, sid: 1, traffic: tcp, match: [payload: {contains: abcdef}]}]")
    (tmp_path / "b.rules").write_text(GOOD)
    loaded = load_rules([tmp_path])
    assert [rule.signature.title for rule in loaded.rules] == ["t"]
    assert loaded.left_out() == "1 left out: duplicate sid 1"


def test_rules_for_another_version_are_skipped(tmp_path: Path) -> None:
    needs = [
        "version >= 7",
        "version >= 7.0.3 < 8 | >= 9",
        "keyword content",
        "version >= 8",
        "keyword foo",
        "feature x",
    ]
    text = "".join(GOOD.replace("sid:1;", f"requires: {need}; sid:{sid};") for sid, need in enumerate(needs, 1))
    loaded = load(text, tmp_path)
    assert [rule.signature.sid for rule in loaded.rules] == [1, 2, 3]
    assert (loaded.skipped, loaded.refused) == (3, ())


def test_text_is_utf_8(tmp_path: Path) -> None:
    text = 'alert tcp any any -> any any (msg:"ä"; content:"ä"; sid:1;)'.encode().decode("latin-1")
    (rule,) = load(text, tmp_path).rules
    assert rule.signature.title == "ä"
    assert rule.condition.parts == parts_of('content:"|c3 a4|";')


@pytest.mark.parametrize(("sign", "fault"), [("\xff", "it is no UTF-8"), ("\x01", "a control character")])
def test_other_bytes_are_refused(sign: str, fault: str, tmp_path: Path) -> None:
    (error,) = left_out(load(GOOD.replace("abc", sign), tmp_path), tmp_path)
    assert error.startswith(f"a.rules:1:52: {fault}")


def test_the_files_beside_the_rules_are_read(tmp_path: Path) -> None:
    classes, references = tmp_path / "classification.config", tmp_path / "reference.config"
    classes.write_text("# c\nconfig classification: mine,My own class, 2\nnonsense\n")
    references.write_text("config reference: mine https://example.com/\n")
    text = GOOD.replace("sid:1;", "classtype:mine; reference:mine,a; sid:1;")
    loaded = load(text, tmp_path, config=ConfigPaths(str(classes), str(references)))
    (rule,) = loaded.rules
    assert (rule.signature.severity, rule.signature.references) == (2, ("https://example.com/a",))
    (error,) = loaded.errors
    assert (error.location.path, error.location.line) == (str(classes), 3)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    loaded = load_rules([tmp_path / "none.rules"])
    assert ["cannot be read" in error.message for error in loaded.errors] == [True]
    loaded = load(GOOD, tmp_path, config=ConfigPaths(str(tmp_path / "none.config")))
    assert "cannot be read" in loaded.errors[0].message


def test_a_rule_and_its_options_are_bounded(tmp_path: Path) -> None:
    long = GOOD.replace("abc", "a" * 70_000)
    many = GOOD.replace("sid:1;", "prefilter;" * 5000 + "sid:2;")
    loaded = load(long + many, tmp_path)
    assert [rule.cause for rule in loaded.refused] == ["malformed", "malformed"]


def test_what_was_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    text = GOOD + 'drop http any any -> any 80 (pcre:"/a[bc]+/Ui"; flowbits:set,x; sid:2; metadata:a b;)\nnonsense\n'
    first = load(text, tmp_path, cache=cache)

    def no_builder(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(suricata_loader, "SuricataLoader", no_builder)
    again = load(text, tmp_path, cache=cache)
    assert [(r.signature, r.traffic, r.flow, r.source, r.buffers, r.repeats) for r in again.rules] == [
        (r.signature, r.traffic, r.flow, r.source, r.buffers, r.repeats) for r in first.rules
    ]
    assert [str(error) for error in again.refused] == [str(error) for error in first.refused]
    assert again.left_out() == first.left_out()
    for changed in (text + "\n# a comment", text.replace("abc", "abd")):
        with pytest.raises(AssertionError, match="built again"):
            load(changed, tmp_path, cache=cache)
    with pytest.raises(AssertionError, match="built again"):
        load(text, tmp_path, cache=cache, variables={"HOME_NET": "192.0.2.0/24"})


KEPT_RULES = (
    GOOD
    + """
alert tcp any any -> any any (content:"abc"; content:"def"; distance:1; byte_test:1,>,3,0,relative; sid:11;)
alert tcp any any -> any any (flags:S; ttl:>3; threshold:type limit, track by_src, count 1, seconds 5; sid:12;)
alert http any any -> any any (http.uri; content:"a|20|b"; nocase; pcre:"/x+y/R"; flowbits:isset,x; sid:13;)
alert ip any any -> any any (itype:8; fragbits:D; sid:14;)
drop dns any any -> any 53 (dns.query; content:"example"; endswith; dataset:isset,d,type string; sid:15;)
"""
)


def test_what_is_read_back_is_what_was_kept(tmp_path: Path) -> None:
    """Field by field, whatever is in each other: those of a set, too, are hashed when they are read."""
    rules = load(KEPT_RULES, tmp_path).rules
    assert len(rules) >= 5
    cache = Cache(tmp_path / "kept", kept.CACHE_SUFFIX)
    kept.keep(cache, "0" * 64, kept.Loaded(tuple(rules)))
    again = kept.load(cache, "0" * 64)
    assert again is not None
    for rule, other in zip(rules, again.rules, strict=True):
        for field in fields(rule):
            was, now = getattr(rule, field.name), getattr(other, field.name)
            assert type(now) is type(was)
            assert now == was or repr(now) == repr(was), field.name  # two patterns are never equal
    assert not any(isinstance(leaf, Chain) and leaf.program for rule in again.rules for leaf in leaves(rule.condition))


def test_what_a_chain_was_compiled_to_is_not_kept(tmp_path: Path) -> None:
    (rule,) = load(GOOD, tmp_path).rules
    (chain,) = [leaf for leaf in leaves(rule.condition) if isinstance(leaf, Chain)]
    object.__setattr__(chain, "program", lambda: None)
    cache = Cache(tmp_path / "kept", kept.CACHE_SUFFIX)
    kept.keep(cache, "0" * 64, kept.Loaded((rule,)))
    again = kept.load(cache, "0" * 64)
    assert again is not None
    assert [leaf.program for leaf in leaves(again.rules[0].condition) if isinstance(leaf, Chain)] == [None]


def test_a_file_that_ends_early_is_as_good_as_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept", kept.CACHE_SUFFIX)
    kept.keep(cache, "0" * 64, kept.Loaded(tuple(load(KEPT_RULES, tmp_path).rules)))
    whole = cache.get("0" * 64)
    assert whole is not None
    for end in range(0, len(whole), 97):
        cache.put("1" * 64, whole[:end])
        assert kept.load(cache, "1" * 64) is None


@pytest.mark.parametrize("part", [
    ([Path], b"\0\0", 0),  # of no class of ours
    ([Content], b"\1\0", 0),  # of a class that is not there
    ([Content], b"\0", 0),  # half a number
    ([Content], b"\0\0", 1, (Content, b"\7\0\0\0", [(True, 1)] * 9)),  # an object that is not there
    ([Content], b"\0\0", 1, (Content, b"\0\0\0\0", [(True, 1)])),  # a field of nine
    ([Content], b"\0\0", 1, (Direction, b"\0\0\0\0", [])),  # no dataclass
])  # fmt: skip
def test_columns_that_fit_nothing_are_as_good_as_none(tmp_path: Path, part: tuple[Any, ...]) -> None:
    head, *groups = part[:3], *part[3:]
    cache = Cache(tmp_path / "kept", kept.CACHE_SUFFIX)
    cache.put("0" * 64, b"".join(pickle.dumps(each, 5) for each in (((), 0, (), frozenset(), 1), head, *groups, ())))
    assert kept.load(cache, "0" * 64) is None


def test_what_is_kept_can_be_of_the_model_only(tmp_path: Path) -> None:
    for kept_bytes in (
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\nint\nS'x'\ntR.",
        b"",
        b"\x80\x05",
    ):
        cache = Cache(tmp_path / "cache", kept.CACHE_SUFFIX)
        cache.put("0" * 64, kept_bytes)
        assert kept.load(cache, "0" * 64) is None


def test_errors_of_files_are_no_rule_errors_of_others(tmp_path: Path) -> None:
    errors: list[RuleError] = []
    loaded = suricata_loader.load_suricata([str(tmp_path / "none.rules"), str(tmp_path)], {}, None, errors, tmp_path)
    assert (len(errors), len(loaded.rules)) == (2, 0)


def test_the_public_rules_load() -> None:
    loaded = load_rules([shared("rules/et-open-2019.rules")])
    assert len(loaded.rules) >= 0.97 * (len(loaded.rules) + len(loaded.refused))
    assert len(loaded.rules) + len(loaded.refused) == 18220
    assert rule_of("").condition.parts == ()
