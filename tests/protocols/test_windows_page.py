"""The page on what Windows networks speak: its rules load, and it names every buffer and oddity of these protocols."""

from __future__ import annotations

import re
from pathlib import Path

from ids.protocols import BY_NAME
from ids.protocols.dcerpc import BUFFERS
from ids.protocols.frame import INFIX
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.settings import DEFAULT_VARIABLES

PAGE = (Path(__file__).resolve().parents[2] / "docs/windows.md").read_text()
PROTOCOLS = [BY_NAME[name] for name in ("smb", "dcerpc", "krb5", "ldap", "rdp") if name in BY_NAME]
RULES = "".join(re.findall(r"```suricata\n(.*?)```", PAGE, re.DOTALL))


def spelt(name: str) -> str:
    """Return what a rule calls a buffer, as a pattern."""
    return {"krb5.msg_type": "krb5_msg_type", "krb5.err_code": "krb5_err_code"}.get(name, re.escape(name))


def test_its_rules_load() -> None:
    loader = SuricataLoader(Variables(DEFAULT_VARIABLES))
    loader.take("windows.md", RULES)
    assert [fault.message for fault in loader.left_out] == []
    assert len(list(loader.rules())) == RULES.count("alert ")


def test_there_is_a_rule_for_each_buffer() -> None:
    buffers = {buffer.name for protocol in PROTOCOLS for buffer in protocol.buffers} | {one.name for one in BUFFERS}
    shown = {name for name in buffers if re.search(rf"{spelt(name)}[;:]", RULES)}
    buffers = {name for name in buffers if INFIX not in name}  # frames are in docs/keywords.md
    assert buffers - shown <= {"dcerpc.byte_order"}, "what `dce` asks for"


def test_every_oddity_is_named() -> None:
    odd = {f"{protocol.name}.{name}" for protocol in PROTOCOLS for name in protocol.oddities}
    assert odd <= set(re.findall(r"`([\w.]+)`", PAGE))


def test_every_setting_of_them_is_bounded() -> None:
    for protocol in PROTOCOLS:
        assert protocol.settings is not None
        for field in protocol.settings.model_fields.values():
            assert field.metadata, "a bound has bounds itself"
