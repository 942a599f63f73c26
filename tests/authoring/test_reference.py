"""Every keyword and every buffer has an entry in the reference, and each example fires and stays silent as it says."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ids.authoring import parties
from ids.authoring.companion import companion_of, companion_tests
from ids.authoring.proving import proofs_of, prove
from ids.authoring.reference.entries import entries
from ids.authoring.reference.pages import about, names, unwritten
from ids.authoring.reference.rules import spelt, traffic_of
from ids.authoring.stimuli import frames_of
from ids.capture.writer import PcapWriter
from ids.cli import cli
from ids.config import load_config
from ids.errors import RuleError
from ids.rules.language.loader import load_rules
from ids.rules.language.schema import ProofSchema
from ids.rules.language.suricata.files import ConfigPaths
from ids.rules.language.suricata.keywords import KEYWORDS, LATER
from ids.testing.values import T0
from tests.authoring.reference_examples import EXAMPLES, NEWER, SIDS, dumped, text_of
from tests.rules.suricata.making import fault_of, rule_of

pytestmark = pytest.mark.long

Found = dict[str, list[tuple[str, str, bool]]]
"""By the example's name: test, what came, whether it held."""

NOT_COMPARED = {
    "asn1": "Suricata looks at datagrams alone",
    "ja3s_hash": "an older spelling that only this engine takes",
    "ja3s_string": "the same",
    "ssh_hassh": "the same",
    "geoip": "Suricata's setting names no file",
    "iprep": "Suricata's setting names no files",
    "lua": "Suricata runs scripts where it is built and set up so",
    "luajit": "the same",
    "filesha1": "Suricata looks for lists elsewhere",
    "filesha256": "Suricata looks for lists elsewhere",
    "http2.frametype": "Suricata raises none where the stream is reset before an answer",
    "http2.frametype in .rules": "the same",
    "http2.header in .rules": "Suricata has the name and the value in other words",
    "mqtt.connack.session_present in .rules": "Suricata 7.0.10 does not alert on it here",
}
"""Examples that Suricata does not judge alike, and why."""


def written(folder: Path) -> list[Path]:
    """Write all examples as one file a language, with their tests and the files that they name."""
    for keyword in entries().keywords().values():
        for file, content in keyword.files.items():
            (folder / file).write_text(content)
        for file, coded in keyword.binary.items():
            (folder / file).write_bytes(b64decode(coded))
    paths = []
    for suffix in (".rules", ".yaml", ".yar"):
        chosen = [name for name, example in EXAMPLES.items() if example.suffix == suffix]
        text = "".join(map(text_of, chosen))
        tests = {SIDS[name]: list(EXAMPLES[name].tests) for name in chosen}
        path = folder / f"examples_{suffix[1:]}{suffix}"
        if suffix == ".yaml":
            rules = yaml.safe_load(text)
            text = dumped({"rules": [{**rule, "tests": tests[rule["sid"]]} for rule in rules]})
        else:
            companion_of(path).write_text(dumped({"tests": tests}))
        path.write_text(text)
        paths.append(path)
    return paths


