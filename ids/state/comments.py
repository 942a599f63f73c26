"""What operators wrote beside blocks; the kernel's entries have no room for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import orjson

from ids.state.files import held, set_aside, write_state

FILE_NAME = "comments.json"

MAX_COMMENTS = 100_000
"""Comments that are kept, 30 MB at worst; the oldest go first."""

MAX_CHARACTERS = 200
"""Of a comment: a line on the screen."""

Key = tuple[str, str]
"""A network in CIDR form, and the label of the claim that it is about."""

Row = tuple[str, int | None]
"""A text, and when its claim ends."""


def load(folder: Path) -> dict[Key, str]:
    """Return the comments of claims that have not ended; none where there is no file, or a damaged one.

    A damaged file is moved aside.
    """
    return {key: text for key, (text, _) in _kept(folder).items()}


def change(
    folder: Path,
    added: Mapping[Key, str | None] | None = None,
    networks_gone: Collection[str] = (),
    ends: Mapping[Key, int | None] | None = None,
) -> None:
    """Write down comments, and forget those of some networks, whoever's; raises `OSError`.

    An empty comment takes away an earlier one, None keeps it. ``ends``: when a claim ends (Unix ns; None, or not there:
    it does not), and its comment with it, so that a later claim is not shown with it.
    """
    if not added and not networks_gone:
        return
    ends = ends or {}
    with held(folder):
        kept = _kept(folder)
        gone = set(networks_gone)
        changed = {key: row for key, row in kept.items() if key[0] not in gone}
        for key, given in (added or {}).items():
            text = changed.pop(key, ("", None))[0] if given is None else given
            changed.pop(key, None)  # the latest are last
            if text:
                changed[key] = text[:MAX_CHARACTERS], ends.get(key)
        _write(folder, kept, changed)


def settle(folder: Path, end_of: Callable[[Key], int | bool | None], label: str | None = None) -> None:
    """Have comments end with their claims after these have changed; raises `OSError`.

    ``end_of`` returns when a claim ends (Unix ns; None: it does not), or False where there is none any more. With a
    ``label`` only its claims have changed.
    """
    with held(folder):
        kept = _kept(folder)
        changed = dict(kept)
        for key, (text, _) in kept.items():
            if label is not None and key[1] != label:
                continue
            end = end_of(key)
            if end is False:
                del changed[key]
            else:
                changed[key] = text, end
        _write(folder, kept, changed)


def _write(folder: Path, kept: Mapping[Key, Row], changed: Mapping[Key, Row]) -> None:
    if changed != kept:
        rows = [[*key, *row] for key, row in changed.items()][-MAX_COMMENTS:]
        write_state(folder / FILE_NAME, orjson.dumps(rows))


def _kept(folder: Path) -> dict[Key, Row]:
    path, now_ns = folder / FILE_NAME, time.time_ns()
    try:
        rows = [_checked(row) for row in orjson.loads(path.read_bytes())]
    except OSError:
        return {}
    except (ValueError, TypeError) as error:
        set_aside(path, str(error))
        return {}
    return {(row[0], row[1]): row[2:] for row in rows if row[3] is None or row[3] > now_ns}


def _checked(row: object) -> tuple[str, str, str, int | None]:
    if isinstance(row, list) and len(row) == 3:  # of a version that did not know when a claim ends
        row = [*row, None]
    if not isinstance(row, list) or len(row) != 4 or not all(isinstance(part, str) for part in row[:3]):
        raise ValueError("a comment is a network, a label, a text and an end")
    if row[3] is not None and type(row[3]) is not int:
        raise ValueError("an end is a number")
    return row[0], row[1], row[2][:MAX_CHARACTERS], row[3]
