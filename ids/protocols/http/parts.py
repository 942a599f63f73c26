"""What is odd about the parts of a multipart body, as Suricata has it: their headers, and files without any bytes."""

from __future__ import annotations

from ids.protocols.files.names import file_name
from ids.protocols.http.content import MAX_PARTS

MAX_BOUNDARY = 200
"""Bytes of a boundary that Suricata looks for."""
_BLANK_LINE = b"\r\n\r\n"
_LINE_END = b"\r\n"


def odd_parts(body: bytes, boundary: bytes) -> set[bytes]:
    """Return what is odd about the first `MAX_PARTS` parts of a body, or of as much of it as is there: names of
    `ids.protocols.http.oddities.ODDITIES`.

    A file has at least the line end before the next boundary. It is looked at where the last boundary is there.
    """
    found: set[bytes] = set()
    if not 0 < len(boundary) < MAX_BOUNDARY:
        return found
    mark = b"--" + boundary
    at = body.find(mark)
    last = body.find(mark + b"--", at) if at >= 0 else -1
    for _ in range(MAX_PARTS):
        blank = body.find(_BLANK_LINE, at) if at >= 0 else -1
        if blank < 0:
            break
        header, content = body[at + len(mark) + len(_LINE_END) : blank], blank + len(_BLANK_LINE)
        if header and not all(map(_is_header, header.split(_LINE_END))):
            found.add(b"multipart_invalid_header")
        at = body.find(mark, content)
        if last < 0 or not file_name(header):
            continue
        if content == last:
            found.add(b"multipart_no_filedata")
            break
        if last < content or 0 <= at < content + len(_LINE_END):
            found.add(b"multipart_generic_error")
            break
    return found


def _is_header(line: bytes) -> bool:
    """Return whether a line has a colon with something behind it."""
    colon = line.find(b":")
    return 0 <= colon < len(line) - 1
