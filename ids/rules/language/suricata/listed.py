"""Options that ask for words of a list: kinds of messages, flags that are set, codes with names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.draft import Draft, Part, Piece
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import commas, intervals, number, required, unquoted
from ids.rules.model.chain import Compare, Number

_CIP_NUMBERS = 3
"""Of ``cip_service``: a service, a class, an attribute."""
Option = Callable[[Draft, "str | None"], None]


def one_of(buffer: str, words: Sequence[str], others: Mapping[str, str] = MappingProxyType({})) -> Option:
    """Return what an option does whose value is a word that the buffer is (``mqtt.type:CONNECT``).

    ``others`` are spelt otherwise in rules.
    """

    def option(draft: Draft, value: str | None) -> None:
        text = unquoted(required(value))
        negated = text.startswith("!")
        text = text.removeprefix("!").strip()
        word = _known(others.get(text.lower(), text), words)
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


def any_bit_of(buffer: str, bits: Mapping[str, int]) -> Option:
    """Return what an option does that names bits of which one must be set (``dnp3_ind:need_time,0x2000``)."""

    def option(draft: Draft, value: str | None) -> None:
        part, mask = Part(require(buffer)), 0
        for text in commas(required(value)):
            mask |= number(text, 1, 0xFFFF) if text[:1].isdigit() else bits[_known(text, list(bits))]
        part.steps.append(Compare(Number(2), "&", mask))
        draft.parts.append(part)

    return option


def pair_of(buffer: str) -> Option:
    """Return what an option does with two numbers, which stand in the buffer with a comma (``dnp3_obj:12,1``)."""

    def option(draft: Draft, value: str | None) -> None:
        words = commas(required(value))
        if len(words) != 2:
            raise Malformed("it takes two numbers", "write the group and the variation: 12,1")
        pair = b"%d,%d" % (number(words[0], most=255), number(words[1], most=255))
        draft.stand_in(require(buffer), pair, False, whole=True, ending=False)

    return option


def cip_service(draft: Draft, value: str | None) -> None:
    """``cip_service:16``; ``cip_service:16,246``; ``cip_service:16,246,6``, and any attribute but one with ``!6``."""
    words = commas(required(value))
    if not 1 <= len(words) <= _CIP_NUMBERS:
        raise Malformed("it takes one to three numbers", "write service, class and attribute: 16,246,6")
    negated = len(words) == _CIP_NUMBERS and words[-1].startswith("!")
    most = (127, 0xFFFF, 0xFFFF)
    if negated:
        words[-1] = words[-1][1:].strip()
    numbers = [b"%d" % number(word, most=of) for word, of in zip(words, most, strict=False)]
    buffer = require("cip.service")
    if not negated:
        draft.stand_in(buffer, b",".join(numbers), False, whole=True, ending=False)
        return
    part = Part(buffer)
    part.steps.append(Piece(b",".join([*numbers[:-1], b""]), False, part, at_start=True))
    part.steps.append(Piece(b",".join(numbers), True, part, at_start=True, at_end=True))
    draft.parts.append(part)


def _known(word: str, words: Sequence[str]) -> str:
    by_lower = {one.lower(): one for one in words}
    if word.lower() not in by_lower:
        raise Malformed(f"{word[:40]!r} is no value of it", nearest(word, list(words)))
    return by_lower[word.lower()]
