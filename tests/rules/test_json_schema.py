"""The JSON Schema that editors check rule files by: what ships fits it, mistakes do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from ids.cli import cli
from ids.rules.language import yaml_headers
from ids.rules.language.json_schema import rule_file_schema
from ids.rules.language.schema_steps import MODIFIERS
from ids.rules.language.yaml_chain import WORDS
from ids.rules.model.transforms import NAMES
from tests.rules.builders import load, rule_text
from tests.shared import ROOT

SCHEMA = rule_file_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)


def faults(text: str) -> list[str]:
    """Return what an editor would mark; dates are text to it."""
    data = json.loads(json.dumps(yaml.safe_load(text), default=str))
    return [error.message for error in CHECK.iter_errors(data)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


RULES = sorted(path for path in (ROOT / "rules").rglob("*.yaml") if not path.name.endswith(".tests.yaml"))


@pytest.mark.parametrize("path", RULES, ids=lambda path: str(path.relative_to(ROOT / "rules")))
def test_every_rule_that_ships_fits(path: Path) -> None:
    assert faults(path.read_text()) == []


GOOD = [
    "[http.method: GET]",
    "[payload: [b, {hex: '63'}]]",
    "[payload: {contains: [a, {hex: 41}], nocase: true, size: {min: 4}}]",
    "[payload: [{contains: a, at: 0}, {extract: {size: 2, after: 0, as: len}}, {data_at_least: len}]]",
    "[payload: {bytes: {size: 2, at: 0, gt: 100}}]",
    "['payload|lower|xor:0d0a': {startswith: a}]",
    "[any: [{ip.ttl: {lt: 4}}, {none: [tcp.flags: {all: [syn], none: ack}]}], scapy.TCP.window: 7]",
    "[src_ip: [192.0.2.0/24], dst_ip: {in_list: {file: a.txt, kind: ip}}, http.host: {in_list: bad}]",
    "[payload: [{contains: a}, {decode_base64: {after: 0}}], base64_data: {contains: b}]",
]
BAD = [
    "[htpp.uri: GET]",
    "[http.uri|lowre: GET]",
    "[payload: {}]",
    "[payload: {nocase: true}]",
    "[payload: {contians: a}]",
    "[payload: [{contains: a, wihtin: 4}]]",
    "[payload: [{contains: a, regex: b}]]",
    "[payload: [{at: 4}]]",
    "[payload: [{size: 4, nocase: true}]]",
    "[payload: [{bytes: {size: two words, at: 0, gt: 1}}]]",
    "[payload: [{bytes: {size: 2, at: 0, above: 1}}]]",
    "[payload: [{contains: a, not: 'no'}]]",
    "[ip.ttl: low]",
    "[tcp.flags: [sny]]",
    "[tcp.flags: {most: [syn]}]",
    "[same_address: false]",
    "[decode.event: nothing]",
    "[scapy.TCP: 7]",
    "[any: {payload: a}]",
    "",
]
BAD_KEYS = [
    "levle: high", "level: hihg", "then: dorp", "flow: [to_sever]", "when: {flow: a}", "when: [{flwo: a}]",
    "set: [{src: a, for: 10 minutes}]", "count: {distinct: dst_prot, at_least: 3, within: 1s}",
    "count: {distinct: dst_port, at_least: 3}", "after: {rules: [1], by: someone, within: 1s}",
    "counters: {n: {plus: 1}}", "threshold: {type: limits, count: 1, seconds: 1}", "silent: 4", "repeats: often",
    "tests: [{name: x, probes: {flags: [SYN]}}]", "exceptions: [{src_ip: a}]", "rev: '2'", "rev: true", "silent: 'yes'",
    "repeats: 1", "threshold: {type: limit, count: '1', seconds: 1}",
    "threshold: {type: limit, count: 1, seconds: true}",
    "threshold:", "block:", "exceptions:", "filestore: 'yes'", "tests: [{name: x, payload: {times: '3'}}]",
]  # fmt: skip


@pytest.mark.parametrize("match", GOOD)
def test_what_is_right_fits(match: str) -> None:
    assert faults("rules:\n" + rule_text(match)) == []


@pytest.mark.parametrize(
    ("match", "more"), [(match, "") for match in BAD] + [("[payload: a]", key) for key in BAD_KEYS]
)
def test_what_is_wrong_does_not(match: str, more: str) -> None:
    """And the loader refuses it too."""
    text = "rules:\n" + rule_text(match, more=more)
    assert faults(text)
    assert load(text).errors


@pytest.mark.parametrize("text", ["rulse: []", "rules: [{title: a}]", "rules: [{sid: 1}]", "lists: [{name: a b}]"])
def test_a_file_and_a_rule_say_what_they_must(text: str) -> None:
    assert faults(text)


EXAMPLES = re.findall(r"(?ms)^```yaml\n(.*?)^```", (ROOT / "docs/rules.md").read_text())


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_documentation_fits(example: str) -> None:
    assert faults(example) == []


@pytest.mark.parametrize("text", [
    "lists: [{name: a, items: [da39a3ee5e6b4b0d3255bfef95601890afd80709], kind: sha1}]",
    "lists: [{name: a, file: a.txt, kind: sha256, format: sums}]", "required_engine_version: 0.1",
])  # fmt: skip
def test_a_list_may_be_what_the_documentation_says(text: str) -> None:
    assert (faults(text), load(text).errors) == ([], ())


def test_every_word_has_an_example() -> None:
    """In a rule that loads; those without a value of their own are in the tables."""
    examples, page = "".join(EXAMPLES), (ROOT / "docs/rules.md").read_text()
    keys = {"when", "set", "unset", "toggle", "counters", "silent", "repeats", "count", "after", "threshold", "tests"}
    for word in sorted(keys | set(MODIFIERS)):
        assert re.search(rf"[\s{{]{word}:", examples), word
    for word in sorted({*WORDS, *yaml_headers.WORDS, *NAMES}):
        assert re.search(rf"[`|]{re.escape(word)}[`:]", page) or re.search(rf"[\s{{]{re.escape(word)}:", examples), word


def test_every_word_is_in_it() -> None:
    text = json.dumps(SCHEMA)
    for word in (*WORDS, *MODIFIERS, *yaml_headers.WORDS):
        assert f'"{word}":' in text, word


def test_the_command_prints_it() -> None:
    result: Any = CliRunner().invoke(cli, ["rules", "schema"])
    assert result.exit_code == 0
    assert json.loads(result.output) == json.loads(json.dumps(SCHEMA))
