"""`ids config`: what is in force and who said so, what is wrong with a file, a schema that agrees with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ids.cli import main
from ids.config import Config, InvalidDocument, load_config, load_document
from ids.live.reload import settings_of
from ids.origins import settings_in_force, settings_schema
from tests.cli.conftest import rows_of

FILE = """\
interfaces: [eth0]
vars:
  HOME_NET: [203.0.113.0/24]
respond:
  mode: shadow
  allow:
    - 192.0.2.1
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ids.yaml"
    path.write_text(FILE)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert (ended.value.code or 0) == code
    captured = capsys.readouterr()
    return captured.out, captured.err


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    rows = rows_of(run(capsys, "config", "show", "-o", "json", *words)[0])
    return {row["setting"]: row for row in rows}


def test_each_setting_comes_with_its_place(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    rows = shown(capsys, "-c", str(file), "--set", "eve.path=eve.json")
    assert rows["respond.mode"] == {
        "setting": "respond.mode",
        "value": "shadow",
        "from": "file",
        "place": f"{file}:5:9",
        "default": "enforce",
    }
    assert rows["respond.allow"]["place"] == f"{file}:6:3", "a list is shown by its key"
    assert rows["vars.HOME_NET"]["place"] == f"{file}:3:3"
    assert rows["eve.path"] | {"default": 0} == {
        "setting": "eve.path",
        "value": "eve.json",
        "from": "--set",
        "place": "--set eve.path=eve.json",
        "default": 0,
    }
    assert rows["respond.protect_own"]["from"] == "default"
    assert rows["vars.EXTERNAL_NET"] | {"default": 0} == {
        "setting": "vars.EXTERNAL_NET",
        "value": "!$HOME_NET",
        "from": "default",
        "place": None,
        "default": 0,
    }, "the variables that are built in are in force, too"


def test_an_override_takes_the_place_of_the_file(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    rows = shown(capsys, "-c", str(file), "--set", "respond.mode=off")
    assert (rows["respond.mode"]["value"], rows["respond.mode"]["from"]) == ("off", "--set")
    assert rows["respond.allow"]["from"] == "file"


def test_no_setting_is_missing(file: Path) -> None:
    names = {setting.name for setting in settings_in_force(*load_document(file))}
    assert {name for name, _ in settings_of(Config())} - {"vars"} <= names


@pytest.mark.parametrize(
    ("environment", "origin", "value"),
    [
        ({"XDG_CACHE_HOME": "/var/cache"}, "$XDG_CACHE_HOME", "/var/cache/ids"),
        ({"XDG_CACHE_HOME": "relative"}, "$HOME", str(Path("~/.cache/ids").expanduser())),
    ],
)
def test_what_follows_the_environment_names_its_variable(environment: dict[str, str], origin: str, value: str) -> None:
    settings = {setting.name: setting for setting in settings_in_force(*load_document(None), environment)}
    assert (settings["rules.cache_dir"].origin, settings["rules.cache_dir"].value) == (origin, value)


def test_only_what_was_given_or_asked_for(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    given = shown(capsys, "-c", str(file), "--given")
    assert list(given) == ["interfaces", "vars.HOME_NET", "respond.mode", "respond.allow"]
    assert set(shown(capsys, "respond.mode", "eve.path")) == {"respond.mode", "eve.path"}
    assert all(name.startswith("eve.") for name in shown(capsys, "eve"))
    _, err = run(capsys, "config", "show", "respond.mod", code=2)
    assert "there is no setting respond.mod" in err


def test_people_see_a_row_each(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    out, _ = run(capsys, "config", "show", "-c", str(file), "respond.mode", "respond.allow")
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["respond.mode", f"{file}:5:9", "shadow"],
        ["respond.allow", f"{file}:6:3", "[192.0.2.1/32]"],
    ]


def test_the_yaml_form_can_be_loaded(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text(run(capsys, "config", "show", "--yaml", "-c", str(file))[0])
    assert load_config(again) == load_config(file)


def test_a_check_names_each_fault_with_its_place(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text(FILE + "  mod: 1\neve: {packet_anomalies: -1}\n")
    _, err = run(capsys, "config", "check", "-c", str(file), code=2)
    assert f"{file}:8:8: unknown key 'mod' (did you mean 'mode'?)" in err
    assert f"{file}:9:" in err


def test_a_check_prints_what_is_odd_on_this_host(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text("interfaces: [nowhere0]\neve: {path: /nowhere/eve.json}\n")
    out, err = run(capsys, "config", "check", "-c", str(file))
    assert "settings are good: 2 settings given" in out
    assert "interfaces: nowhere0 is not there now" in err
    assert "/nowhere does not exist" in err


GOOD: list[dict[str, Any]] = [
    {},
    yaml.safe_load(FILE),
    Config().model_dump(mode="json"),
    {"flow": {"max_flows": "1_048_576"}},
    {"engine": {"workers": "auto"}},
]
BAD: list[dict[str, Any]] = [
    {"responde": {}},
    {"respond": {"mod": "shadow"}},
    {"respond": {"mode": "sometimes"}},
    {"interfaces": "eth0"},
    {"instance": "with a blank"},
    {"eve": {"packet_anomalies": -1}},
    {"eve": {"types": ["alerts"]}},
    {"engine": {"workers": 17}},
    {"flow": {"max_flows": "many"}},
]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(settings_schema())


@pytest.mark.parametrize("data", GOOD)
def test_what_the_loader_takes_the_schema_takes(data: dict[str, Any], schema: jsonschema.Draft202012Validator) -> None:
    Config.model_validate(data)
    assert list(schema.iter_errors(data)) == []


@pytest.mark.parametrize("data", BAD)
def test_what_the_schema_refuses_the_loader_refuses(
    data: dict[str, Any], tmp_path: Path, schema: jsonschema.Draft202012Validator
) -> None:
    assert not schema.is_valid(data)
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(InvalidDocument):
        load_config(tmp_path / "bad.yaml")


def test_the_schema_is_printed_and_describes_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(run(capsys, "config", "schema")[0])
    jsonschema.Draft202012Validator.check_schema(schema)
    for name, definition in {"Config": schema, **schema["$defs"]}.items():
        for key, setting in definition.get("properties", {}).items():
            assert "description" in setting or "$ref" in setting, f"{name}.{key}"
