"""Why an address is blocked, as `ids why` answers it: here the places are opened where that is looked up."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from ids.config import Config
from ids.console.changes import network_of
from ids.control import request, socket_path
from ids.errors import IdsError, NoAnswer, NotRunning, UsageError
from ids.kernel import AllowList, Blocklist
from ids.kernel.fastpath import guarded_interfaces, instance_dir
from ids.kernel.maps.counts import pinned_shadow
from ids.rules.language.variables import home_net
from ids.snapshot import ANSWER_S
from ids.state import comments
from ids.state import penalties as saved
from ids.state.files import state_folder
from ids.store import why as store_why
from ids.store.why import Answer, Asked, Places
from ids.types import IPAddress

_Known = TypeVar("_Known")

MOST_DIGITS = 19
"""Of the number of an alert or a flow."""


def asked_of(subject: str, memory: sqlite3.Connection | None) -> Asked:
    """Return whom a question is about: an address or network, or the number of an alert or a flow.

    Raises `UsageError` for what is neither, or not remembered (any more).
    """
    if not (subject.isascii() and subject.isdecimal()):
        return Asked(network_of(subject))
    found = None
    if memory is not None and len(subject) <= MOST_DIGITS:
        found = store_why.resolve(memory, int(subject))
    if found is None:
        raise UsageError(f"no alert and no flow {subject[:40]} is remembered")
    return found


def answer(
    config: Config, asked: Asked, memory: sqlite3.Connection | None, own: frozenset[IPAddress] = frozenset()
) -> Answer:
    """Return all that is known; what cannot be read is named in its ``troubles``. ``own``: this host's addresses."""
    pins = instance_dir(config.fastpath, config.instance)
    troubles: list[str] = []

    def known(what: Callable[[], _Known]) -> _Known | None:
        try:
            return what()
        except (IdsError, OSError) as error:
            if str(error) not in troubles:
                troubles.append(str(error))
            return None

    with ExitStack() as stack:
        places = Places(
            blocks=known(lambda: stack.enter_context(Blocklist.open(pins))),
            allowed=known(lambda: stack.enter_context(AllowList.open(pins))),
            memory=memory,
            comments=comments.load(state_folder(config.engine.state_dir, config.instance)),
            penalties=known(lambda: _penalties(config)) or (),
            own=own if config.respond.protect_own else frozenset(),
            home=home_net(config.vars),
            settings=config.respond,
            shadow=bool(known(lambda: pinned_shadow(pins))),
            attached=known(lambda: guarded_interfaces(pins)) or (),
        )
        found = store_why.why(asked, places)
    found.troubles[:0] = troubles
    return found


def verdict(found: Answer) -> tuple[str, bool]:
    """Return in a few words what becomes of what it sends, and whether that is dropped."""
    if not found.blocks:
        return "It is not blocked.", False
    if found.allowed:
        return f"On the blocklist, and it passes: {found.allowed[0].network} is allowed, which wins.", False
    if not found.dropped:
        return "It is not dropped: its block is a shadow, which only counts.", False
    holds = [condition.text for condition in found.conditions[1:3] if condition.holds]
    return (f"On the blocklist, but {holds[0]}.", False) if holds else ("It is blocked.", True)


def _penalties(config: Config) -> list[tuple[str, int, int]]:
    """Return (network, times, end of the latest), as the engine has them, or as they were saved."""
    try:
        found = request(socket_path(config.engine.runtime_dir, config.instance), "penalties", ANSWER_S)
        return [(str(network), int(times), int(until_ns)) for network, times, until_ns in found["penalties"]]
    except (NotRunning, NoAnswer, KeyError):
        folder = state_folder(config.engine.state_dir, config.instance)
        return [(str(one.network), one.times, one.until_ns) for one in saved.load(folder)]
