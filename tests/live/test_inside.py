"""Who counts as inside is said at the start: a network that is missing there is blocked like a stranger."""

from __future__ import annotations

import ipaddress
import subprocess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ids.config import Config
from ids.live.inside import inside_gap, inside_note
from ids.live.loop import Live

PUBLIC6 = [ipaddress.ip_address("2001:db8:1::1"), ipaddress.ip_address("192.0.2.1")]
PRIVATE6 = [ipaddress.ip_address("fe80::1"), ipaddress.ip_address("fd00::1"), ipaddress.ip_address("::1")]


def config(home: Any = None, **respond: Any) -> Config:
    return Config.model_validate({"vars": {} if home is None else {"HOME_NET": home}, "respond": respond})


def test_the_note_names_the_networks_that_are_spared() -> None:
    assert "10.0.0.0/8" in inside_note(config())
    assert "(192.0.2.0/24, 2001:db8::/32)" in inside_note(config(["192.0.2.0/24", "2001:db8::/32"]))
    assert "(192.0.2.0/24)" in inside_note(config("192.0.2.0/24"))


@pytest.mark.parametrize("spares_nobody", [config("any"), config(block_home=True)])
def test_where_nobody_is_spared_nothing_is_said(spares_nobody: Config) -> None:
    assert inside_note(spares_nobody) == inside_gap(spares_nobody, PUBLIC6) == ""


def test_public_ipv6_without_a_network_of_its_kind_inside_is_warned_of() -> None:
    assert "2001:db8:1::1" in inside_gap(config(), PUBLIC6)
    assert "2001:db8:1::1" in inside_gap(config("192.0.2.0/24"), PUBLIC6)
    assert inside_gap(config(), PRIVATE6) == ""
    assert inside_gap(config(["192.0.2.0/24", "2001:db8::/32"]), PUBLIC6) == ""


def test_a_reload_starts_no_program_to_find_that_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the thread that takes packets: what is protected was read in another one."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("packets wait for a program"))
    live = SimpleNamespace(config=config(), _protected=SimpleNamespace(of_interfaces=PUBLIC6))
    Live._note_inside(cast(Live, live))
    assert "2001:db8:1::1" in caplog.text
