"""Reads what a URL or a file holds, if it has changed. Bounded in size and in time; nobody answers for another host."""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3

from ids.errors import UsageError
from ids.version import __version__

MAX_REDIRECTS = 3
PIECE_BYTES = 64 << 10
MOVED = frozenset({301, 302, 303, 307, 308})
SMALL_BYTES = 64 << 10
"""Of a digest or a signature."""


class FetchFailed(UsageError):
    """A feed could not be had, or is not genuine."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """By what a server knows the version that we have."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What there was."""

    data: bytes | None
    """None: nothing has changed since."""
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Limits:
    """What a transfer may cost, and whom it trusts."""

    max_bytes: int
    timeout_s: float
    ca_file: Path | None = None


def read(source: str, limits: Limits, stamp: Stamp = Stamp()) -> Fetched:
    """Return what a URL or a file holds; raises `FetchFailed`."""
    if source.startswith(("https://", "http://")):
        return _in_time(source, limits, stamp)
    try:
        with open(source.removeprefix("file://"), "rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise FetchFailed(f"{source}: {error.strerror or error}") from error
    return Fetched(_within(data, source, limits), Stamp())


def _within(data: bytes, source: str, limits: Limits) -> bytes:
    if len(data) > limits.max_bytes:
        raise FetchFailed(f"{source} is larger than {limits.max_bytes:,} bytes (max_bytes)")
    return data


def _in_time(url: str, limits: Limits, stamp: Stamp) -> Fetched:
    """Download in a thread of its own, which is left behind when the time is over: sockets know only how long a server
    is silent, and one that says a byte of its head now and then would hold up all further feeds.
    """
    found: list[Fetched | Exception] = []

    def run() -> None:
        try:
            found.append(_download(url, limits, stamp))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, name="ids-download", daemon=True)
    thread.start()
    thread.join(limits.timeout_s)
    if not found:
        raise FetchFailed(f"{url}: not all of it came within {limits.timeout_s:g} s (timeout_s)")
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _download(url: str, limits: Limits, stamp: Stamp) -> Fetched:
    until = time.monotonic() + limits.timeout_s
    headers = {"User-Agent": f"ids/{__version__}", "Accept-Encoding": "identity"}
    headers |= {"If-None-Match": stamp.etag} if stamp.etag else {}
    headers |= {"If-Modified-Since": stamp.modified} if stamp.modified else {}
    for _ in range(MAX_REDIRECTS + 1):
        found = _ask(url, headers, limits, until)
        if isinstance(found, Fetched):
            return found
        if url.startswith("https:") and not found.startswith("https:"):
            raise FetchFailed(f"{url} leads to {found[:200]}, which is not encrypted")
        url = found
    raise FetchFailed(f"{url}: more than {MAX_REDIRECTS} redirects")


def _ask(url: str, headers: dict[str, str], limits: Limits, until: float) -> Fetched | str:
    """Return what one URL holds, or where it leads."""
    left = max(until - time.monotonic(), 0.01)
    try:
        context = ssl.create_default_context(cafile=limits.ca_file)
        secured = {"ssl_context": context} if urlsplit(url).scheme == "https" else {}
        with closing(urllib3.connection_from_url(url, retries=False, timeout=left, **secured)) as pool:
            answer = pool.request(
                "GET", urllib3.util.parse_url(url).request_uri, headers=headers, preload_content=False, redirect=False
            )
            try:
                if answer.status in MOVED and (place := answer.headers.get("Location")):
                    return urljoin(url, place)
                if answer.status == 304:
                    return Fetched(None, Stamp(headers.get("If-None-Match", ""), headers.get("If-Modified-Since", "")))
                if answer.status != 200:
                    raise FetchFailed(f"{url}: the answer is {answer.status}")
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise FetchFailed(f"{url}: the answer is compressed, though that was not asked for")
                data = _body(answer, url, limits, until)
                return Fetched(data, Stamp(_short(answer, "ETag"), _short(answer, "Last-Modified")))
            finally:
                answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise FetchFailed(f"{url}: {error}") from error


def _body(answer: urllib3.BaseHTTPResponse, url: str, limits: Limits, until: float) -> bytes:
    data = bytearray()
    while piece := answer.read1(PIECE_BYTES):  # what is there, so that the clock is looked at between drops
        data += piece
        if len(data) > limits.max_bytes:
            break
        if time.monotonic() > until:
            raise FetchFailed(f"{url}: not all of it came within {limits.timeout_s:g} s (timeout_s)")
    expected = answer.headers.get("Content-Length", "")
    if len(data) <= limits.max_bytes and expected.isdecimal() and int(expected) != len(data):
        raise FetchFailed(f"{url}: {len(data):,} of {expected[:20]} bytes came")
    return _within(bytes(data), url, limits)


def _short(answer: urllib3.BaseHTTPResponse, header: str) -> str:
    value = answer.headers.get(header, "")
    return value if len(value) <= 256 and value.isprintable() else ""
