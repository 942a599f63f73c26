"""Suricata's rules become YAML that means the same, or stay behind with a reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.authoring.canonical import canonical
from ids.authoring.importing import import_rules, rule_text
from ids.authoring.likeness import differences, plain
from ids.authoring.spelling import Unsayable, rule_in_yaml
from ids.cli import cli
from ids.rules.language.loader import load_rules
from ids.rules.model.chain import Chain
from ids.rules.model.rule import All, Rule
from tests.authoring.import_reference import Compared, compare
from tests.rules.chains_reference import Maker
from tests.shared import shared

pytestmark = pytest.mark.long

HEAD = (
    "alert tcp $EXTERNAL_NET any -> $HOME_NET [445,!1:10]"
    " (msg:\"it's: a 'test' # of \\; words\"; flow:established,to_server;"
)


def text_of(options: str, number: int = 1, head: str = HEAD) -> str:
    return f"{head} {options} sid:{number}; rev:3; classtype:trojan-activity;)\n"


SAYABLE = [
    'content:"abc"; flowbits:set,a; flowbits:toggle,b;',
    'content:"abc"; tag:session,10,packets;',
    'content:"abc"; tag:host,9,seconds,dst;',
    'content:"abc"; app-layer-protocol:!http;',
    'content:"abc";',
    'content:"a|00 ff|c"; nocase; offset:4; depth:20;',
    'content:!"abc"; content:"def"; distance:2; within:9;',
    'content:"abc"; startswith;',
    'content:"abc"; endswith;',
    'content:"abc"; fast_pattern; content:"d"; distance:-3;',
    'content:"abc"; pcre:"/x[0-9]+y/Ri";',
    'content:"abc"; isdataat:10,relative; isdataat:!100;',
    'http.uri; content:"abc"; bsize:3;',
    'content:"abc"; byte_test:2,>,100,0,relative,little;',
    'content:"abc"; byte_jump:4,0,relative,multiplier 2,post_offset 3;',
    'byte_extract:1,0,size; content:"abc"; within:size;',
    'byte_math:bytes 2, offset 0, oper +, rvalue 7, result r; content:"a"; offset:r;',
    'content:"abc"; threshold:type limit, track by_src, count 1, seconds 60;',
    'content:"abc"; detection_filter:track by_dst, count 5, seconds 10;',
    'content:"abc"; flowbits:isset,a; flowbits:set,b; flowbits:noalert;',
    'content:"abc"; xbits:set,x,track ip_src,expire 60;',
    'content:"abc"; flowint:n,+,1; flowint:n,>,3;',
    "flags:S,12; ttl:<10; window:1024;",
    "flags:!A; id:7;",
    'content:"abc"; dsize:10<>20;',
    'content:"abc"; stream_size:client,>,10;',
    'content:"abc"; metadata:created_at 2019_01_01, tag a, tag b;',
    'content:"abc"; reference:cve,2019-1; reference:url,example.org/a;',
    'content:"abc"; priority:1;',
    "sameip;",
    'content:"abc"; content:"def"; distance:0; content:"ghi"; distance:0; nocase;',
    "ipopts:rr; fragbits:M+;",
    'content:"yes"; content:"010"; content:"null"; content:" "; content:"#"; content:"{a: b}";',
]  # fmt: skip


@pytest.mark.parametrize("flow", ["stateless", "to_client,only_stream", "no_stream", "not_established"])
def test_the_words_of_flow_come_out_the_same(tmp_path: Path, flow: str) -> None:
    path = tmp_path / "r.rules"
    path.write_text(f'alert tcp any any -> any any (msg:"x"; flow:{flow}; content:"abc"; sid:1;)')
    assert [entry.reason for entry in import_rules(str(path)).not_converted] == []


@pytest.mark.parametrize("options", SAYABLE)
def test_what_yaml_can_say_comes_out_the_same(tmp_path: Path, options: str) -> None:
    path = tmp_path / "r.rules"
    path.write_text(text_of(options))
    found = import_rules(str(path))
    assert [entry.reason for entry in found.not_converted] == []
    assert [str(error) for error in (*found.errors, *found.left_out)] == []
    yaml = tmp_path / "r.yaml"
    yaml.write_text("".join(found.document()))
    loaded = load_rules([yaml])
    assert [str(error) for error in loaded.errors] == []
    (before,), (after,) = load_rules([path]).rules, loaded.rules
    assert differences(canonical(before), after) == []


@pytest.mark.parametrize(("options", "reason"), [
    ('content:"abc"; byte_test:1,^,1,0,relative;', "bytes compared by ^"),
    ('content:"abc"; priority:9;', "priority 9"),
    ('content:"abc"; flowbits:unset,a; flowbits:set,b;', "comes out otherwise: state"),
])  # fmt: skip
def test_what_it_cannot_say_stays_behind_with_a_reason(tmp_path: Path, options: str, reason: str) -> None:
    path = tmp_path / "r.rules"
    path.write_text(text_of(options) + text_of('content:"good";', 2))
    found = import_rules(str(path))
    assert [entry.reason for entry in found.not_converted] == [reason]
    assert [rule.signature.sid for rule in found.converted] == [2]
    result = CliRunner().invoke(cli, ["rules", "import", str(path), "--each"])
    assert result.exit_code == 0
    assert f"r.rules:1:1: sid 1: {reason}" in result.stderr
    assert "1 rule converted, 1 not" in result.stderr


def test_what_does_not_load_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(text_of("nonsense:1;") + text_of('content:"good";', 2))
    assert "1  could not be loaded" in CliRunner().invoke(cli, ["rules", "import", str(path)]).stderr


@pytest.mark.parametrize("name", ["none.rules", "r.yaml"])
def test_no_file_is_an_error(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(cli, ["rules", "import", str(tmp_path / name)])
    assert result.exit_code != 0
    assert name in str(result.exception)


@pytest.mark.parametrize("seed", range(4))
def test_random_chains_come_out_the_same(tmp_path: Path, seed: int) -> None:
    (base,) = load_rules([_written(tmp_path, text_of('content:"abc";'))]).rules
    maker = Maker(seed=seed)
    rules: list[Rule] = []
    texts: list[str] = []
    for number in range(200):
        rule = canonical(_with(base, maker, number + 1))
        try:
            texts.append(rule_text(rule_in_yaml(rule, "tcp $EXTERNAL_NET any -> $HOME_NET [445,!1:10]")))
        except Unsayable:
            continue
        rules.append(rule)
    yaml = tmp_path / "r.yaml"
    yaml.write_text("rules:\n" + "".join(texts))
    loaded = load_rules([yaml])
    after = {rule.signature.sid: rule for rule in loaded.rules}
    assert len(after) > 100
    for rule in rules:
        other = after.get(rule.signature.sid)
        assert other is None or plain(other.condition) == plain(rule.condition)


def test_random_rules_mean_in_yaml_what_they_meant(tmp_path: Path) -> None:
    """Also on data; `import_reference` runs as many as you like."""
    found = Compared()
    compare(Maker(7, loadable=True), 300, tmp_path, found)
    assert found.wrong == []
    assert set(found.stayed) == {"bytes compared by ^"}
    assert found.same > 250
    assert found.held > 100


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "base.rules"
    path.write_text(text)
    return path


def _with(base: Rule, maker: Maker, sid: int) -> Rule:
    from dataclasses import replace

    condition = All((Chain("payload", maker.steps()),))
    return replace(base, condition=condition, signature=replace(base.signature, sid=sid))


def test_real_rules_come_out_the_same(tmp_path: Path) -> None:
    """Of a slice of a public set; what stays behind has one of a few reasons."""
    lines = shared("rules/et-open-2019.rules").read_text(encoding="latin-1").splitlines()
    some = [line for line in lines if line.startswith("alert")][::12]
    path = tmp_path / "r.rules"
    path.write_text("\n".join(some) + "\n", encoding="latin-1")
    found = import_rules(str(path))
    reasons = Counter(entry.reason.split(" with ")[0] for entry in found.not_converted)
    assert len(found.converted) > 0.9 * len(some), reasons
    yaml = tmp_path / "r.yaml"
    yaml.write_text("".join(found.document()))
    before = {rule.signature.sid: rule for rule in load_rules([path]).rules}
    for rule in found.converted:
        assert differences(rule, canonical(before[rule.signature.sid])) == []
