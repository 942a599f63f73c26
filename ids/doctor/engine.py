"""Checks of the engine that runs here, if one does: that it answers, and that its blocks bite."""

from __future__ import annotations

from pathlib import Path

from ids.control import request
from ids.doctor import Check, fail, ok, warn
from ids.errors import NoAnswer, NotRunning


def check_engine(socket: Path) -> list[Check]:
    """Check the engine that listens there; nothing where none does."""
    try:
        counters = request(socket, "stats").get("ids", {})
    except NotRunning:
        return []
    except NoAnswer as error:
        return [fail("engine", "runs, and does not answer", str(error))]
    return [ok("engine", "runs, and answers"), check_bites(counters.get("respond", {}).get("not_biting", {}))]


def check_bites(counted: dict[str, int]) -> Check:
    """What is blocked is dropped: no source goes on by an interface that is not guarded."""
    blocks, packets = counted.get("blocks", 0), counted.get("packets", 0)
    if not blocks:
        return ok("blocks bite", "no source was seen to go on after its block")
    return warn(
        "blocks bite",
        f"{blocks} {'source' if blocks == 1 else 'sources'} went on after the block, by {packets} packets at least",
        "Packets are dropped where they come in: guard each leg of the gateway (-i, or interfaces in the settings)."
        " The log names the way that is not guarded: BLOCKED sources go on",
    )
