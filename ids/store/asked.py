"""Whom somebody asks about: an address, a network, or what the number of an alert or a flow leads to."""

from __future__ import annotations

import ipaddress
import sqlite3
from dataclasses import dataclass

from ids.errors import UsageError
from ids.store import queries
from ids.store.kept import network_of, part_of
from ids.store.queries import Alert, Filters
from ids.store.rows import MAX_INT
from ids.types import IPNetwork, typed_network


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a question is about, and how it was put."""

    network: IPNetwork
    about: str = ""
    """Where a flow or an alert was asked for: which."""
    alert: Alert | None = None
    """The alert that was asked for, or the latest of the flow."""


def asked_of(subject: str, memory: sqlite3.Connection | None) -> Asked:
    """Return whom a question is about; without a memory no number leads anywhere.

    Raises `UsageError` for what is neither an address, a prefix nor a number, and for a number of nothing that is
    remembered; `sqlite3.Error`.
    """
    if not (subject.isascii() and subject.isdecimal()):
        try:
            return Asked(typed_network(subject))
        except ValueError as error:
            raise UsageError(f"{error}, a flow's id or an alert's number") from None
    known = memory is not None and len(subject) <= len(str(MAX_INT)) and int(subject) <= MAX_INT
    found = _numbered(memory, int(subject)) if memory is not None and known else None
    if found is None:
        raise UsageError(
            f"no alert and no flow {subject[:40]} is remembered; `ids alerts list` shows those that are. An address is"
            " written 192.0.2.1"
        )
    return found


def _numbered(memory: sqlite3.Connection, number: int) -> Asked | None:
    """Return whom an alert's number, or a flow's id, is about; None where the memory has neither."""
    alert = queries.alert(memory, number)
    if alert is not None:
        return Asked(_blamed(alert), f"alert {number}", alert)
    of_flow = queries.alerts(memory, Filters(flow_id=number), limit=1, lines=True)
    if of_flow:
        return Asked(_blamed(of_flow[0]), f"flow {number}", of_flow[0])
    for row in queries.changes(memory, flow_id=number, limit=1):
        if (network := network_of(row.network)) is not None:
            return Asked(network, f"flow {number}")
    return None


def _blamed(alert: Alert) -> IPNetwork:
    """Return whom an alert's block means, or who sent what matched."""
    meant = network_of(part_of(alert.ours, "block").get("network"))
    return meant or ipaddress.ip_network(alert.src or "::")
