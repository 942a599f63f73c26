"""Conditions in words: what a test asks, as an author would say it."""

from __future__ import annotations

from ids.rules.model.chain import (
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Entropy,
    Expression,
    Extract,
    Jump,
    Length,
    Listed,
    Number,
    Step,
    Structure,
)
from ids.rules.model.header import (
    AddressIn,
    HeaderBits,
    HeaderNumber,
    HeaderTest,
    IpOption,
    Noted,
    SameAddress,
    Spoken,
    StreamSize,
)
from ids.rules.model.rule import Address, Literal, Regex, ScapyField, Size
from ids.rules.model.script import Script
from ids.types.state import BitTest, StateTest, TextTest

MAX_SHOWN = 60
"""Bytes of a literal that are shown."""


def spelt(value: bytes) -> str:
    """Spell bytes as Suricata's rules do: what is not printable in hexadecimal between bars."""
    parts: list[str] = []
    raw: list[str] = []
    for byte in value[:MAX_SHOWN]:
        if 32 <= byte < 127 and byte != ord("|"):
            if raw:
                parts.append(f"|{' '.join(raw)}|")
                raw = []
            parts.append(chr(byte))
        else:
            raw.append(f"{byte:02x}")
    if raw:
        parts.append(f"|{' '.join(raw)}|")
    return '"' + "".join(parts) + ('"' if len(value) <= MAX_SHOWN else '…"')


def bounds(least: int, most: int | None) -> str:
    """Say a range."""
    if most is None:
        return f"at least {least}"
    return str(least) if least == most else f"{least} to {most}"


def condition_in_words(test: Literal | Regex | Size) -> str:
    """Say a test on a buffer."""
    if isinstance(test, Literal):
        return f"{test.buffer} {test.anchor.value} {spelt(test.value)}" + (" nocase" if test.nocase else "")
    if isinstance(test, Regex):
        return f"{test.buffer} regex /{test.pattern.text}/" + (" nocase" if test.pattern.nocase else "")
    return f"{test.buffer} size {bounds(test.least, test.most)}"


def step_in_words(step: Step) -> str:
    """Say a step of a chain."""
    return ("not " if getattr(step, "negated", False) else "") + _step(step)


def _step(step: Step) -> str:
    if isinstance(step, Content):
        words = [f"contains {spelt(step.value)}", *(["nocase"] if step.nocase else [])]
        names = ("offset", "depth", "distance", "within")
        words += [f"{name} {getattr(step, name)}" for name in names if getattr(step, name) is not None]
        return " ".join([*words, *(["at the end"] if step.at_end else [])])
    if isinstance(step, Expression):
        return f"regex /{step.pattern.text}/" + (" nocase" if step.pattern.nocase else "") + _from(step.relative)
    if isinstance(step, DataAt):
        return f"at least {step.count} bytes more" if step.relative else f"a byte at {step.count}"
    if isinstance(step, Length):
        return f"size {bounds(step.least, step.most)}"
    if isinstance(step, Compare):
        return f"{_number(step.number)} {step.operator} {step.value}"
    if isinstance(step, Jump):
        return f"jump by {_number(step.number)}, times {step.multiplier}, plus {step.post_offset}, from {step.origin}"
    if isinstance(step, Extract):
        return f"{step.name} = {_number(step.number)}"
    if isinstance(step, Compute):
        return f"{step.name} = {_number(step.number)} {step.operator} {step.value}"
    if isinstance(step, Decode):
        return f"base64 at {step.offset}" + _from(step.relative)
    if isinstance(step, Structure):
        return f"a fault in ASN.1 at {step.offset}" + _from(step.relative)
    if isinstance(step, Entropy):
        return f"entropy {step.least:.2f} to {step.most:.2f} bits a byte"
    assert isinstance(step, Listed)
    change = {"add": "is put into", "remove": "is taken out of"}.get(step.change, "is in")
    return f"{change} the list {step.name}"


def _number(number: Number) -> str:
    digits = "" if number.base is None else f" of base {number.base}" if number.base else " of any base"
    masked = "" if number.bits is None else f" & {number.bits:#x}"
    return f"{number.size}-byte {number.order}-endian number{digits} at {number.offset}{_from(number.relative)}{masked}"


def _from(relative: bool) -> str:
    return " from where the test before ended" if relative else ""


def header_in_words(test: HeaderTest) -> str:
    """Say a test on a packet's headers."""
    if isinstance(test, HeaderNumber):
        return f"{test.field} {'not ' if test.negated else ''}{_intervals(test.intervals)}"
    if isinstance(test, HeaderBits):
        return f"{test.field} {test.mode} {test.bits:#04x}" + (
            f", ignoring {test.ignored:#04x}" if test.ignored else ""
        )
    if isinstance(test, StreamSize):
        return f"bytes sent by {test.side}: {'not ' if test.negated else ''}{_intervals(test.intervals)}"
    if isinstance(test, SameAddress):
        return "source and destination address are the same"
    if isinstance(test, IpOption):
        return f"IPv4 option {test.name}"
    if isinstance(test, Noted):
        return f"{test.stage} event {test.name}"
    if isinstance(test, AddressIn):
        return f"{test.end} address {'not ' if test.negated else ''}in {test.name}"
    if isinstance(test, Spoken):
        return f"application protocol {'not ' if test.negated else ''}{test.name}"
    return f"the {test.layer} checksum is {'valid' if test.valid else 'invalid'}"


def _intervals(intervals: tuple[tuple[int, int], ...]) -> str:
    return " or ".join(bounds(first, last) for first, last in intervals)


def other_in_words(test: Address | ScapyField | Script) -> str:
    """Say a test on an address or a field of Scapy, or a script."""
    if isinstance(test, Script):
        return f"the script {test.name} says {'no' if test.negated else 'yes'}"
    if isinstance(test, ScapyField):
        return f"scapy.{test.layer}.{test.name} is {test.value!r} (judged by dissection, not here)"
    return f"{test.end} is one of the rule's addresses"


def state_in_words(test: StateTest) -> str:
    """Say a test on state."""
    if isinstance(test, BitTest):
        return f"{test.scope} bit {' or '.join(test.names)} is {'not ' if test.negated else ''}set"
    if isinstance(test, TextTest):
        return f"text {test.name} of the {'flow' if test.scope == 'flow' else 'packet'} holds {test.value!r}"
    return f"counter {test.name} {test.operator} {test.value}"
