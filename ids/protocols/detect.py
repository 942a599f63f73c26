"""Recognise an application protocol by the first bytes of a stream, whatever the port. Names are EVE's (``app_proto``).

Each pattern matches at the start of one direction. It must need few bytes, for a decision comes with them, and must not
match what another protocol's peer could send: a flow keeps the first name that fits.
"""

from __future__ import annotations

import re

from ids.types import Direction

FAILED = "failed"
"""EVE's name for a protocol that was looked for and not recognised."""

_METHODS = (
    rb"GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|"
    rb"SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH|TRACK|DEBUG|INVOKE|PURGE|RPC_IN_DATA|RPC_OUT_DATA|BPROPFIND|BITS_POST"
)
"""Methods that are told from other protocols' commands by their name alone: RFC 9110, RFC 4918, RFC 3253, and usage."""

REQUEST_START = rb"(?:" + _METHODS + rb")[ \t]+[^ \t\r\n]"
RESPONSE_START = rb"(?i:HTTP)/\d\.\d[ \t]+\d{3}"

_TLS = re.compile(rb"[\x14-\x17]\x03[\x00-\x04][\x00-\x48]")
_SSH = re.compile(rb"SSH-[12]\.")
_SMB = re.compile(rb"\x00[\x00-\x01]..[\xfd-\xff]SMB", re.DOTALL)
_DNS_QUERY = re.compile(rb"(?s)[\x00-\x0f][\x0c-\xff]..[\x00-\x07][\x00-\x3f]\x00[\x01-\x04]\x00.\x00.\x00.")
_DNS_ANSWER = re.compile(rb"(?s)[\x00-\xff][\x0c-\xff]..[\x80-\x87].\x00[\x00-\x04]\x00.\x00.\x00.")
_HTTP2 = re.compile(rb"PRI \* HTTP/2\.0\r\n")
_HTTP_REQUEST = re.compile(
    rb"[\r\n]{0,8}(?:(?i:"
    + REQUEST_START
    + rb")|[^\s\x00:]{1,64}[ \t]+(?:[/*]|[A-Za-z]+://|[^\r\n]{0,400}[ \t]HTTP/\d))"
)
_HTTP_RESPONSE = re.compile(rb"[\r\n\t \0]{0,8}(?i:HTTP)/\d")

_BY_CLIENT = (
    ("http2", _HTTP2),
    ("tls", _TLS),
    ("ssh", _SSH),
    ("smb", _SMB),
    ("smtp", re.compile(rb"(?i:EHLO|HELO|LHLO)[ \t]")),
    ("http", _HTTP_REQUEST),
    ("ftp", re.compile(rb"(?i:USER|AUTH)[ \t][^\r\n]*\r?\n")),
    ("dns", _DNS_QUERY),
)
_BY_SERVER = (
    ("http", _HTTP_RESPONSE),
    ("tls", _TLS),
    ("ssh", _SSH),
    ("smb", _SMB),
    ("smtp", re.compile(rb"220[ -][^\r\n]*(?i:SMTP|mail)")),
    ("ftp", re.compile(rb"220[ -][^\r\n]*(?i:FTP)")),
    ("imap", re.compile(rb"\* (?:OK|PREAUTH) ")),
    ("pop3", re.compile(rb"\+OK[ \r]")),
    ("dns", _DNS_ANSWER),
)


def recognise(prefix: bytes, direction: Direction) -> str | None:
    """Return the protocol whose first bytes in this direction are ``prefix``, or None while none fits."""
    patterns = _BY_SERVER if direction is Direction.TO_CLIENT else _BY_CLIENT
    for name, pattern in patterns:
        if pattern.match(prefix):
            return name
    return None
