"""What counts of a broken file of settings: all that is whole, never at the price of acting on another engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.config import Config
from ids.errors import IdsError, UsageError
from ids.salvage import salvage, warnings_of

GOOD = """\
instance: lan
engine:
  # where it listens
  runtime_dir: /run/lan
respond:
  mode: shadow
  trusted_proxies: [192.0.2.7]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ids.yaml"


def salvaged(path: Path, text: str, *overrides: str) -> tuple[Config, list[str]]:
    path.write_text(text)
    config, faults = salvage(path, overrides)
    return config, [str(fault).removeprefix(f"{path}:") for fault in faults]


def test_a_good_file_has_no_faults(path: Path) -> None:
    config, faults = salvaged(path, GOOD, "respond.mode=off")
    assert (config.instance, config.respond.mode, faults) == ("lan", "off", [])
    assert salvage(None, ())[0] == Config()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("eve: {path: 'eve.json", "8:22: is not valid YAML"),  # where a quote does not end
        ("interfaces: [eth0", "9:1: is not valid YAML"),
        ("interfaces: eth0: eth1", "8:17: is not valid YAML"),
        ("store:\n\tenabled: true", "9:1: is not valid YAML"),
        ("respond: {mode: off}", "8:1: key respond is given twice"),
        ("alredy: here", "8:9: unknown key 'alredy'"),
        ("interfaces: 5", "8:13: interfaces: "),
        ("vars: {HOME_NET: 'not an address'}", "8:18: vars.HOME_NET: "),
        ("just words", "8:1: is no setting"),
    ],
)
def test_what_is_whole_counts_and_each_fault_has_its_place(path: Path, line: str, fault: str) -> None:
    config, faults = salvaged(path, f"{GOOD}{line}\n")
    assert config.instance == "lan"
    assert config.engine.runtime_dir == "/run/lan"
    assert config.respond.mode == "shadow"
    assert [str(one) for one in config.respond.trusted_proxies] == ["192.0.2.7/32"]
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_of_a_group_that_cannot_be_read_the_other_settings_count(path: Path) -> None:
    text = GOOD.replace("  mode: shadow\n", "  mode: 'shadow\n") + "  allow: [192.0.2.1]\n"
    config, faults = salvaged(path, text)
    assert config.respond.mode == Config().respond.mode
    assert [str(one) for one in config.respond.allow] == ["192.0.2.1/32"]
    assert len(faults) == 1
    assert faults[0].startswith("6:16: ")


def test_of_a_list_what_fits_counts(path: Path) -> None:
    config, faults = salvaged(path, "respond:\n  allow: [192.0.2.1, nobody, 192.0.2.2]\nfeeds:\n  - {url: x}\n")
    assert [str(one) for one in config.respond.allow] == ["192.0.2.1/32", "192.0.2.2/32"]
    assert config.feeds == []
    assert faults[0].startswith("2:22: ")


def test_bytes_that_are_no_text_cost_their_setting_alone(path: Path) -> None:
    path.write_bytes(b"# caf\xe9\ninstance: lan\nrespond:\n  mode: shadow\neve:\n  path: /caf\xe9\n")
    config, faults = salvage(path, ())
    assert (config.instance, config.respond.mode, config.eve.path) == ("lan", "shadow", Config().eve.path)
    assert [str(fault).removeprefix(f"{path}:")[:4] for fault in faults] == ["6:13"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("lan\n", "'lan\n"),
        GOOD.replace("instance: lan", "instance: a name with blanks"),
        GOOD.replace("instance: lan", "instnace: lan"),
        GOOD + "instance: wan\n",
        GOOD.replace("engine:\n", "engine: 5\nlog:\n"),
        GOOD.replace("engine:", "engien:"),
        GOOD.replace("runtime_dir: /run/lan", "runtime_dir: {a"),
    ],
)
def test_where_a_fault_may_hide_which_engine_is_meant_no_other_is_acted_on(path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"Which engine is meant cannot be read there; name it: --set "):
        salvaged(path, text)


def test_the_engine_can_be_named_beside_such_a_file(path: Path) -> None:
    config, faults = salvaged(path, GOOD.replace("lan\n", "'lan\n", 1), "instance=lan")
    assert (config.instance, config.engine.runtime_dir, len(faults)) == ("lan", "/run/lan", 1)


def test_a_file_that_is_not_there_or_of_another_kind_is_refused(path: Path) -> None:
    with pytest.raises(IdsError, match="cannot be read"):
        salvage(path, ())
    for text in ("\0\1\2", "words\nmore words\n", "- a\n- list\n"):
        with pytest.raises(IdsError):
            salvaged(path, text)


def test_what_is_too_large_to_be_settings_is_refused_at_once(path: Path) -> None:
    for text in ("x: y: z\n" * 5000, GOOD + "x: 'y\n" + "# more\n" * (1 << 18)):
        with pytest.raises(IdsError, match="is not valid YAML"):
            salvaged(path, text)


def test_a_wrong_override_is_refused_as_ever(path: Path) -> None:
    for override in ("respond.mode", "respond.mode=shadwo", "nonsense=1"):
        with pytest.raises(IdsError, match="--set"):
            salvaged(path, GOOD + "alredy: here\n", override)


def test_of_many_faults_the_first_are_shown(path: Path) -> None:
    _, faults = salvaged(path, GOOD + "".join(f"key{at}: 1\n" for at in range(1000)))
    assert len(faults) == 200
    path.write_text(GOOD + "key: 1\n" + "other: 1\n")
    lines = list(warnings_of(salvage(path, ())[1], str(path), most=1))
    assert len(lines) == 2
    assert "unknown key" in lines[0]
    assert lines[1].startswith(f"{path}: and 1 more; a start and a reload would refuse")


@given(st.lists(st.sampled_from([*GOOD.splitlines(), "x: [", "  y", "\tz: 1", "- 5", "'", "%", "5: 6"]), max_size=12))
def test_whatever_the_lines_it_is_settings_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.yaml"
    path.write_text("\n".join(lines))
    try:
        config, _ = salvage(path, ())
    except IdsError:
        return
    assert config.instance == ("lan" if "instance: lan" in lines else "default")
