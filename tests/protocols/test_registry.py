"""A protocol is one thing: everything else about it follows from its descriptor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from ids.protocols import BUFFERS, BY_NAME, EVENT_TYPES, OTHER_NAMES, PROTOCOLS, Protocol, ProtocolSettings
from ids.protocols.http import HttpSettings
from ids.protocols.registry import SHARED_BUFFERS
from ids.settings.respond import EventType
from tests.protocols.toys import TOY
from tests.shared import ROOT

FOLDER = ROOT / "ids" / "protocols"


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


def named_in(protocol: Protocol) -> str:
    """Return the sources of a protocol, but for what is said of it in its descriptor."""
    name = protocol.name.partition("-")[0]
    beside = {"smtp": "mime", "http": "http2"}  # HTTP/2 says what is odd about the upgrade before it
    folders = [FOLDER / name, *([FOLDER / beside[name]] if name in beside else [])]
    paths = [path for folder in folders for path in folder.glob("*.py")] or list((FOLDER / "rare").glob(f"{name}*.py"))
    assert paths, name
    return re.sub(r"(?s)\n    oddities=\(.*?\),\n|\nODDITIES = \(.*?\n\)\n", "\n", "".join(map(Path.read_text, paths)))


@pytest.mark.parametrize("protocol", [one for one in PROTOCOLS if one.oddities], ids=lambda one: one.name)
def test_every_oddity_is_raised_somewhere(protocol: Protocol) -> None:
    """A rule on one that no parser raises loads, and never alerts."""
    source = named_in(protocol)
    for oddity in protocol.oddities:
        words = [oddity, *re.split("request|response", oddity)]  # HTTP puts the side in front of a name, or behind it
        assert any(re.search(rf'["`.]{re.escape(word)}["`]', source) for word in words if word), oddity


def test_settings_follow_from_the_protocols() -> None:
    settings = ProtocolSettings.model_validate({"probe_bytes": 64, "http": {"header_count": 9}})
    assert settings.of(BY_NAME["http"]) == HttpSettings(header_count=9)
    assert settings.of(TOY) is None
    assert ProtocolSettings().of(BY_NAME["http"]) == HttpSettings()
    with pytest.raises(ValidationError, match="gopher"):
        ProtocolSettings.model_validate({"gopher": {}})


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
