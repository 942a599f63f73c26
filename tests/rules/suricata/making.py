"""Makes rules of the model out of text in Suricata's language."""

from __future__ import annotations

from ids.rules.language.suricata.builder import AtPlace, Builder
from ids.rules.language.suricata.files import ConfigFiles
from ids.rules.language.suricata.source import RawRule
from ids.rules.language.variables import Variables
from ids.rules.model.rule import Rule
from ids.rules.settings import DEFAULT_VARIABLES

TCP = "alert tcp any any -> any any"
HTTP = "alert http any any -> any any"
TLS = "alert tls any any -> any any"


def rule_of(options: str, header: str = TCP) -> Rule:
    """Build a rule of options; the sid is added."""
    text = f"{header} ({options} sid:1;)"
    return Builder(Variables(DEFAULT_VARIABLES), ConfigFiles()).build(RawRule(text, 1), "a.rules")


def parts_of(options: str, header: str = TCP) -> tuple[object, ...]:
    """Return the tests that the options come to."""
    return rule_of(options, header).condition.parts


def fault_of(options: str, header: str = TCP) -> tuple[str, str]:
    """Return the cause and the message for which a rule is left out."""
    try:
        rule_of(options, header)
    except AtPlace as at:
        return at.fault.cause, at.fault.message
    raise AssertionError(f"{options} was accepted")
