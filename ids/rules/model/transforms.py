"""Transforms: functions that make another buffer of a buffer, spelt behind its name: ``http.uri|url_decode|sha256``.

A parameter stands behind a colon (``xor:0d0a``). In it, ``|`` is written ``%7c`` and ``%`` is written ``%25``; see
`spelt`. Suricata's keyword may stand for a name. A buffer has as many instances under transforms as without: one that
a transform makes nothing of is absent.

What each does follows Suricata's keyword of the same name (detect-transform-*.c), in `KEYWORDS`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

from ids.later import late_pattern
from ids.rules.model.patterns import Pattern, check_capture, search_capture
from ids.rules.model.rule import Anchor

Transform: TypeAlias = Callable[[bytes], bytes | None]

MAX_TRANSFORMS = 8
"""Transforms of one buffer; each passes over all of it."""

MAX_DECODED_BYTES = 65535
"""Bytes of base64 that are decoded, as in Suricata."""

_SPACES = b" \t\n\v\f\r"
_RUN_OF_SPACES = late_pattern(rb"([ \t-\r])[ \t-\r]+")
_ENCODED = late_pattern(rb"%([0-9A-Fa-f]{2})")
_PSEUDO = late_pattern(rb"(?m)^:[^\n]*\n?")
_HEADER_NAME = late_pattern(rb"(?m)^[^:\n]*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")


class TransformError(ValueError):
    """There is no such transform, or its parameter is wrong."""


def spelt(buffer: str, transforms: Sequence[tuple[str, str]]) -> str:
    """Return the name of a buffer under transforms, each given by its name and its parameter or ``""``.

    Raises `TransformError`.
    """
    _refuse_many(len(transforms))
    parts = [spelt_part(name, parameter) for name, parameter in transforms]
    for part in parts:
        _made(part)
    return "|".join([buffer, *parts])


def _refuse_many(count: int) -> None:
    if count > MAX_TRANSFORMS:
        raise TransformError(f"{count} transforms of one buffer; {MAX_TRANSFORMS} are allowed")


def spelt_part(name: str, parameter: str = "") -> str:
    """Return a transform as it stands in a buffer's name; ``name`` may be Suricata's keyword for it."""
    escaped = parameter.replace("%", "%25").replace("|", "%7c")
    return KEYWORDS.get(name, name) + (f":{escaped}" if parameter else "")


def transforms_of(buffer: str) -> tuple[tuple[str, str], ...]:
    """Return the transforms in a buffer's name, with their parameters."""
    return tuple(_parted(part) for part in buffer.split("|")[1:])


@lru_cache(maxsize=1024)
def transform_of(buffer: str) -> Transform:
    """Return what makes the instances of a buffer under transforms out of the buffer's own; raises `TransformError`."""
    _refuse_many(buffer.count("|"))
    functions = [_made(part) for part in buffer.split("|")[1:]]

    def transform(data: bytes) -> bytes | None:
        result: bytes | None = data
        for function in functions:
            if result is None:
                break
            result = function(result)
        return result

    return transform


def _parted(part: str) -> tuple[str, str]:
    name, _, parameter = part.partition(":")
    return KEYWORDS.get(name, name), parameter.replace("%7c", "|").replace("%25", "%")


def _made(part: str) -> Transform:
    name, parameter = _parted(part)
    if name in PLAIN:
        if parameter:
            raise TransformError(f"the transform {name} takes no parameter")
        return PLAIN[name]
    if name in WITH_PARAMETER:
        return WITH_PARAMETER[name](parameter)
    raise TransformError(f"unknown transform {name!r}; known are {', '.join(sorted(NAMES))}")


def _strip_whitespace(data: bytes) -> bytes:
    return data.translate(None, _SPACES)


def _compress_whitespace(data: bytes) -> bytes:
    """Of each run of white space keep the first."""
    return _RUN_OF_SPACES.sub(rb"\1", data)


def _dotprefix(data: bytes) -> bytes:
    return b"." + data if data else data


def _url_decode(data: bytes) -> bytes:
    """Decode ``%41`` and ``+`` once; what is no such code stays."""
    data = data.replace(b"+", b" ")
    return _ENCODED.sub(lambda found: bytes((int(found[1], 16),)), data) if b"%" in data else data


def _header_lowercase(data: bytes) -> bytes:
    return _HEADER_NAME.sub(lambda found: found[0].lower(), data)


def _strip_pseudo_headers(data: bytes) -> bytes:
    return _PSEUDO.sub(b"", data)


def _digest(name: str, data: bytes) -> bytes:
    return hashlib.new(name, data, usedforsecurity=False).digest()


def base64_prefix(data: bytes) -> bytes:
    """Decode base64 up to the first byte that is none (RFC 4648); padding may lack. At most `MAX_DECODED_BYTES`."""
    found = _BASE64.match(data, 0, MAX_DECODED_BYTES)
    return _decoded(found[0].rstrip(b"=")) if found is not None else b""


