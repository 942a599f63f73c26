"""`ids service`: files are put in place and taken away, and only ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.cli import service as command
from ids.errors import UsageError
from ids.service.install import install, is_booted, state, uninstall
from ids.service.unit import CONFIG_PATH, Service


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service("ids", ("/usr/bin/ids",), CONFIG_PATH, root=tmp_path)


def test_what_is_installed_is_there_once_and_can_be_taken_away(service: Service) -> None:
    assert set(install(service)) == {service.unit_path, service.logrotate_path}
    assert service.unit_path.read_text() == service.unit()
    assert service.unit_path.stat().st_mode & 0o777 == 0o644
    assert install(service) == [], "nothing is written that is there already"
    assert set(uninstall(service)) == {service.unit_path, service.logrotate_path}
    assert not service.unit_path.exists()
    assert uninstall(service) == []


def test_the_console_and_the_feeds_come_where_they_are_asked_for_and_go_with_the_service(service: Service) -> None:
    whole = replace(service, console=True, feeds=True)
    install(whole)
    folder = service.unit_path.parent
    names = {"ids.service", "ids-console.service", "ids-feeds.service", "ids-feeds.timer"}
    assert {path.name for path in folder.iterdir()} == names
    assert service.enabled == ("ids.service",)
    assert whole.enabled == ("ids.service", "ids-console.service", "ids-feeds.timer")
    assert install(service) == [], "the engine's are as they were"
    uninstall(whole)
    assert list(folder.iterdir()) == []


def test_what_is_asked_for_is_enabled_and_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "x.yaml"
    settings.write_text("")
    asked: list[list[str]] = []
    monkeypatch.setattr(command, "is_booted", lambda: True)
    monkeypatch.setattr(command, "run_systemctl", lambda words: asked.append(list(words)))
    monkeypatch.setattr(command, "Service", partial(Service, root=tmp_path))
    words = ["install", "-c", str(settings), "--name", "ids-lan", "--console", "--feeds", "--now"]
    result = CliRunner().invoke(command.service, words)
    assert result.exit_code == 0, result.output
    units = ["ids-lan.service", "ids-lan-console.service", "ids-lan-feeds.timer"]
    assert asked == [["daemon-reload"], ["enable", "--now", *units]]
    assert "ids-lan-console is enabled and ready" in result.output
    asked.clear()
    assert CliRunner().invoke(command.service, ["uninstall", "--name", "ids-lan"]).exit_code == 0
    assert asked == [["disable", "--now", *reversed(units)], ["daemon-reload"]]
    assert list((tmp_path / "etc/systemd/system").iterdir()) == []


def test_our_own_older_file_is_replaced(service: Service) -> None:
    install(service)
    service.unit_path.write_text(service.unit() + "# an older version\n")
    assert install(service) == [service.unit_path]


def test_a_file_of_somebody_else_is_left_alone(service: Service) -> None:
    service.unit_path.parent.mkdir(parents=True)
    service.unit_path.write_text("[Unit]\n")
    with pytest.raises(UsageError, match="is there, and not ours; --force replaces it"):
        install(service)
    assert uninstall(service) == []
    assert service.unit_path.read_text() == "[Unit]\n"
    assert service.unit_path in install(service, force=True)


def test_a_package_has_brought_one(service: Service) -> None:
    packaged = service.root / "usr/lib/systemd/system/ids.service"
    packaged.parent.mkdir(parents=True)
    packaged.touch()
    with pytest.raises(UsageError, match="came with a package already: systemctl enable --now ids"):
        install(service)


def test_what_systemd_says_is_read(service: Service, tmp_path: Path) -> None:
    def systemctl(words: Sequence[str]) -> str:
        assert words[:2] == ["show", "ids.service"]
        return "ActiveState=active\nStatusText=guarding eth0; 3 blocks=yes\nOther=1\n"

    assert state(service, systemctl) == {"ActiveState": "active", "StatusText": "guarding eth0; 3 blocks=yes"}

    def without(words: Sequence[str]) -> str:
        raise UsageError("no systemd")

    assert state(service, without) == {}
    assert not is_booted(tmp_path)


def test_a_service_without_settings_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.service, ["install", "-c", str(tmp_path / "none.yaml")])
    assert isinstance(result.exception, UsageError)
    assert "`ids init` writes one" in str(result.exception)


def test_the_unit_can_be_looked_at_first(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.service, ["install", "--print", "-c", str(tmp_path / "x.yaml")])
    assert result.exit_code == 0, result.output
    assert f"run -c {tmp_path / 'x.yaml'} --wait-interfaces" in result.output


def test_the_status_of_what_does_not_run_exits_1(tmp_path: Path) -> None:
    settings = tmp_path / "x.yaml"
    settings.write_text(f"engine: {{runtime_dir: {tmp_path}}}\nfastpath: {{pin_dir: {tmp_path}/pins}}\n")
    result = CliRunner().invoke(command.service, ["status", "-c", str(settings), "--name", "ids-none"])
    assert result.exit_code == 1, result.output
    assert "does not answer" in result.output
    assert "nothing is attached" in result.output
