"""The YAML and YARA detectors as plugins: start, reload, and what they hand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ids.config import Config
from ids.counters import Counters
from ids.errors import RulesRefused
from ids.plugin.context import EngineContext
from ids.plugin.host import PluginHost
from ids.rules.settings import RulesSettings
from ids.types import Direction, StreamChunk
from plugins import yaml_rules, yara_rules
from tests.factory import make_flow
from tests.rules.builders import rule_text, transaction

YAML = "rules:\n" + rule_text("[payload: {contains: needle}]", 1) + rule_text("[http.uri: /needle]", 2, "http")
YARA = 'rule r { meta: sid = 3 strings: $a = "needle" condition: $a }'


def start(plugin: Any, path: Path) -> tuple[PluginHost, EngineContext]:
    """Register one plugin with the host and start it on the rules of a directory."""
    counters = Counters()
    config = Config(rules=RulesSettings(paths=[str(path)], cache_dir=str(path / "cache")))
    context = EngineContext(config, counters, {})
    host = PluginHost(counters)
    host.register("detector", plugin)
    host.start(lambda _name: context)
    return host, context


def alerts(host: PluginHost) -> list[int]:
    """Return the sids of what the plugin finds in one new flow."""
    flow = make_flow(app_proto="http")
    answers = host.call("ids_stream", chunk=StreamChunk(flow, Direction.TO_SERVER, 0, b"GET /needle", 0, 1))
    answers += host.call("ids_transaction", transaction=transaction(flow, uri=b"/needle"))
    host.call("ids_flow_end", flow=flow)
    return [match.signature.sid for answer in answers for match in answer]


@pytest.mark.parametrize(
    ("kind", "name", "text", "found"),
    [(yaml_rules.YamlRules, "a.yaml", YAML, [1, 2]), (yara_rules.YaraRules, "a.yar", YARA, [3])],
)
class TestDetectors:
    """What holds for both."""

    def test_matches(self, tmp_path: Path, kind: type, name: str, text: str, found: list[int]) -> None:
        """Rules of the configured directory are loaded and matched."""
        (tmp_path / name).write_text(text)
        host, _ = start(kind(), tmp_path)
        assert alerts(host) == found

    def test_bad_rules_refuse_the_start(
        self, tmp_path: Path, kind: type, name: str, text: str, found: list[int]
    ) -> None:
        """With every error."""
        (tmp_path / name).write_text("rule rules: [7]")
        with pytest.raises(RulesRefused) as caught:
            start(kind(), tmp_path)
        assert caught.value.errors[0].location.path == str(tmp_path / name)

    def test_a_reload_with_bad_rules_changes_nothing(
        self, tmp_path: Path, kind: type, name: str, text: str, found: list[int]
    ) -> None:
        """The old rules stay at work; good ones replace them."""
        (tmp_path / name).write_text(text)
        host, context = start(kind(), tmp_path)
        (tmp_path / name).write_text("rule rules: [7]")
        assert len(host.reload(lambda _name: context)) == 1
        assert alerts(host) == found
        (tmp_path / name).write_text(text.replace("needle", "thread"))
        assert host.reload(lambda _name: context) == []
        assert alerts(host) == []


def test_shipped_rules_load() -> None:
    """Every rule of the project is good, with one sid space for both languages."""
    from ids.rules.loader import load_rules
    from ids.rules.yara_loader import load_yara

    folder = Path(__file__).resolve().parents[2] / "rules"
    loaded = load_rules([folder])
    taken = {rule.signature.sid: rule.source for rule in loaded.rules}
    yara = load_yara(loaded.yara_files, taken=taken)
    assert [str(error) for error in (*loaded.errors, *yara.errors, *yara.warnings)] == []
    assert loaded.rules
