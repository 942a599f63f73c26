"""Options about files that a protocol carries: size, type, digests, and ``filestore``."""

from __future__ import annotations

from collections.abc import Callable

from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.draft import Draft, Part
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.sets import load
from ids.rules.language.suricata.words import commas, intervals, required, unquoted
from ids.rules.model.chain import Compare, Listed, Number
from ids.types import Stores

MAX_SIZE = (1 << 64) - 1
SIDES = {
    "request": "request", "to_server": "request", "response": "response", "to_client": "response", "both": "both",
}  # fmt: skip
SCOPES = {"file": "file", "tx": "tx", "ssn": "flow", "flow": "flow"}


def filesize(draft: Draft, value: str | None) -> None:
    """``filesize:>1000``: the bytes of a file that has ended."""
    ((least, most),), negated = intervals(required(value), MAX_SIZE)
    part, digits = Part(require("file.size")), Number(0, base=10)
    if least == most:
        part.steps.append(Compare(digits, "=", least, negated))
    else:
        part.steps += [Compare(digits, ">=", least), Compare(digits, "<=", most)]
    draft.parts.append(part)


def listed_digest(name: str) -> Callable[[Draft, str | None], None]:
    """Return what ``filemd5:FILE`` and the like do: a complete file is in a list of digests; with ``!`` it is not."""

    def option(draft: Draft, value: str | None) -> None:
        text = unquoted(required(value))
        negated = text.startswith("!")
        file = unquoted(text[1:]) if negated else text
        part = Part(require(f"file.{name}"))
        part.steps.append(Listed(file, name, negated, load(draft, file, name, "sums")))
        draft.parts.append(part)

    return option


def filestore(draft: Draft, value: str | None) -> None:
    """``filestore:both,flow``: store the files in which the rule matches, or those of the exchange or flow."""
    draft.once("filestore")
    words = commas(unquoted(value).lower()) if value and value.strip() else []
    sides = [SIDES[word] for word in words if word in SIDES]
    scopes = [SCOPES[word] for word in words if word in SCOPES]
    if len(sides) + len(scopes) != len(words) or len(sides) > 1 or len(scopes) > 1:
        known = ", ".join((*SIDES, *SCOPES))
        raise Malformed(f"{', '.join(words)[:40]!r} is not understood", f"write a side, a scope or both, of {known}")
    draft.stores = Stores(scopes[0] if scopes else "file", sides[0] if sides else "")


def ask_for_a_file(draft: Draft) -> None:
    """Let a rule that stores files, and asks for none, match where there is one."""
    if draft.stores is None or any(part.buffer.startswith("file.") for part in draft.parts):
        return
    if draft.stores.scope == "file" or not draft.parts:
        part = Part(require("file.size"))
        part.steps.append(Compare(Number(0, base=10), ">=", 0))
        draft.parts.append(part)
