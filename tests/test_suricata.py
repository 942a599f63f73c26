"""Settings of a Suricata installation are taken over as far as there is a counterpart, and the rest is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ids.config import Config, InvalidDocument, load_config
from ids.suricata import TOP_KEYS

DOCUMENT = """\
%YAML 1.1
---
vars:
  address-groups:
    HOME_NET: "[192.0.2.0/24,2001:db8::/32]"
    EXTERNAL_NET: "!$HOME_NET"
  port-groups:
    HTTP_PORTS: "[80,8080]"
default-rule-path: /etc/suricata/rules
rule-files: [a.rules, b.rules]
host-os-policy:
  windows: [0.0.0.0/0]
  old-linux: [192.0.2.1, "2001:db8::/64"]
stream:
  memcap: 32mb
  midstream: true
  checksum-validation: no
  reassembly:
    depth: 512kb
defrag:
  memcap: 8mb
outputs:
  - eve-log: {enabled: yes, types: [alert]}
"""


def taken(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "suricata.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_what_has_a_counterpart_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        config = taken(tmp_path, DOCUMENT)
    assert config.vars["HOME_NET"] == "[192.0.2.0/24,2001:db8::/32]"
    assert config.vars["HTTP_PORTS"] == "[80,8080]"
    assert config.rules.paths == ["/etc/suricata/rules/a.rules", "/etc/suricata/rules/b.rules"]
    assert (config.stream.policy, config.stream.midstream) == ("windows", True)
    assert {str(network): name for network, name in config.stream.policies.items()} == {
        "192.0.2.1/32": "old-linux",
        "2001:db8::/64": "old-linux",
    }
    assert (config.stream.memcap_bytes, config.stream.depth_bytes) == (32 << 20, 512 << 10)
    assert (config.decode.checksums, config.decode.defrag.memcap_bytes) == ("none", 8 << 20)
    assert "outputs" in caplog.text, "what changes nothing is named"


def test_files_beside_the_rules_are_taken_over_where_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "threshold.config").write_text("")
    names = "threshold-file: threshold.config\nclassification-file: /nowhere/classification.config\n"
    rules = taken(tmp_path, DOCUMENT + names).rules
    assert (rules.threshold_file, rules.classification_file) == (str(tmp_path / "threshold.config"), None)
    assert "/nowhere/classification.config is not there" in caplog.text


def test_a_depth_of_nothing_is_no_limit(tmp_path: Path) -> None:
    config = taken(tmp_path, DOCUMENT, "stream.reassembly.depth=0")
    assert config.stream.depth_bytes == 1 << 40


def test_names_of_suricata_behind_set(caplog: pytest.LogCaptureFixture) -> None:
    assert load_config(None, ["stream.checksum-validation=yes"]).decode.checksums == "all"
    assert load_config(None, ["vars.address-groups.HOME_NET=[192.0.2.0/24]"]).vars["HOME_NET"] == ["192.0.2.0/24"]
    assert load_config(None, ["app-layer.protocols.sip.enabled=yes"]) == Config()
    assert "app-layer.protocols.sip.enabled" in caplog.text, "without a counterpart: warned of"


def test_no_name_of_the_top_level_is_ours_too() -> None:
    assert TOP_KEYS.isdisjoint(Config.model_fields)


def test_a_document_of_ours_is_read_as_ever(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="unknown key 'midstreem'"):
        taken(tmp_path, "stream:\n  midstreem: true\n")
    with pytest.raises(InvalidDocument, match="unknown key 'max-ttl'"):
        load_config(None, ["respond.max-ttl=3"])
