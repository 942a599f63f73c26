"""Who was blocked before, how often, and until when that counts: `respond.repeat_factor` follows from it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from ids.errors import NoAnswer, NotRunning
from ids.kernel import Blocklist
from ids.respond.policy import MAX_REMEMBERED, Penalty
from ids.state.files import held, set_aside, write_state
from ids.types import IPNetwork

FILE_NAME = "penalties.json"


def load(folder: Path, troubles: list[str] | None = None) -> list[Penalty]:
    """Return the saved penalties, the longest unused first; none where there is no file, or a damaged one.

    Where there is one that cannot be read, there are none either, and ``troubles`` gets why.
    """
    path = folder / FILE_NAME
    try:
        return [_penalty(row) for row in orjson.loads(path.read_bytes())][-MAX_REMEMBERED:]
    except FileNotFoundError:
        return []
    except OSError as error:
        if troubles is not None:
            troubles.append(f"{path} cannot be read: {error.strerror}")
        return []
    except (ValueError, TypeError, KeyError) as error:
        set_aside(path, str(error))
        return []


def known(folder: Path, ask: Callable[[], Mapping[str, Any]], troubles: list[str]) -> list[Penalty]:
    """Return the penalties as a running engine has them, which ``ask`` is to answer, or as they were saved.

    Where an engine is there and does not answer, or what was saved cannot be read, ``troubles`` gets why.
    """
    try:
        return from_answer(ask()["penalties"])
    except (NotRunning, NoAnswer, KeyError) as error:
        if isinstance(error, NoAnswer):
            troubles.append(f"{error}. Who was blocked before is what was saved last")
        return load(folder, troubles)


def save(folder: Path, penalties: Iterable[Penalty]) -> None:
    """Write penalties in place of what is there; raises `OSError`."""
    with held(folder):
        _write(folder, penalties)


def _write(folder: Path, penalties: Iterable[Penalty]) -> None:
    rows = [
        {"network": str(one.network), "times": one.times, "until_ns": one.until_ns, "counted": one.counted}
        for one in penalties
    ]
    write_state(folder / FILE_NAME, orjson.dumps(rows))


def reset(folder: Path, networks: Collection[IPNetwork] | None) -> list[IPNetwork]:
    """Forget the saved penalties of networks and what lies in them, or of all; return whose. Raises `OSError`.

    For when no engine runs: one that does has them in memory, and saves those.
    """
    kept: list[Penalty] = []
    gone: list[Penalty] = []
    if not (folder / FILE_NAME).exists():
        return []
    with held(folder):
        for penalty in load(folder):
            (gone if networks is None or _within(penalty.network, networks) else kept).append(penalty)
        if gone:
            _write(folder, kept)
    return [penalty.network for penalty in gone]


def from_answer(rows: Iterable[Sequence[Any]]) -> list[Penalty]:
    """Return the penalties of an engine's answer; one of an earlier version does not say which were counted."""
    return [
        Penalty(ipaddress.ip_network(network), int(times), int(until_ns), bool(counted[0]) if counted else True)
        for network, times, until_ns, *counted in rows
    ]


def standing(known: Iterable[Penalty], blocks: Blocklist | None, now_ns: int) -> list[Penalty]:
    """Return penalties as the next block takes them: one that somebody lifted before its end was no offence.

    ``blocks`` shows which are in force; None, which cannot be read, takes all for it.
    """
    taken = [
        replace(one, times=one.times - 1, counted=False)
        if blocks is not None and one.counted and one.until_ns > now_ns and blocks.get(one.network) is None
        else one
        for one in known
    ]
    return [one for one in taken if one.times > 0]


def _within(network: IPNetwork, networks: Collection[IPNetwork]) -> bool:
    return any(network.version == other.version and network.overlaps(other) for other in networks)


def _penalty(row: object) -> Penalty:
    if not isinstance(row, dict):
        raise ValueError("a penalty is an object")
    times, until_ns, counted = row["times"], row["until_ns"], row["counted"]
    if not (isinstance(times, int) and isinstance(until_ns, int) and isinstance(counted, bool)) or times < 0:
        raise ValueError("a penalty has times, until_ns and counted")
    return Penalty(ipaddress.ip_network(row["network"]), times, until_ns, counted)
