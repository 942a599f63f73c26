"""What a reload puts in force, and what it names because it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from ids.config import Config
from ids.live.reload import FRESH, RESTART, applies, effective, settings_of


def config(**sections: Any) -> Config:
    return Config.model_validate(sections)


@pytest.mark.parametrize(
    "changed",
    [
        {"respond": {"mode": "shadow", "allow": ["192.0.2.0/24"], "protect_own": False, "default_ttl_s": 7}},
        {"vars": {"HOME_NET": ["203.0.113.0/24"]}},
        {"rules": {"paths": ["mine.yaml"]}},
        {"eve": {"path": "eve.json", "types": ["alert"]}},
        {"plugins": {"options": {"mine": {"strict": True}}}},
        {"fastpath": {"syn_per_source_per_s": 5, "depth_tcp_bytes": 4096, "on_stop": "remove", "when_gone": "pass"}},
        {"engine": {"bypass": [], "stats_interval_s": 1}},
    ],
)
def test_what_takes_effect(changed: dict[str, Any]) -> None:
    assert effective(config(), config(**changed)) == (config(**changed), [])


@pytest.mark.parametrize(
    ("changed", "name", "now", "wanted", "needs"),
    [
        ({"interfaces": ["eth1"]}, "interfaces", [], ["eth1"], RESTART),
        ({"engine": {"workers": 4}}, "engine.workers", 1, 4, RESTART),
        ({"stream": {"midstream": True}}, "stream.midstream", "auto", True, RESTART),
        ({"decode": {"defrag": {"timeout_s": 7}}}, "decode.defrag.timeout_s", None, 7, RESTART),
        ({"fastpath": {"pin_dir": "/sys/fs/bpf/b"}}, "fastpath.pin_dir", "/sys/fs/bpf/ids", "/sys/fs/bpf/b", RESTART),
        ({"fastpath": {"blocks_entries": 1000}}, "fastpath.blocks_entries", 1 << 20, 1000, FRESH),
        ({"plugins": {"disabled": ["eve"]}}, "plugins.disabled", [], ["eve"], RESTART),
    ],
)
def test_what_waits_is_named_with_what_it_needs(
    changed: dict[str, Any], name: str, now: Any, wanted: Any, needs: str
) -> None:
    in_force, waiting = effective(config(), config(respond={"mode": "off"}, **changed))
    assert in_force == config(respond={"mode": "off"}), "the rest is taken"
    (only,) = [found.to_json() for found in waiting]
    assert (only["setting"], only["wanted"], only["needs"]) == (name, wanted, needs)
    assert now is None or only["now"] == now


def test_every_setting_of_response_outputs_and_limits_is_applied_and_every_size_is_not() -> None:
    names = [name for name, _ in settings_of(config())]
    at_once = ("respond", "eve", "syslog", "webhook", "mail", "store", "vars", "rules")
    assert all(applies(name) for name in names if name.split(".")[0] in at_once)
    assert all(
        applies(name) for name in names if name.startswith("fastpath.") and ("_per_s" in name or "depth" in name)
    )
    assert not any(applies(name) for name in names if name.endswith("_entries") or name.startswith("flow."))


def test_a_setting_that_nobody_has_placed_is_named_rather_than_forgotten() -> None:
    assert not applies("decode.a_new_one")
    assert not applies("a_new_section.with_a_setting")
