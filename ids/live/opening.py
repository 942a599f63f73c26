"""The gate of an instance as one engine opens it, alone, and as it leaves it."""

from __future__ import annotations

import hashlib
import logging
import socket
from contextlib import ExitStack
from pathlib import Path

from ids.config import Config
from ids.errors import UsageError
from ids.kernel import FastPath
from ids.kernel.instance import instance_dir, require_same_namespace
from ids.state.files import state_folder
from ids.state.keeper import forget

log = logging.getLogger(__name__)


class Opening:
    """A fast path that is open for this process alone, and what was there before."""

    def __init__(self, config: Config, workers: int, stack: ExitStack) -> None:
        """Open it; no interface is touched yet. Its name is held until ``stack`` ends. Raises `IdsError`."""
        self._state = state_folder(config.engine.state_dir, config.instance)
        pins = instance_dir(config.fastpath, config.instance)
        stack.callback(_claim(pins).close)
        require_same_namespace(config.fastpath, config.instance)
        fresh = not any(pins.glob("*"))
        self.fastpath = FastPath.open(config.fastpath, config.instance, workers, len(config.interfaces))
        self._before = None if fresh else self.fastpath.attached()
        """Interfaces that were guarded then; None: there was no fast path."""

    def leave(self) -> None:
        """Leave what the setting says (`fastpath.on_stop`)."""
        left = self.fastpath.close()
        on_stop = self.fastpath.settings.on_stop
        if on_stop == "remove":
            forget(self._state)
        hint = "; `ids detach` takes it off" if on_stop == "keep" and left else ""
        log.info("stopped%s%s", f"; {left}" if left else "", hint)

    def abandon(self) -> None:
        """Leave the gate in force: the engine failed."""
        self.fastpath.close("keep")
        log.error("the engine failed; the gate stays in force without it")

    def undo(self) -> None:
        """Leave everything as it was: the start failed."""
        if self._before is None:
            self.fastpath.close("remove")
            return
        for interface in set(self.fastpath.attached()) - set(self._before):
            self.fastpath.detach(interface)
        self.fastpath.close("keep")


def _claim(pins: Path) -> socket.socket:
    """Hold a name that goes with the process: two engines behind one set of rings would each see half.

    The control socket alone does not show it: its folder is a setting, and its file can be removed.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        # A name of the abstract kind, which no file keeps; as a digest, for it may have a hundred bytes.
        claim.bind("\0ids:" + hashlib.sha256(bytes(pins.absolute())).hexdigest())
    except OSError as error:
        claim.close()
        raise UsageError(f"another engine works with {pins}; stop it, or choose another instance") from error
    return claim
