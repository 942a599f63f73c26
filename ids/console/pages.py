"""What each page shows: questions to the store and the lists, put into templates that escape all text."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from ids.config import Config
from ids.console import lists, why
from ids.console.changes import network_of
from ids.console.evidence import dumps, rows_of
from ids.console.now import now
from ids.errors import KernelError, UsageError
from ids.events import Event
from ids.kernel.instance import instance_dir
from ids.privacy import Privacy, PrivacySettings
from ids.respond.protected import own_addresses
from ids.snapshot import Snapshot, Watcher
from ids.store import queries
from ids.store.asked import asked_of
from ids.store.database import open_reading, remedy_of, store_path
from ids.store.queries import Count, Filters
from ids.store.why import Answer, exception_for, verdict

PAGE = 50
"""Alerts on a page."""
MOST_RULES = 100
QUERY_S = 3.0
"""How long one page may ask the store: a search for text that is nowhere reads all of it."""
LIST_S = 3.0
"""How long a look at the blocklist is good for: of a million entries it takes a second and 70 MB, whoever asks."""
OWN_S = 60.0
"""How long the addresses of this host are taken for known: three processes find them out."""
STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: some milliseconds."""
MAX_TEXT = 200
MOST_SAME_FLOW = 20
ASKED = ("text", "address", "sid", "severity", "action")
"""What alerts can be filtered by."""

Shown = tuple[str, dict[str, Any]]
"""The name of a template, and what it is filled with."""


