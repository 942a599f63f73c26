"""Interfaces that come late, go, come back, and change their names: all of it seen, logged and mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from ids.counters import Counters
from ids.errors import KernelError
from ids.kernel import FastPath
from ids.live import guard as module
from ids.live.guard import Guard


class Host:
    """A host's interfaces, by name and number, and a fast path on them."""

    def __init__(self, *names: str) -> None:
        self.numbers = {name: number for number, name in enumerate(names, 1)}
        self.links: dict[str, int] = {}
        """By the name under which each was attached."""
        self.refuses: set[str] = set()
        self.viewed: list[str] = []

    def add(self, name: str) -> None:
        self.numbers[name] = 1 + max([*self.numbers.values(), *self.links.values()], default=0)

    def remove(self, name: str) -> None:
        del self.numbers[name]

    def rename(self, before: str, after: str) -> None:
        self.numbers[after] = self.numbers.pop(before)

    @property
    def guarded(self) -> set[str]:
        return {name for name, number in self.numbers.items() if number in self.links.values()}

    # As FastPath.

    def keep_only(self, names: Sequence[str]) -> list[str]:
        return []

    def attach(self, name: str) -> str:
        if name in self.refuses:
            raise KernelError(f"{name} is taken")
        self.links[name] = self.numbers[name]
        return "native"

    def view_egress(self, names: Sequence[str]) -> list[str]:
        self.viewed = list(names)
        return []

    @property
    def egress(self) -> Any:
        class View:
            def filtered(self) -> list[str]:
                return []

        return View()

    def lost(self) -> list[str]:
        return sorted(name for name, number in self.links.items() if number not in self.numbers.values())

    def renamed(self) -> dict[str, str]:
        names = {number: name for name, number in self.numbers.items()}
        return {was: names[number] for was, number in self.links.items() if names.get(number, was) != was}

    def follow(self, name: str) -> str:
        return self.renamed().get(name, "")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host("eth0")
    monkeypatch.setattr(module, "interfaces_present", lambda: set(made.numbers))
    return made


def guarding(host: Host, *names: str, wait: bool = True) -> Guard:
    guard = Guard(cast(FastPath, host), names, "auto", Counters(), wait=wait)
    guard.begin()
    return guard


def test_what_is_not_there_yet_is_waited_for(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    guard = guarding(host, "eth0", "tun0")
    assert host.guarded == {"eth0"}
    assert host.viewed == ["eth0"]
    assert "tun0 is not there yet" in caplog.text
    assert guard.status() == "guarding eth0; waiting for tun0"
    assert not guard.check()
    host.add("tun0")
    assert guard.check(), "something is guarded that was not"
    assert not guard.check()
    assert host.guarded == {"eth0", "tun0"}
    assert host.viewed == ["eth0", "tun0"]
    assert guard.status() == "guarding eth0, tun0"


def test_nothing_is_there_yet(host: Host) -> None:
    guard = guarding(host, "tun0")
    assert guard.status() == "guarding nothing; waiting for tun0"
    assert not guard.check()


def test_one_that_refuses_is_tried_again_and_logged_once(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    guard = guarding(host, "tun0")
    host.add("tun0")
    host.refuses.add("tun0")
    for _ in range(3):
        assert not guard.check()
    assert caplog.text.count("tun0 cannot be guarded again: tun0 is taken") == 1
    assert guard.status() == "guarding nothing; waiting for tun0"
    host.refuses.clear()
    assert guard.check()
    assert guard.status() == "guarding tun0"


def test_one_that_goes_is_guarded_when_it_comes_back(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    guard = guarding(host, "eth0")
    host.remove("eth0")
    guard.check()
    assert "eth0 is no longer guarded" in caplog.text
    assert guard.status() == "guarding nothing; waiting for eth0"
    host.add("eth0")
    assert guard.check()
    assert host.guarded == {"eth0"}


def test_a_name_that_changes_is_named_and_changes_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    guard = guarding(host, "eth0")
    host.rename("eth0", "lan0")
    for _ in range(3):
        assert not guard.check()
    assert caplog.text.count("eth0 is called lan0 now and stays guarded") == 1
    assert host.guarded == {"lan0"}
    assert guard.status() == "guarding lan0"
    host.rename("lan0", "eth0")
    guard.check()
    assert "eth0 has its name back" in caplog.text
    assert guard.status() == "guarding eth0"


def test_another_interface_of_the_old_name_is_guarded_in_its_place(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    guard = guarding(host, "eth0")
    host.rename("eth0", "lan0")
    host.add("eth0")
    assert guard.check()
    assert "eth0 is another interface now, the former one is called lan0" in caplog.text
    assert host.guarded == {"eth0"}
    assert not guard.check()
    assert guard.status() == "guarding eth0"


def test_a_start_finds_one_that_was_renamed_before_it(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.links["eth0"] = host.numbers["eth0"]
    host.rename("eth0", "lan0")
    guard = guarding(host, "eth0")
    assert "eth0 is called lan0 now and stays guarded" in caplog.text
    assert guard.status() == "guarding lan0"
    host.rename("lan0", "eth0")
    guard.check()
    assert guard.status() == "guarding eth0"


def test_without_waiting_it_is_refused(host: Host) -> None:
    with pytest.raises(KeyError):
        guarding(host, "tun0", wait=False)
