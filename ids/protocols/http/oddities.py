"""What is odd about the head of an HTTP/1 message, by Suricata's names: made of its buffers when a rule asks for it."""

from __future__ import annotations

import re
from collections import Counter

from ids.protocols.http.uri import host_name, split_target
from ids.types import Direction, Transaction

ODDITIES = (
    "request_auth_unrecognized",
    "missing_host_header",
    "host_header_ambiguous",
    "request_header_host_invalid",
    "request_uri_host_invalid",
    "double_encoded_uri",
    "method_delim_non_compliant",
    "request_header_repetition",
    "response_header_repetition",
    "request_field_missing_colon",
    "response_field_missing_colon",
    "duplicate_content_length_field_in_request",
    "duplicate_content_length_field_in_response",
    "invalid_content_length_field_in_request",
    "invalid_content_length_field_in_response",
    "invalid_transfer_encoding_value_in_request",
    "invalid_transfer_encoding_value_in_response",
    "response_invalid_status",
    "length_and_chunked",
)
"""All but the last are Suricata's: that one is a message with a length and chunks, of which servers take one or the
other."""

_SCHEMES = re.compile(rb"(?i)(?:basic|digest|bearer)(?:[ \t]|\Z)")
"""What Suricata takes for a known way to log in."""
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?=.{1,255}\Z)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?)")
_LENGTH = re.compile(rb"\+?\d{1,18}")
_TWICE = re.compile(rb"%25[0-9A-Fa-f]{2}")
_SEPARATE_LINES = frozenset((b"set-cookie", b"www-authenticate", b"proxy-authenticate", b"warning", b"via", b"link"))
"""Headers that may come again (RFC 9110 section 5.3, and usage)."""
_WHOLE_BYTES = 16 * 1024
"""A head as long as that may have come in parts: what it lacks says nothing."""


def odd(message: Transaction) -> tuple[bytes, ...]:
    """Return what is odd about a message, by its head; nothing of what has none."""
    raw = message.buffers.get("http.header.raw")
    if raw is None:
        return ()
    asks = message.direction is Direction.TO_SERVER
    side = b"request" if asks else b"response"
    values, colonless = _headers(raw)
    found = _odd_headers(values, side)
    if colonless:
        found.append(side + b"_field_missing_colon")
    if asks and "http.request_line" in message.buffers:
        found += _odd_request(message, values, len(raw))
    status = message.buffers.get("http.stat_code")
    if not asks and status is not None and not (len(status) == 3 and status.isdigit() and status[:1] in b"12345"):
        found.append(b"response_invalid_status")
    return tuple([b"http." + name for name in dict.fromkeys(found)])


def _headers(raw: bytes) -> tuple[dict[bytes, list[bytes]], bool]:
    """Return the values of headers by name, and whether a line has no colon; folded lines are left."""
    values: dict[bytes, list[bytes]] = {}
    colonless = False
    for line in raw.split(b"\n"):
        line = line.strip(b"\r")
        if not line or line[:1] in b" \t":
            continue
        name, colon, value = line.partition(b":")
        if colon:
            values.setdefault(name.strip().lower(), []).append(value.strip())
        else:
            colonless = True
    return values, colonless


def _odd_headers(values: dict[bytes, list[bytes]], side: bytes) -> list[bytes]:
    """Return what is odd about the headers of either side."""
    found = []
    again = Counter({name: len(several) for name, several in values.items() if name not in _SEPARATE_LINES})
    if any(count > 1 for count in again.values()):
        found.append(side + b"_header_repetition")
    lengths, codings = values.get(b"content-length", []), values.get(b"transfer-encoding", [])
    if len(lengths) > 1:
        found.append(b"duplicate_content_length_field_in_" + side)
    if not all(map(_LENGTH.fullmatch, lengths)):
        found.append(b"invalid_content_length_field_in_" + side)
    if any(coding.lower() not in (b"chunked", b"identity") for coding in codings):
        found.append(b"invalid_transfer_encoding_value_in_" + side)
    if lengths and codings:
        found.append(b"length_and_chunked")
    return found


def _odd_request(message: Transaction, values: dict[bytes, list[bytes]], size: int) -> list[bytes]:
    """Return what is odd about a request besides."""
    found = []
    target = message.buffers.get("http.uri.raw", b"")
    authority = split_target(target)[0]
    hosts = values.get(b"host", [])
    if not hosts and message.buffers.get("http.protocol") == b"HTTP/1.1" and size < _WHOLE_BYTES:
        found.append(b"missing_host_header")
    names = {host_name(host) for host in (*hosts, *([authority] if authority else []))}
    if len(names) > 1:
        found.append(b"host_header_ambiguous")
    if any(host and _HOST.fullmatch(host_name(host)[0]) is None for host in hosts):
        found.append(b"request_header_host_invalid")
    if authority and _HOST.fullmatch(host_name(authority)[0]) is None:
        found.append(b"request_uri_host_invalid")
    if any(_SCHEMES.match(value) is None for value in values.get(b"authorization", [])):
        found.append(b"request_auth_unrecognized")
    if _TWICE.search(target) is not None:
        found.append(b"double_encoded_uri")
    if b"\t" in message.buffers.get("http.request_line", b""):
        found.append(b"method_delim_non_compliant")
    return found
