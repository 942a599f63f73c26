"""What operators wrote beside blocks; the kernel's entries have no room for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import orjson

from ids.state.files import held, set_aside, write_whole

FILE_NAME = "comments.json"

MAX_COMMENTS = 100_000
"""Comments that are kept, 30 MB at worst; the oldest go first."""

MAX_CHARACTERS = 200
"""Of a comment: a line on the screen."""

Key = tuple[str, str]
"""A network in CIDR form, and the label of the claim that it is about."""


def load(folder: Path) -> dict[Key, str]:
    """Return all comments; none where there is no file, or a damaged one, which is moved aside."""
    path = folder / FILE_NAME
    try:
        return {(network, label): text for network, label, text in map(_checked, orjson.loads(path.read_bytes()))}
    except FileNotFoundError:
        return {}
    except OSError:
        return {}
    except (ValueError, TypeError) as error:
        set_aside(path, str(error))
        return {}


def change(folder: Path, added: Mapping[Key, str] | None = None, networks_gone: Collection[str] = ()) -> None:
    """Write down comments, and forget those of some networks, whoever's; raises `OSError`.

    An empty comment takes away an earlier one.
    """
    if not added and not networks_gone:
        return
    with held(folder):
        kept = load(folder)
        gone = set(networks_gone)
        wanted = {key: text[:MAX_CHARACTERS] for key, text in (added or {}).items()}
        changed = {key: text for key, text in kept.items() if key[0] not in gone and key not in wanted}
        changed |= {key: text for key, text in wanted.items() if text}
        if changed != kept:
            rows = [[*key, text] for key, text in changed.items()][-MAX_COMMENTS:]
            write_whole(folder / FILE_NAME, orjson.dumps(rows))


def _checked(row: object) -> tuple[str, str, str]:
    if not isinstance(row, list) or len(row) != 3 or not all(isinstance(part, str) for part in row):
        raise ValueError("a comment is a network, a label and a text")
    return row[0], row[1], row[2][:MAX_CHARACTERS]