def settings_of(folder: Path) -> list[str]:
    """Return the settings that examples ask for, with the files of the folder."""
    found = []
    for keyword in entries().keywords().values():
        for key, files in keyword.settings.items():
            value = str(folder / files) if isinstance(files, str) else [str(folder / file) for file in files]
            found.append(f"rules.{key}={json.dumps(value)}")
    return found


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Run all tests of all examples in one engine."""
    folder = tmp_path_factory.mktemp("reference")
    paths = written(folder)
    config = load_config(None, [f"rules.paths={json.dumps([str(path) for path in paths])}", *settings_of(folder)])
    loaded = load_rules(paths, config=ConfigPaths.of(config.rules))
    assert [str(error) for error in (*loaded.errors, *loaded.refused)] == []
    rules = [*loaded.rules, *loaded.yara.rules]
    sids: dict[str, set[int]] = {}
    for rule in rules:
        sids.setdefault(rule.source.path, set()).add(rule.signature.sid)
    errors: list[RuleError] = []
    beside = companion_tests(map(str, paths), {file: frozenset(held) for file, held in sids.items()}, errors)
    assert errors == []
    of_sid = {sid: name for name, sid in SIDS.items()}
    found: Found = {}
    for verdict in prove(proofs_of(rules, beside), config):
        found.setdefault(of_sid[verdict.proof.sid], []).append((verdict.proof.test.name, verdict.got, verdict.held))
    return found


def test_every_keyword_and_every_buffer_has_an_entry() -> None:
    assert unwritten() == [], (
        "write it to ids/authoring/reference/*.yaml (or its name to awaited), then run `make docs`"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fires_and_stays_silent(name: str, proved: Found) -> None:
    fires, silent = proved[name]
    assert fires[0] == "fires"
    assert fires[2], f"it gave {fires[1]}"
    assert silent == ("stays silent", "no alert", True)


def test_each_example_uses_what_it_is_an_example_of() -> None:
    """``sid`` and the like are in every rule; all others are named in its options."""
    for name, keyword in entries().keywords().items():
        uses = [keyword.options, *keyword.before, "msg sid rev"]
        assert any(name in text.replace(":", " ").replace(";", " ").split() for text in uses), name


@pytest.mark.parametrize("name", [name for name, entry in entries().buffers.items() if entry.forms])
def test_other_forms_of_an_option_on_a_buffer_are_taken(name: str) -> None:
    entry = entries().buffers[name]
    for form in entry.forms:
        assert form.startswith(f"{name}:")
        rule_of(form, f"alert {traffic_of(name, entry)} any any -> any any")


@pytest.mark.parametrize("name", sorted(LATER))
def test_what_is_refused_is_refused_by_name(name: str) -> None:
    assert fault_of(f"{name}:1;")[0] == f"keyword {name}"


@pytest.mark.parametrize("name", names())
def test_there_is_something_to_say_of_every_name(name: str) -> None:
    assert about(name), name


def test_every_name_of_a_keyword_is_known() -> None:
    assert KEYWORDS.keys() | LATER <= set(names())


@pytest.mark.parametrize(("value", "text"), [
    (b"abc", "abc"), (b'a"b', "a|22|b"), (b"\0\xff", "|00 ff|"), (b"a;b:c\\", "a|3b|b|3a|c|5c|"), (b"|", "|7c|"),
])  # fmt: skip
def test_bytes_are_spelt_as_a_content_has_them(value: bytes, text: str) -> None:
    assert spelt(value) == text


def test_the_command_prints_an_entry_or_all_names() -> None:
    one = CliRunner().invoke(cli, ["rules", "keyword", "byte_test"])
    assert one.exit_code == 0
    assert "byte_test:2,>,1000,0,relative;" in one.stdout
    everything = CliRunner().invoke(cli, ["rules", "keyword"])
    assert everything.stdout.split() == names()
    unknown = CliRunner().invoke(cli, ["rules", "keyword", "conten"])
    assert unknown.exit_code != 0
    assert "did you mean 'content'?" in str(unknown.exception)


def _recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """Write what fires and what does not into one capture, each from a client of its own; return those by address."""
    chosen = {name: example for name, example in EXAMPLES.items() if example.suffix == ".rules"}
    config = load_config(None, settings_of(folder))
    loaded = load_rules([folder / "examples_rules.rules"], config=ConfigPaths.of(config.rules))
    rules = {rule.signature.sid: rule for rule in loaded.rules}
    clients: dict[str, tuple[int, int]] = {}
    with (folder / "all.pcap").open("wb") as stream:
        writer = PcapWriter(stream)
        for number, (name, example) in enumerate(chosen.items()):
            for kind, test in enumerate(example.tests):
                monkeypatch.setattr(parties, "CLIENT", f"198.18.{number // 100}.{2 * (number % 100) + kind + 1}")
                monkeypatch.setattr(parties, "CLIENT6", f"2001:db8:18::{2 * number + kind + 1:x}")
                clients |= dict.fromkeys((parties.CLIENT, parties.CLIENT6), (SIDS[name], kind))
                for at, frame in frames_of(rules[SIDS[name]], ProofSchema.model_validate(test).proof()):
                    writer.write(frame, T0 + (2 * number + kind) * 1_000_000_000 + at)
    return clients


def _peers_alerts(folder: Path, clients: dict[str, tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the sids with which Suricata alerts on what fires (0) and on what does not (1)."""
    subprocess.run(
        ["suricata", "-r", "all.pcap", "-S", "examples_rules.rules", "-l", ".", "--runmode", "single", "-k", "none",
         "--set", "packet-alert-max=255", "--set", "app-layer.protocols.modbus.enabled=yes",
         "--set", "app-layer.protocols.dnp3.enabled=yes", "--set", "app-layer.protocols.enip.enabled=yes"],
        cwd=folder, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    found = set()
    for line in (folder / "eve.json").read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["event_type"] == "alert":
            ends = [str(ipaddress.ip_address(event[end])) for end in ("src_ip", "dest_ip")]
            sid, kind = next(clients[end] for end in ends if end in clients)
            if event["alert"]["signature_id"] == sid:
                found.add((sid, kind))
    return found


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
def test_the_examples_mean_the_same_to_suricata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path)
    found = _peers_alerts(tmp_path, _recorded(tmp_path, monkeypatch))
    compared = [
        name
        for name, example in EXAMPLES.items()
        if example.suffix == ".rules" and name not in NEWER and name not in NOT_COMPARED
    ]
    wrong = {name: [kind for kind in (0, 1) if (SIDS[name], kind) in found] for name in compared}
    assert {name: kinds for name, kinds in wrong.items() if kinds != [0]} == {}
