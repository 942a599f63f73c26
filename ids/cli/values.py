"""Kinds of values that several verbs take, and how they are spelt: time spans, moments, networks."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any

import click

from ids.types import IPNetwork, typed_network

LONGEST_S = 100 * 366 * 86_400
"""Of a time span: what is kept in nanoseconds has 292 years."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Duration(click.ParamType[int]):
    """A time span such as ``90s``, ``30m``, ``1h``, ``7d``; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds, or fail with what is expected."""
        found = re.fullmatch(r"(\d{1,9})([smhdw]?)", str(value))
        if found is None or int(found[1]) == 0:
            self.fail(f"{value!r} is no time span: write 90s, 30m, 1h or 7d", param, ctx)
        seconds = int(found[1]) * _UNITS[found[2] or "s"]
        if seconds > LONGEST_S:
            self.fail(f"{value!r} is more than a hundred years: leave it out for what has no end", param, ctx)
        return seconds


class Network(click.ParamType[IPNetwork]):
    """An address or a prefix; IPv4-mapped ones are IPv4."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IPNetwork:
        """Return the network, or fail with what is expected."""
        try:
            return typed_network(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[int]):
    """A time span before now, or a date, UTC where it has no offset; the value is in UNIX nanoseconds."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the moment, or fail with what is expected."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9})([smhdw])", str(value))
        if found is not None:
            return _kept(time.time_ns() // 1_000_000_000 - int(found[1]) * _UNITS[found[2]])
        try:
            moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
            return _kept(int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()))
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no moment: write 1h or 7d (before now), 2026-11-22 or 2026-11-22T03:00", param, ctx
            )


def _kept(seconds: int) -> int:
    """Return nanoseconds, as far as a database counts them: from 1970 to 2262."""
    return min(max(0, seconds * 1_000_000_000), (1 << 63) - 1)


def moment(ts_ns: int) -> str:
    """Spell a moment to the second, in UTC: ``2026-11-22 03:00:00``."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ts_ns // 1_000_000_000))
    except (OverflowError, ValueError, OSError):
        return "?"


def span(ns: int) -> str:
    """Spell a time span by its two largest units: ``1h 20m``."""
    seconds = max(0, round(ns / 1e9))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
