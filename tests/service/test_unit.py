"""The unit and the snippet for logrotate: what stands in them, and that systemd and logrotate take them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from ids.config import Config
from ids.service.unit import CONFIG_PATH, Service, packaged, written_by

SERVICE = Service("ids", ("/usr/bin/ids",), CONFIG_PATH, from_package=True)
ALL = replace(SERVICE, console=True, feeds=True)
CONFINED_KEYS = (
    "ProtectSystem", "ReadWritePaths", "ProtectHome", "MemoryDenyWriteExecute", "NoNewPrivileges",
    "RestrictAddressFamilies", "RestrictNamespaces", "PrivateDevices", "UMask",
)  # fmt: skip
FIGURE = re.compile(r"(?:Overall exposure level for \S+|exposure level of): \**([\d.]+)")


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def text_of(unit: str) -> str:
    (text,) = (text for path, text in ALL.files().items() if path.name == unit)
    return text


def test_it_is_watched_and_started_again() -> None:
    unit = SERVICE.unit()
    assert values(unit, "Type") == ["notify"]
    assert values(unit, "NotifyAccess") == ["main"]
    assert int(*values(unit, "WatchdogSec")) > 15, "longer than a worker may be silent"
    assert values(unit, "Restart") == ["on-failure"]
    assert values(unit, "RestartPreventExitStatus") == ["2"], "settings that are refused do not mend themselves"
    assert values(unit, "ExecStart") == ["/usr/bin/ids run -c /etc/ids/ids.yaml --wait-interfaces"]
    assert values(unit, "ExecReload") == ["/usr/bin/ids reload -c /etc/ids/ids.yaml"]


def test_it_may_no_more_than_it_needs() -> None:
    unit = SERVICE.unit()
    assert values(unit, "CapabilityBoundingSet") == ["CAP_BPF CAP_NET_ADMIN CAP_PERFMON"]
    assert values(unit, "ReadWritePaths") == ["-/sys/fs/bpf/ids"]
    for key, value in {"ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes", "NoNewPrivileges": "yes"}.items():
        assert values(unit, key) == [value]


@pytest.mark.parametrize(
    ("folder", "home", "tmp"), [("/opt", "yes", "yes"), ("/root/ids", "read-only", "yes"), ("/tmp/x", "yes", "no")]
)
def test_what_it_needs_is_not_hidden_from_it(folder: str, home: str, tmp: str) -> None:
    for change in ({"command": (f"{folder}/.venv/bin/ids",)}, {"writes": (Path(folder, "captures"),)}):
        unit = replace(SERVICE, **change).unit()
        assert (values(unit, "ProtectHome"), values(unit, "PrivateTmp")) == ([home], [tmp])


def test_folders_of_the_settings_are_writable() -> None:
    assert written_by(Config()) == ()
    settings = Config.model_validate(
        {
            "eve": {"path": "/srv/events/eve.json"},
            "engine": {"state_dir": "/srv/state", "runtime_dir": "/run/ids/x"},
            "files": {"store_dir": "/srv/two words"},
        }
    )
    writes = written_by(settings)
    assert writes == (Path("/srv/events"), Path("/srv/state"), Path("/srv/two words"))
    unit = replace(SERVICE, writes=writes).unit()
    assert values(unit, "ReadWritePaths") == ['-/sys/fs/bpf/ids -/srv/events -/srv/state "-/srv/two words"']
    assert written_by(Config.model_validate({"eve": {"path": "-"}})) == ()


def test_folders_of_the_console_are_writable() -> None:
    console = {"token_file": "/srv/tokens/ids", "listen": "unix:/srv/web/ids.sock"}
    assert written_by(Config.model_validate({"console": console})) == (Path("/srv/tokens"), Path("/srv/web"))


READ = {
    "rules.paths", "rules.classification_file", "rules.reference_file", "rules.threshold_file",
    "rules.reputation_files",
    "syslog.ca_file", "webhook.ca_file", "webhook.token_file", "mail.ca_file", "mail.password_file",
}  # fmt: skip
"""Settings that name files which are read alone."""


def named_places(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the settings that name a place in the file system, by their name or their type."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from named_places(kind, f"{prefix}{name}.")
        elif "Path" in str(kind) or (re.search(r"(?:^|_)(?:dir|path|file)s?$", name) and "str" in str(kind)):
            yield prefix + name


def test_every_place_that_is_written_to_is_writable() -> None:
    """A new setting is one of those that are only read, or belongs into `written_by`."""
    places = {*named_places(Config)}
    assert places > READ, "one has another name now"
    for place in places - READ - {"fastpath.pin_dir"}:  # the unit has that by itself
        config: Any = "/srv/folder/inner"
        for name in reversed(place.split(".")):
            config = {name: config}
        (written,) = written_by(Config.model_validate(config))
        assert Path("/srv/folder/inner").is_relative_to(written), place


@pytest.mark.parametrize(
    ("unit", "start"),
    [("ids-console.service", "console -c"), ("ids-feeds.service", "feeds update --due -c")],
)
def test_the_console_and_the_feeds_are_confined_as_the_engine_is_and_hold_less(unit: str, start: str) -> None:
    text = text_of(unit)
    assert values(text, "ExecStart") == [f"/usr/bin/ids {start} /etc/ids/ids.yaml"]
    assert values(text, "CapabilityBoundingSet") == ["CAP_BPF"]
    assert values(text, "Nice") == ["10"], "the engine comes first"
    assert values(text, "RuntimeDirectoryPreserve") == ["yes"], "the engine has its socket there"
    for key in CONFINED_KEYS:
        assert values(text, key) == values(SERVICE.unit(), key) != [], key


def test_a_timer_asks_for_the_feeds() -> None:
    timer = text_of("ids-feeds.timer")
    assert values(timer, "OnCalendar") == ["*:0/5"]
    assert values(timer, "WantedBy") == ["timers.target"]
    assert "[Install]" not in text_of("ids-feeds.service"), "the timer starts it"


def test_odd_paths_are_quoted() -> None:
    unit = replace(SERVICE, command=("/opt/my ids/100%/ids",), config=Path('/etc/"$x".yaml')).unit()
    (start,) = values(unit, "ExecStart")
    assert start == '"/opt/my ids/100%%/ids" run -c "/etc/\\"$$x\\".yaml" --wait-interfaces'


def test_odd_paths_in_conditions_and_lists_are_those_paths() -> None:
    """A condition that is not read is none, and one of another path never holds: the service would not start."""
    service = replace(ALL, config=Path("/etc/my $x/100%.yaml"), pin_dir=Path("/sys/fs/bpf/a $b"), writes=(Path("/$c"),))
    for name, text in ((path.name, text) for path, text in service.files().items() if path.suffix == ".service"):
        assert values(text, "ConditionPathExists") == ["/etc/my $x/100%%.yaml"], name
        assert values(text, "ReadWritePaths") == ['"-/sys/fs/bpf/a $b" -/$c'], name
        if "feeds" in name:
            assert values(text, "ConditionDirectoryNotEmpty") == ["/sys/fs/bpf/a $b"]


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


@pytest.mark.parametrize(
    ("name", "config"), [("ids", "/etc/ids/ids.yaml"), ("ids-lan", '/etc/my ids/"100%" $x; y.yaml')]
)
def test_systemd_takes_them(analyze: str, tmp_path: Path, name: str, config: str) -> None:
    command = tmp_path / "ids"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    service = replace(ALL, name=name, command=(str(command),), config=Path(config))
    paths = []
    for path, text in service.files().items():
        if path != service.logrotate_path:
            paths.append(tmp_path / path.name)
            paths[-1].write_text(re.sub("Documentation=.*\n", "", text))
    assert len(paths) == 4
    done = subprocess.run(
        [analyze, "verify", "--man=no", *map(str, paths)], capture_output=True, text=True, check=False
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if any(path.name in line for path in paths)]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("ids.service", "of the unit|gives the unit an exposure of"),
        ("ids-console.service", "the console's and the feeds' units have"),
        ("ids-feeds.service", "the console's and the feeds' units have"),
    ],
)
def test_the_documentation_has_systemds_figure(analyze: str, tmp_path: Path, unit: str, words: str) -> None:
    path = tmp_path / unit
    path.write_text(text_of(unit))
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if version != "252":
        pytest.skip(f"the figure is that of systemd 252, this is {version}: each has other questions")
    done, plain = (
        subprocess.run(
            [analyze, "security", "--offline=true", "--no-pager", *more, str(path)],
            capture_output=True, text=True, check=False,
        )
        for more in (["--json=short"], [])
    )  # fmt: skip
    if done.returncode and "nknown" in done.stderr + done.stdout:
        pytest.skip("this systemd-analyze cannot judge a file")
    assert {row["name"] for row in json.loads(done.stdout) if row["set"] is False} >= {"PrivateNetwork="}, "it is ours"
    figure = FIGURE.search(plain.stdout)
    assert figure is not None, plain.stdout
    page = " ".join((Path(__file__).parents[2] / "docs/service.md").read_text().split())
    documented = re.search(rf"(?:{words}) \*\*([\d.]+)\*\*", page)
    assert documented is not None
    assert float(figure[1]) <= float(documented[1])


def test_logrotate_takes_the_snippet_and_the_engine_would_notice(tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate", path="/usr/sbin:/usr/bin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    snippet = tmp_path / "ids"
    snippet.write_text(replace(SERVICE, log_dir=tmp_path / "logs of ids").logrotate())
    snippet.chmod(0o644)
    (tmp_path / "logs of ids").mkdir(mode=0o750)
    (tmp_path / "logs of ids/eve.json").write_text("{}\n")
    done = subprocess.run(
        [logrotate, "--debug", "--force", "--state", str(tmp_path / "state"), str(snippet)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert "eve.json to " in done.stderr


def test_a_package_has_places_of_its_own(tmp_path: Path) -> None:
    files = packaged(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in files} == {
        "usr/lib/systemd/system/ids.service",
        "usr/lib/systemd/system/ids-console.service",
        "usr/lib/systemd/system/ids-feeds.service",
        "usr/lib/systemd/system/ids-feeds.timer",
        "etc/logrotate.d/ids",
    }
    assert not any("ids service install" in text for text in files.values())
