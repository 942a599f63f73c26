"""Normalise request targets the way servers do, so that one rule sees all spellings of a path.

Percent-encoding is undone once: ``%2561`` becomes ``%61``, which is what the server's first decoding leaves. What an
application or an odd server may make of it beyond that is a further form, beside the first: rules see both. So a rule
that wants to see double encoding still looks for ``%`` and two hexadecimal digits in ``http.uri``.
"""

from __future__ import annotations

import re

from ids.later import late_pattern
from ids.protocols.http.escapes import json_spelt, spelt, unquote

_ABSOLUTE = late_pattern(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_UNLIKE_A_PATH = late_pattern(rb"[%\\?#:]|/[/.]")
"""What keeps a target from being the path that it says."""
QUERY = late_pattern(rb"[?#]")
"""What ends a path."""
_SLASHES = late_pattern(rb"/{2,}")

MAX_FILE_NAME = 4096
"""Bytes of a path, or another name of a file, that Suricata keeps: as many as Linux takes for a path."""
MAX_DECODINGS = 3
"""Times that a further form is decoded. Attackers encode twice, for a proxy and a server."""

_ODD = late_pattern(rb"//|/\.|[%\\#\0\xc0\xc1\xe0]")
"""What a target, decoded once, has that an application or an odd server may take for something else."""
_ENCODED = late_pattern(rb"%[0-9A-Fa-f]{2}")
_JSON = late_pattern(rb"\\u[0-9A-Fa-f]{4}")
_WIDE = late_pattern(rb"<\0{1,3}[!?/A-Za-z]")
"""Markup in UTF-16 or UTF-32."""
_OVERLONG = late_pattern(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x81][\x80-\xbf]")
_HERE = late_pattern(rb"/(?:\.?/)+")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Split a request target into authority (empty unless absolute-form, RFC 9112 section 3.2.2) and the rest."""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return b"", target
    return absolute.group(1), target[absolute.end() :] or b"/"


def normalise(target: bytes) -> bytes:
    """Decode percent-encoding once; in the path also turn ``\\`` into ``/``, merge slashes and resolve dot segments."""
    path, mark, query = target.partition(b"?")
    path = unquote(path)
    if path.startswith((b"/", b"\\")):
        path = _without_dot_segments(_SLASHES.sub(b"/", path.replace(b"\\", b"/")))
    return path + mark + unquote(query)


def path_of(target: bytes) -> bytes:
    """Return the path of a request target, normalised."""
    if _UNLIKE_A_PATH.search(target) is None:
        return target
    return QUERY.split(normalise(split_target(target)[1]), maxsplit=1)[0]


def further_forms(target: bytes) -> tuple[bytes, ...]:
    """Return what a request target may come to mean beside its normalised form: none, one or two forms.

    The first is decoded again and again, ``%u002e`` and overlong UTF-8 included, with ``/`` in place of ``\\``, ``//``
    and ``/./`` in the query too, without a fragment and NUL bytes, at which a path ends; but ``..`` stays. In the
    second it is resolved.
    """
    if _ODD.search(unquote(target)) is None:
        return ()
    written = split_target(target)[1]
    normalised, form = normalise(written), written.partition(b"#")[0]
    for _ in range(MAX_DECODINGS):
        decoded = _OVERLONG.sub(_shortest, unquote(spelt(form)))
        if decoded == form:
            break
        form = decoded
    path, mark, query = _HERE.sub(b"/", form.replace(b"\\", b"/")).partition(b"?")
    path, query = path.partition(b"\0")[0], query.replace(b"\0", b"")
    form, resolved = path + mark + query, _without_dot_segments(path) + mark + query
    return tuple(one for one in dict.fromkeys((form, resolved)) if one != normalised)


def further_body(body: bytes) -> tuple[bytes, ...]:
    """Return what a body means if it is an encoded form, JSON that spells ASCII as ``\\u0041``, or markup in UTF-16 or
    UTF-32; nothing without.
    """
    found = []
    if b"<\0" in body and _WIDE.search(body) is not None:
        found.append(body.replace(b"\0", b""))
    if _ENCODED.search(body) is not None:
        found.append(unquote(body.replace(b"+", b" ")))
    if _JSON.search(body) is not None:
        found.append(json_spelt(body).replace(b"\\/", b"/"))
    return tuple(found)


def _shortest(found: re.Match[bytes]) -> bytes:
    """Return the byte that is meant by more bytes of UTF-8 than it takes."""
    code = 0
    for byte in found[0][1:]:
        code = code << 6 | byte & 0x3F
    code |= (found[0][0] & 0x1F) << 6 if len(found[0]) == 2 else 0
    return bytes((code,)) if code < 0x80 else found[0]


def host_name(authority: bytes) -> tuple[bytes, bytes]:
    """Split an authority into host, in lower case and without user and final dot, and port."""
    host = authority.rpartition(b"@")[2].strip()
    if host.startswith(b"["):
        host, _, port = host.partition(b"]")
        return host.lower() + b"]", port[1:]
    host, _, port = host.partition(b":")
    return host.rstrip(b".").lower(), port


def _without_dot_segments(path: bytes) -> bytes:
    """Resolve ``.`` and ``..`` (RFC 3986 section 5.2.4); what climbs above the root stays at the root."""
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
