"""Posts events to a URL, in batches of JSON; tries again with growing pauses where the receiver is away or busy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ids.errors import UsageError
from ids.later import Later
from ids.plugin.delivery import Refused
from ids.plugin.outlet import Outlet
from ids.plugin.output import Output, Prepared
from ids.privacy import Privacy
from ids.settings.outputs import WebhookSettings
from ids.version import __version__

if TYPE_CHECKING:
    import ssl

    import urllib3

    from ids.plugin.context import EngineContext
else:
    ssl, urllib3 = Later("ssl"), Later("urllib3")

BUSY = frozenset({408, 425, 429})
"""Answers below 500 that mean: later. Of other such the same request would get the same answer."""

OF_CONTENT = frozenset({400, 403, 413, 422})
"""Answers that may be about one event: it is too long, or a filter in front of the receiver takes evidence of an attack
for an attack."""

ANSWER_BYTES = 4096
"""Of an answer that are read, so that its connection can be used again."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TOKEN = re.compile(r"[!-~]+")


class Poster:
    """Posts batches over connections that are kept."""

    def __init__(self, settings: WebhookSettings, url: str) -> None:
        """Check the URL and the headers, read the token and the certificates; raises `UsageError`."""
        try:
            self._target = urllib3.util.parse_url(url).request_uri
        except urllib3.exceptions.HTTPError as error:
            raise UsageError(f"webhook.url {url}: {error}") from error
        for name, value in settings.headers.items():
            if not (_HEADER.fullmatch(name) and _VALUE.fullmatch(value)):
                raise UsageError(f"webhook.headers: {name!r} is no header, or its value none of one line of Latin-1")
        self._as_lines = settings.encoding == "ndjson"
        self._headers = {
            "Content-Type": "application/x-ndjson" if self._as_lines else "application/json",
            "User-Agent": f"ids/{__version__}",
            **settings.headers,
        }
        if settings.token_file is not None:
            self._headers["Authorization"] = f"Bearer {_read(settings.token_file)}"
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"webhook.ca_file {settings.ca_file}: {error}") from error
        timeout = urllib3.Timeout(connect=settings.timeout_s, read=settings.timeout_s)
        # No redirects: an address that is not configured is not to get what people sent. Pauses are the outlet's.
        secured = {"ssl_context": context} if url.lower().startswith("https:") else {}
        self._pool = urllib3.connection_from_url(url, maxsize=1, retries=False, timeout=timeout, **secured)

    def deliver(self, lines: Sequence[bytes]) -> None:
        """Post one batch; raises `Refused`, or `OSError` where it is worth trying again."""
        body = b"".join(line + b"\n" for line in lines) if self._as_lines else b"[" + b",".join(lines) + b"]"
        try:
            status = self._post(body)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(str(error)) from error
        if 200 <= status < 300:
            return
        if status in BUSY or status >= 500:
            raise OSError(f"the answer is {status}")
        raise Refused(f"the answer is {status}", of_content=status in OF_CONTENT)

    def _post(self, body: bytes) -> int:
        """Return the status of the answer, which settles it: whatever follows may be cut off, or anything."""
        answer = self._pool.request(
            "POST", self._target, body=body, headers=self._headers, preload_content=False, redirect=False
        )
        with suppress(urllib3.exceptions.HTTPError, OSError):
            answer.read(ANSWER_BYTES, decode_content=False)
        answer.release_conn()
        return int(answer.status)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


def _read(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"webhook.token_file {path}: {error}") from error
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"webhook.token_file {path}: expected one line of printable ASCII, the token alone")
    return token


class Webhook(Output):
    """The output."""

    name = "webhook"

    def prepare(self, context: EngineContext) -> Prepared | None:
        """Check the settings."""
        settings = context.config.webhook
        if settings.url is None:
            return None
        poster, privacy = Poster(settings, settings.url), Privacy(settings.privacy, "webhook")

        def made() -> Outlet:
            return Outlet(
                "webhook", context.counters, poster.deliver, privacy=privacy, severity=settings.severity,
                buffer_bytes=settings.buffer_bytes, batch_events=settings.batch_events,
                batch_wait_s=settings.batch_timeout_s, patient=not context.live, close=poster.close,
            )  # fmt: skip

        return Prepared(made, frozenset(settings.types))


plugin = Webhook
