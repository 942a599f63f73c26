"""What is odd about an HTTP/1 message, by Suricata's names: made of its buffers when a rule asks for it."""

from __future__ import annotations

import re
from collections import Counter

from ids.protocols.http.ranges import RANGE
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
    "request_header_invalid",
    "response_header_invalid",
    "invalid_request_field_folding",
    "invalid_response_field_folding",
    "request_field_too_long",
    "request_too_many_headers",
    "response_too_many_headers",
    "uri_delim_non_compliant",
    "request_line_leading_whitespace",
    "abnormal_ce_header",
    "too_many_encoding_layers",
    "response_abnormal_transfer_encoding",
    "response_chunked_old_proto",
    "response_invalid_protocol",
    "range_invalid",
    "invalid_request_chunk_len",
    "invalid_response_chunk_len",
    "100_continue_already_seen",
    "unable_to_match_response_to_request",
    "gzip_decompression_failed",
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
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PORT = re.compile(rb"0*(\d{1,5})?")
_AROUND_TARGET = re.compile(rb"\S+ +\S*[\t\v\f\r]")
"""White space that is no blank behind the method's."""
_CODINGS = frozenset((b"gzip", b"x-gzip", b"deflate", b"x-deflate", b"lzma", b"inflate", b"identity", b"br"))
_PROTOCOLS = (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/1.1")
MAX_PORT = 65_535
MAX_HEADERS = 1024
"""Lines of a head that Suricata takes."""
MAX_FIELD = 18_000
"""Bytes of a header of a request, with the lines that it goes on in: as many as Suricata reads of one."""
_LINE_GOES_ON = re.compile(rb"\r?\n[ \t]+")
_HEADER_IN_FOLD = re.compile(rb"(?:\A|\n)[ \t]+[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:")
"""A line that says to go on the one before it, and looks like a header of its own."""
MAX_LAYERS = 2
"""Content codings that it undoes."""
NOTED = "http.noted"
"""What the parser itself found odd, its names with blanks between them: no buffer for rules."""
_WHOLE_BYTES = 16 * 1024
"""A head as long as that may have come in parts: what it lacks says nothing."""


def odd(message: Transaction) -> tuple[bytes, ...]:
    """Return what is odd about a message, by its head; nothing of what has none."""
    found = message.buffers.get(NOTED, b"").split()
    raw = message.buffers.get("http.header.raw")
    asks = message.direction is Direction.TO_SERVER
    if raw is None:
        return tuple([b"http." + name for name in found])
    side = b"request" if asks else b"response"
    values, colonless, misnamed = _headers(raw)
    found += _odd_headers(values, side)
    if colonless:
        found.append(side + b"_field_missing_colon")
    if asks and any(b"\0" in name for name in misnamed):  # what is behind a NUL, the colon too, is not read
        found.append(b"request_field_missing_colon")
    elif misnamed and (asks or any(b"\0" in name for name in misnamed)):
        found.append(side + b"_header_invalid")
    if raw.count(b"\n") > MAX_HEADERS:
        found.append(side + b"_too_many_headers")
    if asks and raw[:1] in b" \t" and raw:
        found.append(b"invalid_request_field_folding")
    if asks and len(raw) > MAX_FIELD and max(map(len, _LINE_GOES_ON.sub(b"", raw).split(b"\n"))) > MAX_FIELD:
        found.append(b"request_field_too_long")
    if not asks:
        found += _odd_response(message, values)
    if asks and "http.request_line" in message.buffers:
        found += _odd_request(message, values, len(raw))
    status = message.buffers.get("http.stat_code")
    if not asks and status is not None and not (len(status) == 3 and status.isdigit() and status[:1] in b"12345"):
        found.append(b"response_invalid_status")
    return tuple([b"http." + name for name in dict.fromkeys(found)])


def _headers(raw: bytes) -> tuple[dict[bytes, list[bytes]], bool, list[bytes]]:
    """Return the values of headers by name, whether a line has no colon, and names that are none; folded lines are
    left."""
    values: dict[bytes, list[bytes]] = {}
    colonless = False
    misnamed: list[bytes] = []
    for line in raw.split(b"\n"):
        line = line.strip(b"\r")
        if not line or line[:1] in b" \t":
            continue
        name, colon, value = line.partition(b":")
        if colon:
            values.setdefault(name.strip().lower(), []).append(value.strip())
            if _TOKEN.fullmatch(name) is None:
                misnamed.append(name)
        else:
            colonless = True
    return values, colonless, misnamed


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
    odd_codings = [coding.lower() for coding in codings if coding.lower() not in (b"chunked", b"identity")]
    if side == b"response" and any(b"chunked" in coding for coding in odd_codings):
        found.append(b"response_abnormal_transfer_encoding")
    elif odd_codings:
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
    if any(host and not _is_host(host) for host in hosts):
        found.append(b"request_header_host_invalid")
    if message.buffers.get("http.method") == b"CONNECT":
        authority = target
    if authority and not _is_host(authority):
        found.append(b"request_uri_host_invalid")
    if any(_SCHEMES.match(value) is None for value in values.get(b"authorization", [])):
        found.append(b"request_auth_unrecognized")
    if _TWICE.search(target) is not None:
        found.append(b"double_encoded_uri")
    line = message.buffers.get("http.request_line", b"")
    method = message.buffers.get("http.method", b"")
    if line[:1] in b" \t\v\f" and line:
        found.append(b"request_line_leading_whitespace")
    elif line[len(method) : len(method) + 1] in (b"\t", b"\v", b"\f"):
        found.append(b"method_delim_non_compliant")
    elif _AROUND_TARGET.match(line) is not None:
        found.append(b"uri_delim_non_compliant")
    return found


def _is_host(authority: bytes) -> bool:
    """Return whether an authority has the form of a host, and of a port where it has one."""
    host, port = host_name(authority)
    digits = _PORT.fullmatch(port)
    return _HOST.fullmatch(host) is not None and digits is not None and 0 <= int(digits[1] or 1) <= MAX_PORT


def _odd_response(message: Transaction, values: dict[bytes, list[bytes]]) -> list[bytes]:
    """Return what is odd about a response besides."""
    found = []
    codings = [coding.strip().lower() for value in values.get(b"content-encoding", []) for coding in value.split(b",")]
    if any(coding not in _CODINGS for coding in codings):
        found.append(b"abnormal_ce_header")
    if len(codings) > MAX_LAYERS:
        found.append(b"too_many_encoding_layers")
    protocol = message.buffers.get("http.protocol", b"")
    if protocol == b"HTTP/1.1" and _HEADER_IN_FOLD.search(message.buffers.get("http.header.raw", b"")) is not None:
        found.append(b"invalid_response_field_folding")
    chunked = any(b"chunked" in value.lower() for value in values.get(b"transfer-encoding", []))
    if chunked and protocol in (b"HTTP/0.9", b"HTTP/1.0"):
        found.append(b"response_chunked_old_proto")
    if "url" not in message.fields:
        found.append(b"unable_to_match_response_to_request")
    if protocol and protocol not in _PROTOCOLS:
        found.append(b"response_invalid_protocol")
    if any(RANGE.fullmatch(value) is None for value in values.get(b"content-range", [])):
        found.append(b"range_invalid")
    return found
