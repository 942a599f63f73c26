"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.protocols.protocol import Protocol
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_TELNET_OPTION = rb"(?s:\xff[\xfb-\xfe][\x00-\x31\x8a-\x8c\xff])"
TELNET = Protocol(
    name="telnet",
    from_client=_TELNET_OPTION + rb"(?:" + _TELNET_OPTION + rb"|(?s:\xff\xfa))",
    from_server=_TELNET_OPTION + rb"(?:" + _TELNET_OPTION + rb"|(?s:\xff\xfa))",
)
"""Two negotiations of an option in a row (RFC 854): one alone could be chance."""
