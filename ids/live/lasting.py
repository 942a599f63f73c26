"""What outlives the engine and a reboot: in force again from the start, saved from then on, reset on request."""

from __future__ import annotations

import ipaddress
import logging
from typing import Any

from ids.config import Config
from ids.counters import Counters
from ids.errors import UsageError
from ids.kernel import FastPath
from ids.respond.policy import BlockPolicy
from ids.state import lists, penalties
from ids.state.files import exposed, state_folder
from ids.state.keeper import Keeper

log = logging.getLogger(__name__)

MAX_ANSWERED = 10_000
"""Penalties that are named in one answer, the latest; the number of all is beside them."""


class Lasting:
    """Lists and penalties of one engine."""

    def __init__(self, config: Config, fastpath: FastPath, policy: BlockPolicy, counters: Counters) -> None:
        """Restore what was saved, where this is the first start since a reboot; then save what changes."""
        self._policy = policy
        folder = state_folder(config.engine.state_dir, config.instance)
        if warning := exposed(folder):
            log.warning("%s", warning)
        if config.engine.restore_lists:
            lists.restore_file(fastpath.blocks, fastpath.allowed, folder / lists.FILE_NAME)
            policy.remember(penalties.load(folder))
        self._keeper = Keeper(fastpath.pin_dir, folder, counters)

    def tick(self) -> None:
        """Take note of what has changed; once a second."""
        self._keeper.tick(self._policy)

    def close(self) -> None:
        """Save what has changed last."""
        self._keeper.close(self._policy)

    def penalties(self) -> dict[str, Any]:
        """Answer who was blocked before, the latest last."""
        known = self._policy.penalties()
        rows = [[str(one.network), one.times, one.until_ns, one.counted] for one in known[-MAX_ANSWERED:]]
        return {"penalties": rows, "count": len(known)}

    def reset(self, networks: list[str] | None = None) -> dict[str, Any]:
        """Forget who was blocked before, of some networks or of all; answer whose that was."""
        try:
            wanted = None if networks is None else [ipaddress.ip_network(text) for text in networks]
        except (ValueError, TypeError) as error:
            raise UsageError(f"penalties cannot be reset: {error}") from error
        gone = self._policy.reset(wanted)
        self.tick()
        return {"reset": [str(network) for network in gone[:MAX_ANSWERED]], "count": len(gone)}