class Pages:
    """Makes the content of pages. Raises `UsageError` for what somebody typed wrong, `NotFound` for what is gone."""

    def __init__(self, config: Config, look: Callable[[], Snapshot]) -> None:
        self._config = config
        self._look = look
        self._pins = instance_dir(config.fastpath, config.instance)
        self._privacy = Privacy(PrivacySettings(payload=config.console.payload), "console")
        self._store = store_path(config.engine.state_dir, config.instance)
        self._own = Watcher(own_addresses, OWN_S)
        self._listed = {order: Watcher(partial(self._foremost, order), LIST_S) for order in lists.ORDERS}

    def now(self, _: Mapping[str, str]) -> Shown:
        """Show the numbers of this moment, and the latest alerts."""
        content: dict[str, Any] = {"now": now(self._look()), "alerts": []}
        with self._memory(content) as database:
            if database is not None:
                content["alerts"] = queries.alerts(database, limit=10)
        return "now.html", content

    def numbers(self) -> dict[str, Any]:
        """Return the numbers of this moment as data."""
        return now(self._look())

    def alerts(self, query: Mapping[str, str]) -> Shown:
        """Show a page of alerts by filters; the next begins behind the last one shown."""
        filters = _filters(query)
        shown = {name: query.get(name, "")[:MAX_TEXT] for name in ASKED}
        content: dict[str, Any] = {"query": shown, "alerts": [], "next": None}
        with self._memory(content) as database:
            if database is not None:
                found = queries.alerts(database, filters, query.get("before") or None, PAGE + 1)
                content["alerts"] = found[:PAGE]
                if len(found) > PAGE:
                    content["next"] = {name: text for name, text in shown.items() if text}
                    content["next"]["before"] = found[PAGE - 1].cursor
        return "alerts.html", content

    def alert(self, number: str) -> Shown:
        """Show one alert: evidence, flow, the event as it was written."""
        content: dict[str, Any] = {"alert": None, "evidence": [], "rows": [], "same_flow": []}
        with self._memory(content) as database:
            if database is not None:
                content["alert"] = alert = queries.alert(database, _number(number))
                if alert is None:
                    raise NotFound(f"there is no alert {number} (any more)")
                event = self._privacy.event(alert.event)
                content["evidence"] = self._dumps(alert.evidence)
                content["rows"] = rows_of(event)
                if not event:
                    content["problem"] = f"the event of this alert is damaged in {self._store}; its columns are left"
                same = Filters(flow_id=alert.flow_id)
                if alert.flow_id:
                    content["same_flow"] = queries.alerts(database, same, limit=MOST_SAME_FLOW)
        return "alert.html", content

    def blocks(self, query: Mapping[str, str]) -> Shown:
        """Show the foremost of those who are blocked."""
        order = query.get("by", "hits")
        if order not in lists.ORDERS:
            raise UsageError(f"expected an order: {', '.join(lists.ORDERS)}")
        content: dict[str, Any] = {"order": order, "orders": list(lists.ORDERS), "listed": None}
        try:
            content["listed"] = self._listed[order].look()
        except (KernelError, OSError) as error:
            content["problem"] = str(error)
        return "blocks.html", content

    def _foremost(self, order: str) -> lists.Listed:
        return lists.foremost(self._pins, order)

    def why(self, query: Mapping[str, str]) -> Shown:
        """Show why an address is blocked or not, or the one that an alert or a flow is about; see `ids.console.why`."""
        subject = query.get("address", "")
        content: dict[str, Any] = {}
        answers: list[Answer] = []
        with self._memory(content) as database:
            asked = asked_of(subject, database)
            answers.append(why.answer(self._config, asked, database, self._own.look()))
        if not answers:  # the store was too slow, or broke meanwhile
            raise UsageError(content["problem"])
        found = answers[0]
        evidence = self._dumps(found.evidence)
        problem = "; ".join(filter(None, [content.get("problem", ""), *found.troubles]))
        return "why.html", {
            **content, "answer": found, "network": spelt_network(found.asked.network), "verdict": verdict(found),
            "dropped": not found.passes, "exception": exception_for(found), "evidence": evidence, "problem": problem,
        }  # fmt: skip

    def _dumps(self, evidence: list[Event]) -> list[dict[str, Any]]:
        return dumps(self._privacy.event({"evidence": evidence})["evidence"])

    def rules(self, _: Mapping[str, str]) -> Shown:
        """Show the rules that alerted, and those that take time."""
        counters = self._look().counters
        spent = {name[13:]: count for name, count in counters.items() if name.startswith("rule_time_us.")}
        content: dict[str, Any] = {"spent": spent}
        found: list[Count] = []
        with self._memory(content) as database:
            if database is not None:
                found = queries.counts(database, "rule", limit=MOST_RULES)
        content["rules"] = [{**asdict(count), "time_us": spent.get(count.key)} for count in found]
        seen = {count.key for count in found}
        content["silent"] = sorted(((us, sid) for sid, us in spent.items() if sid not in seen), reverse=True)
        content["up"] = bool(counters)
        return "rules.html", content

    def search(self, query: Mapping[str, str]) -> Shown | str:
        """Return the path of what was searched for: an address, a number; or show alerts with that text."""
        text = query.get("q", "").strip()[:MAX_TEXT]
        try:
            return f"/why?address={spelt_network(network_of(text))}"
        except UsageError:
            pass
        content: dict[str, Any] = {"text": text, "alerts": [], "number": None, "by_rule": [], "by_flow": []}
        with self._memory(content) as database:
            if database is not None and text:
                content["alerts"] = queries.alerts(database, Filters(text=text), limit=PAGE)
                if text.isascii() and text.isdecimal() and len(text) < 19:
                    number = int(text)
                    content["number"] = queries.alert(database, number)
                    content["by_rule"] = queries.alerts(database, Filters(sid=number), limit=10)
                    content["by_flow"] = queries.alerts(database, Filters(flow_id=number), limit=MOST_SAME_FLOW)
        return "search.html", content

    @contextmanager
    def _memory(self, content: dict[str, Any]) -> Iterator[sqlite3.Connection | None]:
        """Open the store for one page; None, and ``content["problem"]``, where it cannot be asked, or not in time."""
        try:
            database = open_reading(self._store)
        except (UsageError, sqlite3.Error, OSError) as error:
            content["problem"] = str(error)
            yield None
            return
        deadline = time.monotonic() + QUERY_S
        with closing(database):
            database.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            try:
                yield database
            except sqlite3.Error as error:
                late = isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error)
                why = f"that takes more than {QUERY_S:g} s: ask for less"
                content["problem"] = why if late else f"{self._store} cannot be read: {error}. {remedy_of(error)}"


def spelt_network(network: object) -> str:
    """Spell a network; one of a single address as that address."""
    return str(network).removesuffix("/32" if "." in str(network) else "/128")


class NotFound(Exception):
    """There is nothing of that name (any more)."""


def _filters(query: Mapping[str, str]) -> Filters:
    severity, sid, address = query.get("severity"), query.get("sid"), query.get("address")
    action = query.get("action") or None
    if action not in (None, "allowed", "blocked"):
        raise UsageError("expected an action: allowed, or blocked")
    return Filters(
        sid=_number(sid) if sid else None,
        severity=_number(severity) if severity else None,
        action=action,
        address=network_of(address) if address else None,
        text=query.get("text", "")[:MAX_TEXT] or None,
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UsageError("expected a whole number")
    return int(text)
