"""Settings of a Suricata installation are taken over as far as there is a counterpart, and the rest is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ids.config import Config, InvalidDocument, load_config
from ids.protocols import BY_NAME
from ids.settings.respond import EveSettings
from ids.suricata import ALL_ANOMALIES, TOP_KEYS

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
default-log-dir: /var/log/suricata
outputs:
  - eve-log: {enabled: yes, types: [alert]}
"""


def taken(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "suricata.yaml"
    path.write_text(text)
    return load_config(path, overrides)


def test_half_a_connection_is_followed_where_suricata_would(tmp_path: Path) -> None:
    for said, follows in (("true", True), ("false", False)):
        text = f"default-log-dir: /tmp\nstream: {{midstream: false, async-oneside: {said}}}"
        assert taken(tmp_path, text).stream.midstream is follows


def test_what_has_a_counterpart_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
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
    assert "default-log-dir" in caplog.text, "what changes nothing is named"
    assert (config.eve.types, config.respond.mode) == (["alert"], "off")


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


EVE = """\
%YAML 1.1
---
outputs:
  - fast: {enabled: no}
  - eve-log:
      enabled: yes
      ethernet: yes
      types:
        - alert:
            payload: yes
            payload-printable: yes
            payload-buffer-size: 8kb
            packet: yes
            tagged-packets: yes
            verdict: yes
            xff: {enabled: yes, mode: overwrite, deployment: forward, header: X-Real-IP}
        - drop: {alerts: yes, flows: all}
        - flow
        - anomaly: {enabled: no}
        - files: {force-magic: yes, force-hash: [sha256, md5, crc32]}
action-order: [drop, reject, alert, pass]
"""


def test_what_events_show_is_taken_over(tmp_path: Path) -> None:
    config = taken(tmp_path, EVE)
    eve = config.eve
    assert eve.types == ["alert", "drop", "flow", "fileinfo", "packet"]
    assert (config.files.hashes, config.files.magic) == (["md5", "sha256"], True)
    assert (eve.payload, eve.payload_printable, eve.packet, eve.ethernet, eve.verdict, eve.tagged_packets) == (
        True,
    ) * 6
    assert (eve.payload_bytes, eve.drop_flows, eve.drop_alert) == (8192, "all", True)
    assert config.respond.action_order == ["drop", "reject", "alert", "pass"]
    assert (eve.xff, eve.xff_deployment, eve.xff_header) == ("overwrite", "forward", "X-Real-IP")


@pytest.mark.parametrize("name", ["bogus", "both", "request"])
def test_http_events_list_the_headers_that_it_says(tmp_path: Path, name: str) -> None:
    options = f"{{custom: [Server], dump-all-headers: {name}}}"
    config = taken(tmp_path, f"%YAML 1.1\n---\noutputs: [{{eve-log: {{types: [{{http: {options}}}]}}}}]\n")
    http = config.protocols.model_dump()["http"]
    assert (http["logged_headers"], http["logged_header_names"]) == ("none" if name == "bogus" else name, ("Server",))


def test_its_events_of_ftp_are_those_of_data_connections_too(tmp_path: Path) -> None:
    assert taken(tmp_path, "outputs: [{eve-log: {types: [ftp]}}]").eve.types == ["ftp", "ftp_data"]


@pytest.mark.parametrize(("options", "expected"), [
    ("{version: 2}", ["query", "answer"]), ("{requests: yes, responses: no}", ["query"]),
    ("{query: no, answer: yes}", ["answer"]), ("{requests: no, responses: no}", []),
])  # fmt: skip
def test_dns_events_are_of_the_sides_that_it_says(tmp_path: Path, options: str, expected: list[str]) -> None:
    eve = taken(tmp_path, f"%YAML 1.1\n---\noutputs: [{{eve-log: {{types: [{{dns: {options}}}]}}}}]\n").eve
    assert (eve.types, eve.dns) == (["dns"], expected)


@pytest.mark.parametrize(("seed", "expected"), [("7", 7), ("65535", 65535), ("65536", 0), ("-1", 0), ("none", 0)])
def test_the_seed_of_community_ids_is_taken_over(tmp_path: Path, seed: str, expected: int) -> None:
    eve = f"eve-log: {{community-id: yes, community-id-seed: {seed}, types: [alert]}}"
    assert taken(tmp_path, f"%YAML 1.1\n---\noutputs: [{{{eve}}}]\n").eve.community_id_seed == expected


def test_what_tls_events_have_is_taken_over(tmp_path: Path) -> None:
    eve = "eve-log: {types: [{tls: {custom: [sni, certificate, nonsense, 7], ja4: yes}}]}"
    tls = taken(tmp_path, f"%YAML 1.1\n---\noutputs: [{{{eve}}}]\n").protocols.of(BY_NAME["tls"])
    assert (tls.logged, tls.ja4_in_events) == (["sni", "certificate"], True)


def test_limits_of_bodies_are_taken_over(tmp_path: Path) -> None:
    limits = "{request-body-limit: 0, response-body-limit: 1mb}"
    config = taken(tmp_path, f"app-layer: {{protocols: {{http: {{libhtp: {{default-config: {limits}}}}}}}}}")
    http = config.protocols.of(BY_NAME["http"])
    assert (http.request_body_bytes, http.response_body_bytes) == (1 << 30, 1 << 20)


def test_limits_of_ranges_are_taken_over(tmp_path: Path) -> None:
    byterange = "{memcap: 10mb, timeout: 90}"
    config = taken(tmp_path, f"app-layer: {{protocols: {{http: {{byterange: {byterange}}}}}}}")
    assert (config.files.range_memcap_bytes, config.files.range_timeout_s) == (10 << 20, 90)


def test_a_store_of_files_is_taken_over(tmp_path: Path) -> None:
    store = "file-store: {enabled: yes, dir: files, force-filestore: yes, stream-depth: 2mb}"
    config = taken(tmp_path, f"outputs: [{{{store}}}]")
    assert (config.files.store_dir, config.files.store_all, config.files.store_file_bytes) == ("files", True, 2 << 20)
    assert config.protocols.of(BY_NAME["http"]).response_body_bytes == 2 << 20
    assert config.files.hashes == ["sha256"], "by which they are named"
    config = taken(tmp_path, f"outputs: [{{{store}}}]\nstream: {{reassembly: {{depth: 3mb}}}}")
    assert config.files.store_file_bytes == 3 << 20, "what a stream is read to, is stored"
    assert taken(tmp_path, "outputs: [{file-store: {enabled: no}}]").files.store_dir is None
    assert taken(tmp_path, "outputs: [{file-store: {version: 2}}]").files.store_dir == "filestore"


@pytest.mark.parametrize(("types", "expected"), [
    ("{types: {decode: yes}}", ALL_ANOMALIES), ("{types: {decode: no, stream: yes}}", 0),
    ("{enabled: yes}", EveSettings().packet_anomalies), ("{types: [nonsense]}", EveSettings().packet_anomalies),
])  # fmt: skip
def test_odd_packets_are_reported_as_it_says(tmp_path: Path, types: str, expected: int) -> None:
    text = f"%YAML 1.1\n---\noutputs: [{{eve-log: {{types: [{{anomaly: {types}}}]}}}}]\n"
    assert taken(tmp_path, text).eve.packet_anomalies == expected


def test_outputs_that_make_no_sense_change_nothing(tmp_path: Path) -> None:
    for outputs in ("[1, [], {eve-log: 3}]", "{a: 1}", "[{eve-log: {types: alert}}]", "[{eve-log: {enabled: no}}]"):
        theirs = {"full_ipv6": True, "community_id_turned": True}
        assert taken(tmp_path, f"outputs: {outputs}").eve == Config().eve.model_copy(update=theirs)
    strange = "outputs: [{eve-log: {types: [{alert: {payload-buffer-size: much}}, {drop: 5}, 7]}}]"
    assert taken(tmp_path, strange).eve.payload_bytes == Config().eve.payload_bytes


def test_it_drops_only_where_it_stands_in_the_way(tmp_path: Path) -> None:
    assert taken(tmp_path, EVE).respond.mode == "off"
    for inline in ("stream:\n  inline: yes\n", "af-packet:\n  - {interface: eth0, copy-mode: ips}\n"):
        respond = taken(tmp_path, EVE + inline).respond
        assert (respond.mode, respond.inspect_dropped, respond.drop_packets) == ("enforce", False, True)
    assert taken(tmp_path, EVE, "respond.mode=enforce").respond.mode == "enforce"


def test_exception_policies_are_taken_over_by_suricatas_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "exception-policy: bypass\nstream:\n  midstream-policy: pass-flow\n"
    config = taken(tmp_path, text)
    assert (config.respond.exception_policy, config.stream.midstream_policy) == ("bypass", "pass-flow")
    assert load_config(None, ["exception-policy=auto"]).respond.exception_policy == "auto"
    assert load_config(None, ["stream.midstream-policy=drop-packet"]).stream.midstream_policy is None
    assert "drop-packet has no counterpart here" in caplog.text


@pytest.mark.parametrize(("line", "most"), [("", 15), ("packet-alert-max: 2\n", 2), ("packet-alert-max: 0\n", 15)])
def test_how_many_alerts_a_packet_has(tmp_path: Path, line: str, most: int) -> None:
    assert taken(tmp_path, "outputs: []\n" + line).respond.alerts_per_packet == most


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{enabled: yes}", ["applayer"]),
        ("{types: {stream: yes}}", ["stream"]),
        ("{types: {stream: yes, applayer: yes}}", ["stream", "applayer"]),
        ("{types: {decode: yes, stream: no}}", []),
    ],
)
def test_anomalies_are_those_that_it_says(tmp_path: Path, options: str, expected: list[str]) -> None:
    text = f"outputs: [{{eve-log: {{types: [{{anomaly: {options}}}]}}}}]\n"
    assert taken(tmp_path, text).eve.anomalies == expected
