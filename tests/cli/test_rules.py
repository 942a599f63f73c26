"""`ids rules check` as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.cli import cli
from ids.errors import RulesRefused
from tests.rules.builders import rule_text


def errors(file: Path) -> list[str]:
    """Return what `ids rules check` refuses of a rule file."""
    result = CliRunner().invoke(cli, ["rules", "check", str(file), "-o", "json"])
    found = json.loads(result.stdout)["errors"]
    assert result.exit_code == (2 if found else 0), result.output
    return [f"{e['line']}:{e['column']}: {e['message']} ({e['remedy']})" for e in found]


NEVER = "the rule can never match"


@pytest.mark.parametrize(
    ("test", "answer"),
    [
        ("DNSQR.qclass: 1", None),
        ("DNSQRX.qclass: 1", f"Scapy has no layer 'DNSQRX': {NEVER} (did you mean 'DNSQR'?)"),
        ("DNSQR.qclas: 1", f"DNSQR of Scapy has no field 'qclas': {NEVER} (did you mean 'qclass'?)"),
        ("DNSQR.xyz: 1", f"DNSQR of Scapy has no field 'xyz': {NEVER}"
         " (known are qclass, qname, qtype, unicastresponse)"),
        ("TCP.flags: S", None),
        ("TCP.flags: SA", None),
        ("TCP.flags: 2", None),
        ("TCP.flags: SYN", f"TCP.flags of Scapy is never 'SYN': {NEVER} (write its flags as Scapy does:"
         " F, S, R, P, A, U, E, C, N; two of them are 'FS')"),
        ("IP.flags: DF", None),
        ("IP.proto: tcp", f"IP.proto of Scapy is never 'tcp': {NEVER} (write 6)"),
        ("IP.proto: '6'", None),
        ("IP.ttl: low", f"IP.ttl of Scapy is never 'low': {NEVER} (write a number)"),
        ("TCP.window: 70000", f"TCP.window of Scapy is never 70000: {NEVER} (it has 16 bits)"),
        ("IP.src: 1", f"IP.src of Scapy is never 1: {NEVER} (write one address)"),
        ("IP.src: 192.0.2.1", None),
        ("IPv6.src: '2001:db8::1'", None),
        ("Ethernet.src: '00:11:22:33:44:55'", None),
        ("Ethernet.src: 1", f"Ethernet.src of Scapy is never 1: {NEVER}"
         " (write it as 'aa:bb:cc:00:11:22', in lower case)"),
        ("DNSQR.qname: a.example.", None),
        ("Raw.load: abc", None),
        ("TCP.options: '[]'", None),
    ],
)  # fmt: skip
def test_what_no_packet_of_scapy_has_is_refused(tmp_path: Path, test: str, answer: str | None) -> None:
    """Layers, fields and values: with the place, and what to write."""
    file = tmp_path / "r.yaml"
    file.write_text(
        "rules:\n" + rule_text(f"[payload: {{contains: abcdef}}, 'scapy.{test.replace(':', chr(39) + ':', 1)}]")
    )
    column = file.read_text().splitlines()[4].rindex("': ") + 4
    assert errors(file) == ([f"5:{column}: sid 1: {answer}"] if answer else [])


@pytest.mark.parametrize(
    ("traffic", "layer", "remedy"),
    [
        ("tcp", "UDP.sport: 53", "write udp in traffic, or ip"),
        ("udp", "TCP.window: 7", "write tcp in traffic, or ip"),
        ("icmp", "UDP.sport: 53", "write udp in traffic, or ip"),
        ("http", "UDP.sport: 53", "write udp in traffic, or ip"),
        ("tcp", "ICMP.type: 8", "write icmp in traffic, or ip"),
        ("tcp", "SCTP.sport: 1", "write ip in traffic, or ip"),
        ("tcp", "TCP.window: 7", None),
        ("http", "TCP.window: 7", None),
        ("ip", "UDP.sport: 53", None),
        ("dns", "UDP.sport: 53", None),
        ("icmp", "ICMP.type: 8", None),
        ("tcp", "IP.ttl: 7", None),
        ("tcp", "DNS.qr: 1", None),
    ],
)
def test_a_layer_that_contradicts_the_traffic_is_refused_and_the_rule_is_not_counted(
    tmp_path: Path, traffic: str, layer: str, remedy: str | None
) -> None:
    file = tmp_path / "r.yaml"
    text = rule_text(f"[payload: {{contains: abcdef}}, scapy.{layer}]", 1, traffic)
    file.write_text("rules:\n" + text + rule_text("[payload: {contains: abcdef}]", 2))
    found = errors(file)
    why = f"packets of {traffic} traffic have no layer {layer.partition('.')[0]}: {NEVER}"
    assert [why in error and f"({remedy}" in error for error in found] == [True] * (remedy is not None)
    answer = CliRunner().invoke(cli, ["rules", "check", str(file), "-o", "json"])
    assert json.loads(answer.stdout)["rules"] == (2 if remedy is None else 1)
    listed = CliRunner().invoke(cli, ["rules", "list", "-S", str(file), "-o", "json"])
    assert [json.loads(row)["sid"] for row in listed.stdout.splitlines()] == ([1, 2] if remedy is None else [2])


def test_the_engine_refuses_what_the_check_refuses(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("rules:\n" + rule_text("[payload: {contains: abcdef}, scapy.TCP.flags: SYN]"))
    result = CliRunner().invoke(cli, ["check", "-S", str(file)])
    assert isinstance(result.exception, RulesRefused)
    assert "r.yaml:5:" in str(result.exception)
    assert "never 'SYN'" in str(result.exception)


def test_scapy_is_imported_for_its_own_conditions_alone(tmp_path: Path) -> None:
    """It takes long, and most rule sets have none."""
    file = tmp_path / "r.yaml"
    file.write_text("rules:\n" + rule_text("[payload: {contains: abcdef}]"))
    code = f"import sys; from ids.cli import cli; cli(['rules', 'check', {str(file)!r}], standalone_mode=False)"
    script = f"{code}; sys.exit('scapy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=120)
