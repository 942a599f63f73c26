"""A protocol is one thing: everything else about it follows from its descriptor."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from ids.protocols import BUFFERS, BY_NAME, EVENT_TYPES, OTHER_NAMES, PROTOCOLS, Protocol, ProtocolSettings
from ids.protocols.http import HttpSettings
from ids.protocols.registry import SHARED_BUFFERS
from ids.respond.settings import EventType
from tests.protocols.toys import TOY


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(PROTOCOLS)
    assert OTHER_NAMES.isdisjoint(BY_NAME)
    assert len(BUFFERS) == len(SHARED_BUFFERS) + sum(len(protocol.buffers) for protocol in PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_descriptors(protocol: Protocol) -> None:
    """Every protocol can be recognised, owns its buffers, and has an event exactly where it has a parser."""
    assert protocol.recognised_over(6) or protocol.recognised_over(17)
    assert {buffer.protocol for buffer in protocol.buffers} <= {protocol.name}
    assert protocol.parsed == (protocol.event is not None)


def test_settings_follow_from_the_protocols() -> None:
    settings = ProtocolSettings.model_validate({"probe_bytes": 64, "http": {"header_count": 9}})
    assert settings.of(BY_NAME["http"]) == HttpSettings(header_count=9)
    assert settings.of(BY_NAME["telnet"]) is settings.of(TOY) is None
    assert ProtocolSettings().of(BY_NAME["http"]) == HttpSettings()
    with pytest.raises(ValidationError, match="telnet"):
        ProtocolSettings.model_validate({"telnet": {}})


def test_events_of_protocols_can_be_chosen() -> None:
    assert {
        "tls",
        "ssh",
        "smtp",
        "ftp",
        "smb",
        "dcerpc",
        "krb5",
        "ldap",
        "rdp",
        "http",
        "dns",
        "websocket",
        "quic",
    } <= set(EVENT_TYPES)
    assert set(EVENT_TYPES) <= set(get_args(EventType))
