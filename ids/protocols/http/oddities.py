"""What is odd about an HTTP/1 message, by Suricata's names: made of its buffers when a rule asks for it."""

from __future__ import annotations

import re

from ids.later import late_pattern
from ids.protocols.files.names import file_name
from ids.protocols.http.content import boundary_of
from ids.protocols.http.head import without_end
from ids.protocols.http.lines import lines_of
from ids.protocols.http.message import UPLOADS
from ids.protocols.http.ranges import is_range
from ids.protocols.http.uri import MAX_FILE_NAME, host_name, path_of, split_target
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
    "request_chunk_extension",
    "invalid_request_chunk_len",
    "invalid_response_chunk_len",
    "100_continue_already_seen",
    "unable_to_match_response_to_request",
    "gzip_decompression_failed",
    "failed_protocol_change",
    "request_line_incomplete",
    "request_body_unexpected",
    "multipart_generic_error",
    "multipart_no_filedata",
    "multipart_invalid_header",
    "file_name_too_long",
    "compression_bomb",
    "lzma_memlimit_reached",
    "length_and_chunked",
)
"""All but the last are Suricata's: that one is a request with a length and chunks, of which servers take one or the
other. Of a request a Content-Length is odd that is more than a number, of which Suricata takes the number."""

_SCHEMES = late_pattern(rb"(?i)(?:basic|digest|bearer)(?:[ \t]|\Z)")
"""What Suricata takes for a known way to log in."""
_HOST = late_pattern(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|(?=.{1,255}\Z)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?)")
_LENGTH = late_pattern(rb"\+?\d{1,18}")
_NUMBER = late_pattern(rb"\d{1,18}")
_LONG = 10
"""Digits of a number that is no status."""
_TWICE = late_pattern(rb"%25[0-9A-Fa-f]{2}")
_PORT = late_pattern(rb"0*(\d{1,5})?")
_AROUND_TARGET = late_pattern(rb"\S+ +\S*[\t\v\f\r]")
"""White space that is no blank behind the method's."""
_CODINGS = frozenset((b"gzip", b"x-gzip", b"deflate", b"x-deflate", b"lzma", b"inflate", b"none"))
"""What Suricata knows a body to be coded with, alone,"""
_WORDS = frozenset((b"gzip", b"x-gzip", b"deflate", b"x-deflate", b"lzma", b"inflate"))
"""and with others."""
_TRANSFER_CODINGS = frozenset((b"", b"identity", b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress"))
"""Those that there are beside ``chunked`` (RFC 9112 section 7.2, and usage)."""
_MODERN = b"HTTP/1.1"
_PROTOCOLS = (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/1.1")
MAX_PORT = 65_535
MAX_HEADERS = 1024
"""Lines of a head that Suricata takes."""
MAX_FIELD = 18_000
"""Bytes of a header of a request, with the lines that it goes on in: as many as Suricata reads of one."""
_LINE_GOES_ON = late_pattern(rb"\r?\n[ \t]+")
MAX_REPETITIONS = 64
"""Headers that come again, of which it takes no more."""
MAX_LAYERS = 2
"""Content codings that it undoes."""
_LZMA = b"lzma"
"""It takes this coding for a bomb where it is one of several."""
CUT_REQUEST = b"request_line_incomplete"
"""The answer came before the request's first line had ended: the two belong together."""
NOTED = "http.noted"
"""What the parser itself found odd, its names with blanks between them: no buffer for rules."""
OTHER_READING = b"-"
"""Noted of a head as only other servers read it: what is odd is said of the one that was sent."""
_WHOLE_BYTES = 16 * 1024
"""A head as long as that may have come in parts: what it lacks says nothing."""


def odd(message: Transaction) -> tuple[bytes, ...]:
    """Return what is odd about a message, by its head; nothing of one without, or of what only other servers read."""
    found = message.buffers.get(NOTED, b"").split()
    if OTHER_READING in found:
        return ()
    raw = message.buffers.get("http.header.raw")
    asks = message.direction is Direction.TO_SERVER
    if raw is None:
        return tuple([b"http." + name for name in found])
    raw = without_end(raw)
    side = b"request" if asks else b"response"
    lines = lines_of(raw, asks, message.buffers.get("http.protocol") == _MODERN)
    values = lines.values
    found += _odd_headers(values, side)
    if lines.colonless:
        found.append(side + b"_field_missing_colon")
    if lines.misnamed:
        found.append(side + b"_header_invalid")
    if lines.misfolded:
        found.append(b"invalid_request_field_folding" if asks else b"invalid_response_field_folding")
    if raw.count(b"\n") > MAX_HEADERS:
        found.append(side + b"_too_many_headers")
    if asks and len(raw) > MAX_FIELD and max(map(len, _LINE_GOES_ON.sub(b"", raw).split(b"\n"))) > MAX_FIELD:
        found.append(b"request_field_too_long")
    if not asks:
        found += _odd_response(message, values, CUT_REQUEST in found)
    elif "http.request_line" in message.buffers:
        found += _odd_request(message, values, len(raw))
    return tuple([b"http." + name for name in dict.fromkeys(found)])


def _odd_headers(values: dict[bytes, list[bytes]], side: bytes) -> list[bytes]:
    """Return what is odd about the headers of either side."""
    found = []
    if sum(len(several) - 1 for several in values.values()) > MAX_REPETITIONS:
        found.append(side + b"_header_repetition")
    lengths, codings = values.get(b"content-length", []), values.get(b"transfer-encoding", [])
    numbers = [_NUMBER.search(length) for length in lengths]
    if len({int(number[0]) for number in numbers if number is not None}) > 1:
        found.append(b"duplicate_content_length_field_in_" + side)
    strict = side == b"request"  # who takes another length than the server makes two requests of one, or one of two
    if not all(map(_LENGTH.fullmatch, lengths) if strict else numbers):
        found.append(b"invalid_content_length_field_in_" + side)
    if codings:
        found += _odd_framing(b", ".join(codings).lower(), side)
    if strict and lengths and codings:
        found.append(b"length_and_chunked")
    return found


def _odd_framing(codings: bytes, side: bytes) -> list[bytes]:
    """Return what is odd about a Transfer-Encoding, in lower case: Suricata searches that of an answer for ``chunked``,
    and takes that of a request for a list. Of an answer it takes any other for nothing; one that nobody knows is odd.
    """
    listed = {coding.strip() for coding in codings.split(b",")}
    if side == b"request":
        return [] if b"chunked" in listed else [b"invalid_transfer_encoding_value_in_request"]
    if b"chunked" in codings.replace(b"\0", b""):
        return [b"response_abnormal_transfer_encoding"] if codings != b"chunked" else []
    return [] if listed <= _TRANSFER_CODINGS else [b"invalid_transfer_encoding_value_in_response"]


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
    if len(target) > MAX_FILE_NAME and _is_file(message) and len(path_of(target)) > MAX_FILE_NAME:
        found.append(b"file_name_too_long")
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


def _is_file(request: Transaction) -> bool:
    """Return whether the body of a request is a file that is called by its target."""
    buffers = request.buffers
    if buffers.get("http.method") not in UPLOADS or not buffers.get("http.request_body"):
        return False
    return boundary_of(buffers.get("http.content_type", b"")) is None


def _is_host(authority: bytes) -> bool:
    """Return whether an authority has the form of a host, and of a port where it has one."""
    host, port = host_name(authority)
    digits = _PORT.fullmatch(port)
    return _HOST.fullmatch(host) is not None and digits is not None and 0 <= int(digits[1] or 1) <= MAX_PORT


def _odd_response(message: Transaction, values: dict[bytes, list[bytes]], asked: bool) -> list[bytes]:
    """Return what is odd about a response besides; ``asked``: its request has begun, and was not read yet."""
    found = _odd_codings(b", ".join(values.get(b"content-encoding", [])))
    protocol = message.buffers.get("http.protocol", b"")
    chunked = any(b"chunked" in value.replace(b"\0", b"").lower() for value in values.get(b"transfer-encoding", []))
    if chunked and protocol and protocol != _MODERN:
        found.append(b"response_chunked_old_proto")
    if "url" not in message.fields and not asked:
        found.append(b"unable_to_match_response_to_request")
    if protocol and protocol not in _PROTOCOLS:
        found.append(b"response_invalid_protocol")
    status = message.buffers.get("http.stat_code")
    if status is not None and not (status.isdigit() and len(status) < _LONG and 100 <= int(status) < 1000):
        found.append(b"response_invalid_status")
    if not all(map(is_range, values.get(b"content-range", []))):
        found.append(b"range_invalid")
    if len(message.buffers.get("file.name", b"")) >= MAX_FILE_NAME and _is_long(message, values):
        found.append(b"file_name_too_long")
    return found


def _is_long(answer: Transaction, values: dict[bytes, list[bytes]]) -> bool:
    """Return whether the name of a response's body is too long; the buffer of it may be cut."""
    name = file_name(b", ".join(values.get(b"content-disposition", [])))
    return len(name or path_of(str(answer.fields.get("url", "")).encode())) > MAX_FILE_NAME


def _odd_codings(value: bytes) -> list[bytes]:
    """Return what is odd about a Content-Encoding: Suricata takes one coding for what it is called, and of several each
    that it finds in a word."""
    if not value.strip() or value.replace(b"\0", b"").lower() in _CODINGS:
        return []
    found: list[bytes] = []
    words = re.split(rb"[, ]+", value.strip(b", "))
    for number, word in enumerate(words, 1):
        if number > MAX_LAYERS:
            return [*found, b"too_many_encoding_layers"]
        if word not in _WORDS:
            found.append(b"abnormal_ce_header")
        elif word == _LZMA and len(words) > 1:
            found.append(b"compression_bomb")
    return found
