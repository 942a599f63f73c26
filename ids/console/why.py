"""Why an address is blocked, as `ids why` answers it: here the places are opened where that is looked up."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from ids.config import Config
from ids.control import request, socket_path
from ids.kernel.instance import instance_dir
from ids.rules.language.variables import home_net
from ids.snapshot import ANSWER_S
from ids.state import penalties
from ids.state.files import state_folder
from ids.store.asked import Asked
from ids.store.places import opened
from ids.store.why import Answer
from ids.store.why import why as answer_of
from ids.types import IPAddress


def answer(
    config: Config, asked: Asked, memory: sqlite3.Connection | None, own: frozenset[IPAddress] = frozenset()
) -> Answer:
    """Return all that is known; what cannot be read is named in its ``troubles``. ``own``: this host's addresses."""
    folder = state_folder(config.engine.state_dir, config.instance)
    with ExitStack() as stack:
        places, troubles = opened(
            instance_dir(config.fastpath, config.instance),
            folder,
            config.respond,
            stack,
            memory=lambda: memory,
            penalties=lambda troubles: penalties.known(folder, lambda: _ask(config), troubles),
            own=lambda: own,
            home=home_net(config.vars),
        )
        found = answer_of(asked, places)
    found.troubles[:0] = troubles
    return found


def _ask(config: Config) -> Mapping[str, Any]:
    return request(socket_path(config.engine.runtime_dir, config.instance), "penalties", ANSWER_S)
