"""`ids rules check` as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.cli import cli
from tests.rules.builders import rule_text


def warnings(file: Path) -> list[str]:
    """Return the warnings of a rule file that loads."""
    result = CliRunner().invoke(cli, ["rules", "check", str(file), "-o", "json"])
    assert result.exit_code == 0, result.output
    return [f"{w['line']}: {w['message']} ({w['remedy']})" for w in json.loads(result.stdout)["warnings"]]


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("DNSQR.qclass", None),
        ("Ethernet.src", None),
        ("DNSQRX.qclass", "Scapy has no layer 'DNSQRX': the rule can never match (did you mean 'DNSQR'?)"),
        ("DNSQR.qclas", "DNSQR of Scapy has no field 'qclas': the rule can never match (did you mean 'qclass'?)"),
        ("DNSQR.xyz", "DNSQR of Scapy has no field 'xyz': the rule can never match"
         " (known are qclass, qname, qtype, unicastresponse)"),
    ],
)  # fmt: skip
def test_fields_that_scapy_does_not_have_are_named(tmp_path: Path, field: str, answer: str | None) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("rules:\n" + rule_text(f"[payload: {{contains: abcdef}}, scapy.{field}: 1]"))
    assert warnings(file) == ([f"2: sid 1: {answer}"] if answer else [])


def test_scapy_is_imported_for_its_own_conditions_alone(tmp_path: Path) -> None:
    """It takes long, and most rule sets have none."""
    file = tmp_path / "r.yaml"
    file.write_text("rules:\n" + rule_text("[payload: {contains: abcdef}]"))
    code = f"import sys; from ids.cli import cli; cli(['rules', 'check', {str(file)!r}], standalone_mode=False)"
    script = f"{code}; sys.exit('scapy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