def _decoded(digits: bytes) -> bytes:
    """Decode digits without padding; a single one that is left over gives a byte of its six bits, as in Suricata."""
    return base64.b64decode(digits + (b"A==" if len(digits) % 4 == 1 else b"=" * (-len(digits) % 4)))


def _xor(parameter: str) -> Transform:
    try:
        key = bytes.fromhex(parameter)
    except ValueError:
        key = b""
    if not key or len(key) > 255:
        raise TransformError(f"xor:{parameter} has no key; write up to 255 bytes in hexadecimal: xor:0d0a")

    def xor(data: bytes) -> bytes:
        size = len(data)
        stream = (key * (size // len(key) + 1))[:size]
        return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")

    return xor


def _base64(parameter: str) -> Transform:
    """Return the decoder for ``mode rfc4648|rfc2045|strict, bytes N, offset N``."""
    settings = {"mode": "rfc4648", "bytes": "", "offset": "0"}
    for one in parameter.split(",") if parameter else ():
        name, _, value = one.strip().replace("=", " ").partition(" ")
        if name not in settings:
            raise TransformError(f"base64 has no parameter {name!r}; known are mode, bytes and offset")
        settings[name] = value.strip()
    mode, size, offset = settings["mode"].lower(), settings["bytes"], settings["offset"]
    if mode not in ("rfc4648", "rfc2045", "strict") or not offset.isdecimal() or not (size.isdecimal() or not size):
        raise TransformError(f"base64:{parameter} is wrong; write base64:mode rfc2045, bytes 16, offset 4")
    return partial(_from_base64, mode, int(size) if size else MAX_DECODED_BYTES, int(offset))


def _from_base64(mode: str, size: int, offset: int, data: bytes) -> bytes | None:
    data = data[offset : offset + size]
    if mode == "rfc2045":  # what is no base64 is skipped
        data = _NOT_BASE64.sub(b"", data[:MAX_DECODED_BYTES])
    elif mode == "strict" and not ((found := _BASE64.fullmatch(data)) and len(data) % 4 == 0 and found):
        return None
    return base64_prefix(data) or None


def _capture(parameter: str) -> Transform:
    """Return what takes the first group of a regular expression; where there is no match the buffer stays."""
    reason = check_capture(parameter)
    if reason:
        raise TransformError(f"capture: {reason}")

    pattern = Pattern.lazy(parameter)

    def capture(data: bytes) -> bytes | None:
        if pattern.search(data) is None:  # which is found out sooner
            return data
        span = search_capture(parameter, data)
        return data if span is None else data[span[0] : span[1]]

    return capture


PLAIN: dict[str, Transform] = {
    "lower": bytes.lower,
    "upper": bytes.upper,
    "strip_whitespace": _strip_whitespace,
    "compress_whitespace": _compress_whitespace,
    "dotprefix": _dotprefix,
    "url_decode": _url_decode,
    "header_lowercase": _header_lowercase,
    "strip_pseudo_headers": _strip_pseudo_headers,
    "md5": partial(_digest, "md5"),
    "sha1": partial(_digest, "sha1"),
    "sha256": partial(_digest, "sha256"),
}
"""Transforms without a parameter."""

WITH_PARAMETER: dict[str, Callable[[str], Transform]] = {"xor": _xor, "base64": _base64, "capture": _capture}
"""Transforms with one: ``xor`` a key, ``base64`` its settings, ``capture`` a regular expression with one group."""

NAMES = PLAIN.keys() | WITH_PARAMETER.keys()

KEYWORDS = {
    "to_lowercase": "lower", "to_uppercase": "upper", "to_md5": "md5", "to_sha1": "sha1", "to_sha256": "sha256",
    "from_base64": "base64", "pcrexform": "capture",
    **{name: name for name in NAMES if name not in ("lower", "upper", "md5", "sha1", "sha256", "base64", "capture")},
}  # fmt: skip
"""Suricata's keyword of each transform."""


def in_base(buffer: str, value: bytes, nocase: bool, anchor: Anchor) -> tuple[bytes, bool, Anchor] | None:
    """Return what stands in a buffer's base wherever a literal stands in the buffer under its transforms.

    None where nothing is known.
    """
    for name, _ in reversed(transforms_of(buffer)):
        if name in ("lower", "upper", "header_lowercase"):
            value, nocase = value.lower(), True
        elif name == "dotprefix":
            value = value[1:] if value.startswith(b".") else value
            anchor = {Anchor.START: Anchor.ANYWHERE, Anchor.WHOLE: Anchor.END}.get(anchor, anchor)
        elif name == "strip_pseudo_headers" and not set(value) & {0x0A, 0x0D}:
            anchor = Anchor.ANYWHERE
        else:
            return None
    return (value, nocase, anchor) if value else None
