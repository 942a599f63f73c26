"""Bad input: one clear message with its place, the right exit code, nothing lost. Each case is a command as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ids.cli import main
from ids.store.database import open_writing
from tests.shared import ROOT

CAPTURE = ROOT / "pcaps" / "log4shell.pcap"

GOOD_RULE = """
rules:
  - title: a test rule
    id: 3f1f6a52-6c0e-4a57-9d0e-0b7c5a1e2f11
    sid: 9000001
    level: high
    description: a rule of the tests
    traffic: tcp any any -> any any
    match:
      - payload: {contains: "${jndi:"}
"""

Ids = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ids(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ids:
    """Run one command in an empty folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        code = ended.value.code
        captured = capsys.readouterr()
        return (0 if code is None else int(code)), captured.out, captured.err

    return run


def write(path: str, text: str) -> str:
    Path(path).write_text(text)
    return path


def test_a_good_rule_is_the_measure(ids: Ids) -> None:
    code, out, _ = ids("replay", CAPTURE, "-S", write("good.yaml", GOOD_RULE), "-o", "json")
    assert code == 0
    assert "9000001" in json.loads(out)["captures"][0]["alerts"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("    level: high", "    levle: high"), "bad.yaml:6:"),
        (("contains:", "contians:"), "bad.yaml:10:"),
        (("tcp any any -> any any", "tcp any any => any any"), "bad.yaml:8:"),
        (("any any -> any", "any any -> $NOWHERE"), "bad.yaml:8:"),
        (("  - title", "  - - title"), "bad.yaml:"),
    ],
)
def test_a_malformed_rule_is_reported_with_its_place(ids: Ids, change: tuple[str, str], message: str) -> None:
    code, _, err = ids("replay", CAPTURE, "-S", write("bad.yaml", GOOD_RULE.replace(*change)))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_all_faults_of_all_files_are_reported_at_once(ids: Ids) -> None:
    write("a.yaml", GOOD_RULE.replace("level", "lvl"))
    write("b.yaml", GOOD_RULE.replace("contains", "has"))
    code, _, err = ids("rules", "check", "a.yaml", "b.yaml")
    assert code == 2
    assert "a.yaml:" in err
    assert "b.yaml:" in err


def test_a_broken_yara_file_is_reported_with_its_line(ids: Ids) -> None:
    code, _, err = ids("rules", "check", write("bad.yar", 'rule x {\n strings:\n  $a = "b\n condition: $a }\n'))
    assert code == 2
    assert "bad.yar:4" in err


def test_a_truncated_capture_is_replayed_up_to_the_cut_with_a_warning(ids: Ids) -> None:
    whole = CAPTURE.read_bytes()
    Path("cut.pcap").write_bytes(whole[:-7])
    code, out, err = ids("replay", "cut.pcap", "-o", "json")
    assert code == 0
    assert "cut.pcap" in err
    assert "warning" in err
    report = json.loads(out)["captures"][0]
    _, out, _ = ids("replay", CAPTURE, "-o", "json")
    assert report["packets"] == json.loads(out)["captures"][0]["packets"] - 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("text.pcap", "hello, this is no capture", "text.pcap"), ("empty.pcap", "", "empty.pcap")],
)
def test_what_is_no_capture_is_refused(ids: Ids, name: str, content: str, message: str) -> None:
    code, _, err = ids("replay", write(name, content))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_missing_capture_is_refused(ids: Ids) -> None:
    code, _, err = ids("replay", "none.pcap")
    assert code == 2
    assert "none.pcap" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fastpth: {}\n", "c.yaml:1:"),
        ("respond:\n  mode: sometimes\n", "c.yaml:2:"),
        ("respond:\n  default_ttl_s: [1]\n", "c.yaml:2:"),
        ("- a list\n", "c.yaml:1:1"),
        ("a: b: c\n", "c.yaml:1:"),
    ],
)
def test_a_bad_setting_is_reported_with_its_place(ids: Ids, text: str, message: str) -> None:
    code, _, err = ids("check", "-c", write("c.yaml", text))
    assert code == 2
    assert message in err


def test_the_nearest_setting_is_named(ids: Ids) -> None:
    _, _, err = ids("check", "-c", write("c.yaml", "fastpth: {}\n"))
    assert "did you mean 'fastpath'?" in err


