"""What evades us today, with the reasons: `known.txt`, and ``python -m tests.testing.evade.known`` to shrink it."""

from __future__ import annotations

import tempfile
from collections.abc import Set
from pathlib import Path

LIST = Path(__file__).with_name("known.txt")


def read(text: str) -> dict[str, list[str]]:
    """Return the names on a list by reason."""
    reasons: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("["):
            names = reasons.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            names.append(line)
    return reasons


def without(text: str, found: Set[str]) -> str:
    """Return a list without the names that are found now, and without reasons that have no name left."""
    head, *parts = text.split("\n[")
    kept = ["\n".join(line for line in part.splitlines() if line not in found) + "\n" for part in parts]
    return "\n[".join([head, *(part for part in kept if part.strip().count("\n"))])


ALERTED_BY: dict[str, set[int]] = {"junk with no flag at all": {1000265}}
"""Rules that alert on what was done to a session, not on what it says: no flag at all is a probe of nmap's."""

MISSED = frozenset(name for names in read(LIST.read_text()).values() for name in names)


def main() -> None:
    """Play all evasions of the exploits on paper, and take off the list what is found."""
    from tests.testing.evade.detection import find, on_paper, trials_of, write_capture
    from tests.testing.evade.exploits import EXPLOITS

    trials = trials_of(EXPLOITS)
    on_paper(trials)
    with tempfile.TemporaryDirectory() as folder:
        capture = Path(folder, "paper.pcap")
        write_capture(capture, trials)
        found = find(capture)
    missed = {trial.evasion.name for trial in trials if not found.get(trial.source)}
    LIST.write_text(without(LIST.read_text(), MISSED - missed))
    print(f"found, and off the list: {sorted(MISSED - missed)}\nmissed, and not on it: {sorted(missed - MISSED)}")


if __name__ == "__main__":
    main()
