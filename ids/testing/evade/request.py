"""An HTTP request in its parts, to be put together otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_REQUEST = re.compile(rb"([A-Z]+) (\S+) (HTTP/1\.[01])\r\n((?:[^\r\n]+\r\n)*)\r\n(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request in its parts."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[bytes, ...]
    """Lines without their ends."""
    body: bytes

    def text(self, end: bytes = b"\r\n") -> bytes:
        """Return the request as it is sent."""
        first = b" ".join((self.method, self.target, self.version))
        return end.join((first, *self.headers, b"", b"")) + self.body

    def with_headers(self, *lines: bytes) -> Request:
        """Return it with header lines added before the others."""
        return replace(self, headers=(*lines, *self.headers))

    def without(self, name: bytes) -> Request:
        """Return it without the header of a name."""
        return replace(self, headers=tuple(line for line in self.headers if not line.lower().startswith(name + b":")))

    def header(self, name: bytes) -> bytes:
        """Return the value of a header; empty where it has none."""
        found = [line.partition(b":")[2].strip() for line in self.headers if line.lower().startswith(name + b":")]
        return found[0] if found else b""


def parse(data: bytes) -> Request | None:
    """Return the request that these bytes are; None where they are none."""
    found = _REQUEST.fullmatch(data)
    if found is None:
        return None
    method, target, version, headers, body = found.groups()
    return Request(method, target, version, tuple(headers.split(b"\r\n")[:-1]), body)