@pytest.mark.parametrize(
    "override", ["respond.mode", "respond.mode=sometimes", "respond.mode.x=1", "=1", "a=[", "none=1"]
)
def test_a_bad_override_is_refused(ids: Ids, override: str) -> None:
    code, _, err = ids("check", "--set", override)
    assert code == 2
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HOME_NET: 203.0.113.999", "c.yaml:2:13: vars.HOME_NET: '203.0.113.999' is no address"),
        ("HOME_NET: [192.0.2.0/24, 203.0.113.999]", "c.yaml:2:3: vars.HOME_NET: '203.0.113.999' is no address"),
        ("HOME_NET: '80'", "vars.HOME_NET: '80' is no address"),
        ("HTTP_PORTS: '99999'", "vars.HTTP_PORTS: '99999' is no port"),
        ("OURS: $THEIRS", "vars.OURS: variable $THEIRS is not defined"),
        ("OURS: $OURS", "vars.OURS: variable $OURS is defined by itself"),
    ],
)
def test_a_variable_that_is_no_group_is_reported_where_it_stands(ids: Ids, text: str, message: str) -> None:
    code, _, err = ids("check", "-c", write("c.yaml", f"vars:\n  {text}\n"))
    assert (code, message in err) == (2, True), err


@pytest.mark.parametrize("text", ["OURS: 192.0.2.0/24", "OURS: '8000:8080'", "HOME_NET: [10.0.0.0/8, '!10.1.0.0/16']"])
def test_a_variable_of_either_kind_is_taken(ids: Ids, text: str) -> None:
    assert ids("check", "-c", write("c.yaml", f"vars:\n  {text}\n"))[0] == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "vars.HOME_NET=203.0.113.999",
            "--set vars.HOME_NET=203.0.113.999: vars.HOME_NET: '203.0.113.999' is no address",
        ),
        ("vars={HOME_NET: x}", "--set vars={HOME_NET: x}: vars.HOME_NET: 'x' is no address"),
        ("var.HOME_NET=192.0.2.0/24", "--set var.HOME_NET=192.0.2.0/24: unknown key 'var' (did you mean 'vars'?)"),
        (
            "respond.allow=bad",
            "--set respond.allow=bad: respond.allow: input should be a valid list, not 'bad' (write a list: [bad])",
        ),
        (
            "respond.allow=[192.0.2.7, bad]",
            "respond.allow.1: value is not a valid IPv4 or IPv6 network, not 'bad' (write an address or a prefix: ",
        ),
        ("respond.allow=[192.0.2.7/24]", "not '192.0.2.7/24' (did you mean 192.0.2.0/24?)"),
    ],
)
def test_a_fault_of_an_override_is_reported_as_its_own(ids: Ids, override: str, message: str) -> None:
    code, _, err = ids("check", "-c", write("c.yaml", "vars: {HOME_NET: 192.0.2.0/24}\n"), "--set", override)
    assert (code, message in err) == (2, True), err
    assert message in ids("check", "--set", override)[2]


def test_a_run_without_an_interface_says_how_to_name_one(ids: Ids) -> None:
    code, _, err = ids("run")
    assert code == 2
    assert "-i" in err


