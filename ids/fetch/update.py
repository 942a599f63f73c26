"""One update of one feed: fetch, verify, check, put into force; what fails leaves in force what is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ids.errors import IdsError
from ids.feeds import Feed, parse_feed, refuse_nonsense
from ids.fetch.download import SMALL_BYTES, FetchFailed, Limits, Stamp, read
from ids.fetch.shelf import History, Shelf
from ids.fetch.verify import check_gpg, check_minisign, check_sha256
from ids.settings.feeds import FeedSettings

FIRST_RETRY_S = 300
"""After a failure; twice as long after each further one, and no longer than the feed's own interval."""

_SECOND_NS = 1_000_000_000

Apply = Callable[[FeedSettings, Feed], tuple[int, int]]
"""Puts a feed into force; returns how many entries are new, and how many are gone. Raises `IdsError`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an update."""

    label: str
    result: Literal["updated", "unchanged", "failed"]
    read: int = 0
    refused: int = 0
    networks: int = 0
    added: int = 0
    deleted: int = 0
    error: str = ""
    next_s: int = 0
    """Seconds until the next attempt is due."""


def update(feed: FeedSettings, shelf: Shelf, now_ns: int, apply: Apply, *, force: bool = False) -> Outcome:
    """Update one feed; raises `UsageError` where its state cannot be written. ``force``: whatever it looks like.

    What has not changed is put into force again: that renews how long its entries last, and restores what was lost.
    """
    history = shelf.history()
    if history.source != feed.identity:
        history = History(source=feed.identity)
    history.tried_ns = now_ns
    try:
        fresh, data, stamp = _had(feed, shelf, history)
        parsed = parse_feed(data, feed.source, feed.format, feed.column)
        if not force:
            refuse_nonsense(parsed, feed.source)
        added, deleted = apply(feed, parsed)
    except IdsError as error:
        history.failures += 1
        history.error = str(error)[:1000]
        shelf.keep(history)
        return Outcome(feed.label, "failed", error=history.error, next_s=_pause_s(feed, history))
    history.etag, history.modified = stamp.etag, stamp.modified
    history.good_ns, history.failures, history.error = now_ns, 0, ""
    digest = hashlib.sha256(data).hexdigest()
    fresh = fresh and digest != history.sha256
    history.sha256, history.networks = digest, len(parsed)
    if fresh:
        history.changed_ns = now_ns
    shelf.keep(history, data if fresh else None)
    result: Literal["updated", "unchanged"] = "updated" if fresh else "unchanged"
    return Outcome(
        feed.label, result, parsed.read, parsed.refused, len(parsed), added, deleted, next_s=_pause_s(feed, history)
    )


def due_ns(feed: FeedSettings, history: History) -> int:
    """Return when the next attempt is due."""
    return history.tried_ns + _pause_s(feed, history) * _SECOND_NS if history.tried_ns else 0


def _pause_s(feed: FeedSettings, history: History) -> int:
    if not history.failures:
        return feed.every
    return min(FIRST_RETRY_S << min(history.failures - 1, 20), feed.every)


def _had(feed: FeedSettings, shelf: Shelf, history: History) -> tuple[bool, bytes, Stamp]:
    """Return whether a feed was fetched anew, its content, verified, and by what the server knows it."""
    limits = Limits(feed.max_bytes, feed.timeout_s, feed.ca_file)
    good = shelf.good() if history.good_ns else None
    found = read(feed.source, limits, Stamp(history.etag, history.modified) if good is not None else Stamp())
    if found.data is None and good is not None:
        if hashlib.sha256(good).hexdigest() == history.sha256:
            return False, good, found.stamp
        found = read(feed.source, limits)  # somebody has changed what was kept
    data = found.data
    if data is None:  # an empty feed would be put in force, and kept
        raise FetchFailed(f"{feed.source}: the answer is 304, nothing has changed, to a request for all there is")
    small = Limits(SMALL_BYTES, feed.timeout_s, feed.ca_file)
    if feed.sha256 is not None:
        check_sha256(data, read(feed.sha256, small).data or b"", feed.source)
    if feed.signature is not None:
        signature = read(feed.signature, small).data or b""
        if feed.minisign_key is not None:
            check_minisign(data, signature, feed.minisign_key, feed.source)
        elif feed.gpg_keyring is not None:
            check_gpg(data, signature, feed.gpg_keyring, feed.source)
    return True, data, found.stamp
