"""Numbers in the traffic: ``byte_test``, ``byte_jump``, ``byte_extract``, ``byte_math``, ``base64_decode``."""

from __future__ import annotations

from dataclasses import dataclass

from ids.later import late_pattern
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import commas, name, number, required
from ids.rules.model.chain import Compare, Compute, Decode, Extract, Jump, Number, Value

BASES = {"hex": 16, "dec": 10, "oct": 8}

MAX_BINARY_BYTES = 8
MAX_DIGITS = 23
"""Of a number as text, as Suricata has it."""

MAX_OFFSET = (1 << 31) - 1

_COMPARISON = late_pattern(r"(!?)\s*(<=|>=|<|>|=|&|\^|)")
_ARITHMETIC = ("+", "-", "*", "/", "<<", ">>")


@dataclass(slots=True)
class _Options:
    """The words behind the first values of an option."""

    relative: bool = False
    order: str = "big"
    text: bool = False
    base: int | None = None
    align: int = 0
    origin: str = "cursor"
    multiplier: int = 1
    post_offset: Value = 0
    bits: int | None = None

    def number(self, size: Value, offset: Value) -> Number:
        """Return how the number stands in the buffer; raises `Malformed`."""
        if isinstance(size, int) and size > (MAX_DIGITS if self.text else MAX_BINARY_BYTES):
            raise Malformed(f"a number has no {size} bytes", f"at most {MAX_BINARY_BYTES}, as text {MAX_DIGITS}")
        base = (self.base or 0) if self.text else None
        return Number(size, offset, self.relative, self.order, base, self.bits)


def _options(draft: Draft, words: list[str], allowed: set[str]) -> _Options:
    """Read the words behind the first values; ``allowed`` are those with a meaning of the option's own."""
    options = _Options()
    for word in words:
        key, _, value = word.partition(" ")
        key, value = key.lower(), value.strip()
        if key == "relative":
            options.relative = True
        elif key in ("big", "little"):
            options.order = key
        elif key == "string":
            options.text = True
        elif key in BASES:
            options.base = BASES[key]
        elif key == "bitmask":
            options.bits = number(value if value[:2] in ("0x", "0X") else f"0x{value}", 1)
        elif key == "dce":
            options.order = key
        elif key == "align" and "align" in allowed:
            options.align = number(value, 2, 4) if value else 4
        elif key in ("from_beginning", "from_end") and "origin" in allowed:
            options.origin = "begin" if key == "from_beginning" else "end"
        elif key == "multiplier" and "multiplier" in allowed:
            options.multiplier = number(value, 1, 65_535)
        elif key == "post_offset" and "origin" in allowed:
            options.post_offset = _value(draft, value, -65_535, 65_535)
        else:
            raise Malformed(f"unknown word {word[:40]!r}")
    return options


def _value(draft: Draft, text: str, least: int, most: int) -> Value:
    """Read a number, or the name of a variable that was set before."""
    text = text.strip()
    if text[:1].isdigit() or text[:1] in ("-", "+") or not text:
        return number(text, least, most)
    text = name(text)
    if text not in draft.variables:
        raise Malformed(f"nothing before it sets {text}", "set it by byte_extract or byte_math")
    return text


def _words(value: str | None, least: int) -> list[str]:
    words = commas(required(value))
    if len(words) < least:
        raise Malformed(f"it has {len(words)} values, and needs {least}")
    return words


def _size(draft: Draft, text: str, least: int = 1) -> Value:
    return _value(draft, text, least, MAX_DIGITS)


def byte_test(draft: Draft, value: str | None) -> None:
    """``byte_test:4,>,1000,0,relative``: compare a number with a value."""
    size, comparison, against, offset, *rest = _words(value, 4)
    found = _COMPARISON.fullmatch(comparison)
    if found is None or not comparison:
        raise Malformed(f"{comparison[:40]!r} is no comparison", "known are < > = <= >= & ^, each with ! before it")
    options = _options(draft, rest, set())
    where = options.number(_size(draft, size, 0 if options.text else 1), _value(draft, offset, -MAX_OFFSET, MAX_OFFSET))
    draft.add(
        Compare(where, found[2] or "=", _value(draft, against, 0, (1 << 64) - 1), bool(found[1])), near=options.relative
    )


def byte_jump(draft: Draft, value: str | None) -> None:
    """``byte_jump:2,0,relative``: go on behind as many bytes as a number says."""
    size, offset, *rest = _words(value, 2)
    options = _options(draft, rest, {"align", "origin", "multiplier"})
    where = options.number(_size(draft, size, 0), _value(draft, offset, -65_535, 65_535))
    jump = Jump(where, options.multiplier, bool(options.align), options.origin, options.post_offset)
    draft.add(jump, near=options.relative)


def byte_extract(draft: Draft, value: str | None) -> None:
    """``byte_extract:1,0,size``: give a number a name."""
    size, offset, variable, *rest = _words(value, 3)
    options = _options(draft, rest, {"align", "multiplier"})
    where = options.number(_size(draft, size), _value(draft, offset, -65_535, 65_535))
    variable = name(variable)
    draft.add(Extract(where, variable, options.multiplier, options.align), near=options.relative)
    draft.variables.add(variable)


def byte_math(draft: Draft, value: str | None) -> None:
    """``byte_math:bytes 2, offset 0, oper +, rvalue 5, result n``: give what comes of a number a name."""
    given: dict[str, str] = {}
    plain: list[str] = []
    for word in _words(value, 5):
        key, _, rest = word.partition(" ")
        if key in ("bytes", "offset", "oper", "rvalue", "result"):
            if key in given:
                raise Malformed(f"{key} stands in it twice", "keep one of the two")
            given[key] = rest.strip()
        elif key in ("endian", "string"):
            plain += ["string", rest.strip()] if key == "string" else [rest.strip()]
        else:
            plain.append(word)
    missing = {"bytes", "offset", "oper", "rvalue", "result"} - given.keys()
    if missing:
        raise Malformed(f"it has no {' and no '.join(sorted(missing))}")
    if given["oper"] not in _ARITHMETIC:
        raise Malformed(f"{given['oper'][:40]!r} is no operator", f"known are {' '.join(_ARITHMETIC)}")
    options = _options(draft, [word for word in plain if word], set())
    where = options.number(_size(draft, given["bytes"]), _value(draft, given["offset"], -MAX_OFFSET, MAX_OFFSET))
    other = _value(draft, given["rvalue"], 0, 0xFFFFFFFF)
    if other == 0 and given["oper"] == "/":
        raise Malformed("it divides by nothing")
    result = name(given["result"])
    draft.add(Compute(where, given["oper"], other, result), near=options.relative)
    draft.variables.add(result)


def base64_decode(draft: Draft, value: str | None) -> None:
    """``base64_decode:bytes 20, offset 1, relative``: decode from here on; ``base64_data`` tests what comes of it."""
    size: int | None = None
    offset, relative = 0, False
    for word in commas(value.strip()) if value and value.strip() else ():
        key, _, rest = word.partition(" ")
        if key == "bytes":
            size = number(rest, 1, 65_535)
        elif key == "offset":
            offset = number(rest, 0, 65_535)
        elif word == "relative":
            relative = True
        else:
            raise Malformed(f"unknown word {word[:40]!r}", "known are bytes, offset and relative")
    draft.once("base64_decode")
    draft.add(Decode(size, offset, relative), near=True)
    draft.decoded = True