@pytest.mark.parametrize("words", [("replay", CAPTURE), ("replay", CAPTURE, "-o", "json"), ("config", "schema")])
def test_where_the_output_does_not_fit_it_says_so_without_a_traceback(
    words: tuple[object, ...], ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    with suppress(OSError), open("/dev/full", "w") as full:  # its end writes what is left
        monkeypatch.setattr("sys.stdout", full)
        code, _, err = ids(*words)
    assert code == 2
    assert err == "ids: what is written: No space left on device\n"


def test_an_unknown_verb_is_refused(ids: Ids) -> None:
    assert ids("defend")[0] == 2


def test_a_block_without_a_fast_path_says_what_is_missing(ids: Ids) -> None:
    code, _, err = ids("block", "list", "--set", "fastpath.pin_dir=/sys/fs/bpf/ids/there-is-none")
    assert code == 3
    assert "ids run" in err


@pytest.mark.parametrize("word", ["192.0.2.300", "192.0.2.1/40", "example.org"])
def test_a_block_of_what_is_no_address_is_refused(ids: Ids, word: str) -> None:
    code, _, err = ids("block", "add", word)
    assert code == 2
    assert word in err


def test_a_start_without_any_rule_is_warned_of(ids: Ids) -> None:
    empty = write("empty.yaml", "rules: []\n")
    for words in (["check"], ["replay", CAPTURE]):
        code, _, err = ids(*words, "-S", empty)
        assert (code, "no rule is loaded" in err) == (0, True)
        assert "no rule is loaded" not in ids(*words, "-S", write("good.yaml", GOOD_RULE))[2]


def test_a_missing_capture_among_others_is_not_called_one_that_is_none(ids: Ids) -> None:
    code, out, err = ids("replay", CAPTURE, "none.pcap")
    assert code == 2
    assert "none.pcap (not read)" in out
    assert "none.pcap: cannot be read" in err or "No such file" in err


@pytest.mark.parametrize("override", ["respond.mode=shadow", "rules.paths=[mine.yaml]", "fastpath.pin_dir=/tmp/x", "x"])
def test_a_reload_refuses_settings_that_the_engine_would_never_hear_of(ids: Ids, override: str) -> None:
    code, _, err = ids("reload", "--set", "engine.runtime_dir=.", "--set", override)
    assert code == 2
    assert f"--set {override}: a reload changes no setting by itself" in err
    assert "instance, engine.runtime_dir and engine.state_dir" in err


def test_a_reload_takes_settings_that_say_which_engine_is_meant(ids: Ids) -> None:
    code, _, err = ids("reload", "--set", "instance=other", "--set", "engine.runtime_dir=.")
    assert code == 2
    assert "no engine is running at other.sock" in err


@pytest.mark.parametrize(
    ("path", "text", "warning"),
    [
        ("empty.yaml", "", "empty.yaml: holds no rule (put rules under `rules:`)"),
        ("none.yaml", "rules: []", "none.yaml: holds no rule"),
        ("empty.yar", "// nothing", "empty.yar: holds no rule (write `rule name { ... }`)"),
        ("folder/notes.txt", "rules", "folder: no rule file is in this directory"),
    ],
)
def test_rule_files_without_a_rule_are_warned_of(ids: Ids, path: str, text: str, warning: str) -> None:
    Path("folder").mkdir()
    write(path, text)
    code, out, err = ids("rules", "check", path.split("/")[0])
    assert code == 0
    assert warning in err
    assert "0 errors, 1 warning" in out


def test_lists_alone_and_files_with_faults_are_not_called_empty(ids: Ids) -> None:
    lists = write("lists.yaml", "lists: [{name: ours, items: [192.0.2.0/24]}]")
    good = write("good.yaml", GOOD_RULE)
    assert "0 warnings" in ids("rules", "check", lists, good, "--without", "no-direction")[1]
    assert "holds no rule" not in ids("rules", "check", write("bad.yaml", "rules: [7]"))[2]


def test_a_reload_with_a_broken_file_says_that_the_old_settings_stay(ids: Ids, tmp_path: Path) -> None:
    (tmp_path / "ids.yaml").write_text("respnd: {mode: off}\n")
    code, _, err = ids("reload", "-c", str(tmp_path / "ids.yaml"))
    assert code == 2
    assert "not reloaded, a running engine keeps the old settings and rules" in err
    assert "ids.yaml:1:1: unknown key 'respnd'" in err


@pytest.mark.parametrize(
    "words", [("block", "add", "192.0.2.1", "--for"), ("block", "import", "f", "--label", "x", "--for")]
)
def test_a_time_span_without_end_is_refused(ids: Ids, words: tuple[str, ...]) -> None:
    code, _, err = ids(*words, "999999999w")
    assert code == 2
    assert "more than a hundred years" in err


@pytest.mark.parametrize("since", ["999999999w", "0001-01-01", "9999-12-31T23:59"])
def test_a_moment_may_be_as_far_away_as_it_likes(ids: Ids, tmp_path: Path, since: str) -> None:
    open_writing(tmp_path / "default" / "events.db").close()
    code, _, err = ids("alerts", "list", "--since", since, "--set", f"engine.state_dir={tmp_path}")
    assert (code, "no alert that fits" in err) == (0, True)
