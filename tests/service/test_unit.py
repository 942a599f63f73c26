"""The unit and the snippet for logrotate: what stands in them, and that systemd and logrotate take them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ids.config import Config
from ids.service.unit import CONFIG_PATH, Service, packaged, written_by

SERVICE = Service("ids", ("/usr/bin/ids",), CONFIG_PATH, from_package=True)
FIGURE = re.compile(r"(?:Overall exposure level for \S+|exposure level of): \**([\d.]+)")


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


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
    unit = replace(SERVICE, command=(f"{folder}/.venv/bin/ids",)).unit()
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


def test_odd_paths_are_quoted() -> None:
    unit = replace(SERVICE, command=("/opt/my ids/100%/ids",), config=Path('/etc/"$x".yaml')).unit()
    (start,) = values(unit, "ExecStart")
    assert start == '"/opt/my ids/100%%/ids" run -c "/etc/\\"$$x\\".yaml" --wait-interfaces'


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


def test_systemd_takes_it(analyze: str, tmp_path: Path) -> None:
    command = tmp_path / "ids"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = tmp_path / "ids.service"
    unit.write_text(replace(SERVICE, command=(str(command),)).unit().replace("Documentation=man:ids(1)\n", ""))
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, ours) == (0, [])


def test_the_documentation_has_systemds_figure(analyze: str, tmp_path: Path) -> None:
    unit = tmp_path / "ids.service"
    unit.write_text(SERVICE.unit())
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", "--json=short", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "nknown" in done.stderr + done.stdout:
        pytest.skip("this systemd-analyze cannot judge a file")
    version = subprocess.run([analyze, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if version != "252":
        pytest.skip(f"the figure is that of systemd 252, this is {version}: each has other questions")
    rows = json.loads(done.stdout)
    assert {row["name"] for row in rows if row["set"] is False} >= {"PrivateNetwork="}, "it judged our unit"
    plain = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    figure = FIGURE.search(plain.stdout)
    assert figure is not None, plain.stdout
    page = (Path(__file__).parents[2] / "docs/service.md").read_text()
    documented = re.search(r"`systemd-analyze security` .*?\*\*([\d.]+)\*\*", page, re.DOTALL)
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
        "etc/logrotate.d/ids",
    }
    assert not any("ids service install" in text for text in files.values())
