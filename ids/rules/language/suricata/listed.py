"""Options that ask for words of a list: kinds of messages, flags that are set, codes with names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.draft import Draft, Part, Piece
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import commas, intervals, required, unquoted
from ids.rules.model.chain import Compare, Number

Option = Callable[[Draft, "str | None"], None]


def one_of(buffer: str, words: Sequence[str]) -> Option:
    """Return what an option does whose value is a word that the buffer is (``mqtt.type:CONNECT``)."""

    def option(draft: Draft, value: str | None) -> None:
        text = unquoted(required(value))
        negated = text.startswith("!")
        word = _known(text.removeprefix("!").strip(), words)
        draft.stand_in(require(buffer), word.encode(), negated, whole=True, ending=False)

    return option


def flags_of(buffer: str, words: Sequence[str]) -> Option:
    """Return what an option does that says which flags are set and which are not (``mqtt.flags:retain,!dup``).

    The buffer has the names of those that are set, each between blanks.
    """

    def option(draft: Draft, value: str | None) -> None:
        part = Part(require(buffer))
        for text in commas(required(value)):
            word = _known(text.removeprefix("!").strip(), words)
            part.steps.append(Piece(f" {word} ".encode(), text.startswith("!"), part))
        draft.parts.append(part)

    return option


def number_of(buffer: str, names: Mapping[str, int], most: int) -> Option:
    """Return what an option does that asks for a decimal number in a buffer, or for one by its name."""

    def option(draft: Draft, value: str | None) -> None:
        text = unquoted(required(value)).lower()
        part = Part(require(buffer))
        digits = Number(0, base=10)
        if text in names:
            part.steps.append(Compare(digits, "=", names[text]))
        elif text[:1].isalpha():
            raise Malformed(f"{text[:40]!r} is no name of a number here", nearest(text, list(names)))
        else:
            ((least, last),), negated = intervals(text, most)
            if least == last:
                part.steps.append(Compare(digits, "=", least, negated))
            else:
                part.steps += [Compare(digits, ">=", least), Compare(digits, "<=", last)]
        draft.parts.append(part)

    return option


def _known(word: str, words: Sequence[str]) -> str:
    by_lower = {one.lower(): one for one in words}
    if word.lower() not in by_lower:
        raise Malformed(f"{word[:40]!r} is no value of it", nearest(word, list(words)))
    return by_lower[word.lower()]
