"""Protocols that are recognised, but not parsed: rules can name them in ``traffic``, and test their raw bytes."""

from __future__ import annotations

from ids.protocols.protocol import Protocol

_TELNET_OPTION = rb"(?s:\xff[\xfb-\xfe][\x00-\x31\x8a-\x8c\xff])"
TELNET = Protocol(
    name="telnet",
    from_client=_TELNET_OPTION + rb"(?:" + _TELNET_OPTION + rb"|(?s:\xff\xfa))",
    from_server=_TELNET_OPTION + rb"(?:" + _TELNET_OPTION + rb"|(?s:\xff\xfa))",
)
"""Two negotiations of an option in a row (RFC 854): one alone could be chance."""

MYSQL = Protocol(name="mysql", from_server=rb"(?s:.\x00\x00\x00\x0a)\d{1,2}\.\d{1,2}\.\d")
"""The greeting of protocol 10, with the server's version."""

REDIS = Protocol(name="redis", from_client=rb"\*[1-9]\d{0,3}\r\n\$\d{1,5}\r\n", answers=rb"\+OK\r\n")
"""A command as an array of strings (RESP)."""
