"""Where the answer to "why is this address blocked?" is looked for: the kernel's maps, the memory, the saved state."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ids.errors import IdsError, NoGate
from ids.kernel import AllowList, Blocklist
from ids.kernel.instance import guarded_interfaces
from ids.kernel.maps.counts import pinned_shadow
from ids.respond.policy import Penalty
from ids.rules.model.sets import AddressSet
from ids.settings.respond import RespondSettings
from ids.state import comments
from ids.state.comments import Key
from ids.types import IPAddress

_Known = TypeVar("_Known")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the answer is looked for; what is None is not there, and the troubles of `opened` say why."""

    blocks: Blocklist | None
    allowed: AllowList | None
    memory: sqlite3.Connection | None
    comments: Mapping[Key, str]
    penalties: Sequence[Penalty]
    own: frozenset[IPAddress]
    home: AddressSet
    settings: RespondSettings
    shadow: bool
    """The gate counts only."""
    attached: Sequence[str]
    unread: bool = False
    """The kernel's lists are there, or may be, and cannot be read."""


def opened(
    pins: Path,
    state: Path,
    settings: RespondSettings,
    stack: ExitStack,
    *,
    memory: Callable[[], sqlite3.Connection | None],
    penalties: Callable[[list[str]], Sequence[Penalty]],
    own: Callable[[], frozenset[IPAddress]],
    home: AddressSet,
) -> tuple[Places, list[str]]:
    """Open all that can be opened, until the ``stack`` ends; return also why the rest cannot.

    ``pins`` and ``state`` are the folders of the instance; ``memory`` opens its database, ``penalties`` asks the engine
    and may add to the troubles, ``own`` finds this host's addresses where the settings protect them.
    """
    troubles: list[str] = []
    nothing_there: list[NoGate] = []

    def known(what: Callable[[], _Known]) -> _Known | None:
        try:
            return what()
        except (IdsError, OSError) as error:
            if str(error) not in troubles:
                troubles.append(str(error))
            return None

    def blocks() -> Blocklist | None:
        try:
            return stack.enter_context(Blocklist.open(pins))
        except NoGate as error:
            nothing_there.append(error)
            raise

    places = Places(
        blocks=(found := known(blocks)),
        allowed=known(lambda: stack.enter_context(AllowList.open(pins))),
        memory=known(memory),
        comments=comments.load(state),
        penalties=known(lambda: penalties(troubles)) or (),
        own=own() if settings.protect_own else frozenset(),
        home=home,
        settings=settings,
        shadow=bool(known(lambda: pinned_shadow(pins))),
        attached=known(lambda: guarded_interfaces(pins)) or (),
        unread=found is None and not nothing_there,
    )
    return places, troubles
