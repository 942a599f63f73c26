"""Normalise request targets the way servers do, so that one rule sees all spellings of a path.

Percent-encoding is undone once: ``%2561`` becomes ``%61``, which is what the server's first decoding leaves. A rule
that wants to see double encoding looks for ``%`` and two hexadecimal digits in ``http.uri``.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_SLASHES = re.compile(rb"/{2,}")


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Split a request target into authority (empty unless absolute-form, RFC 9112 section 3.2.2) and the rest."""
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return b"", target
    return absolute.group(1), target[absolute.end() :] or b"/"


def normalise(target: bytes) -> bytes:
    """Decode percent-encoding once; in the path also turn ``\\`` into ``/``, merge slashes and resolve dot segments."""
    path, mark, query = target.partition(b"?")
    path = unquote_to_bytes(path)
    if path.startswith((b"/", b"\\")):
        path = _without_dot_segments(_SLASHES.sub(b"/", path.replace(b"\\", b"/")))
    return path + mark + unquote_to_bytes(query)


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
