"""Reads tests on the headers of a packet: ``ip.ttl: {lt: 10}``, ``tcp.flags: {all: [syn], none: [ack]}``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ids.decode.noted import FINDERS
from ids.flow.notes import Note
from ids.rules.language.remedies import nearest
from ids.rules.language.schema_headers import BitsSchema, RangeSchema
from ids.rules.language.yaml_reading import At, Reading
from ids.rules.model.buffers import APP_PROTOCOLS, unrecognised
from ids.rules.model.header import Checksum, HeaderBits, HeaderNumber, IpOption, Noted, SameAddress, Spoken, StreamSize
from ids.rules.model.rule import All, Any_, Node
from ids.rules.model.sets import Interval

_BYTE, _SHORT, _LONG = 255, 65_535, 0xFFFFFFFF

NUMBERS = {
    "ip.ttl": _BYTE, "ip.id": _SHORT, "ip.tos": _BYTE, "ip.proto": _BYTE, "ip.fragoffset": _SHORT, "tcp.seq": _LONG,
    "tcp.ack": _LONG, "tcp.window": _SHORT, "tcp.mss": _SHORT, "tcp.wscale": _BYTE, "icmp.type": _BYTE,
    "icmp.code": _BYTE, "icmp.id": _SHORT, "icmp.seq": _SHORT, "icmpv6.mtu": _LONG, "payload.size": _SHORT,
    "flow.age": _LONG,
}  # fmt: skip
"""Fields with a number, and the greatest that they hold."""

STREAM_SIZES = {f"stream.{side}_size": side for side in ("client", "server", "both", "either")}
"""Bytes that a side of a TCP connection, both, or either, has sent so far."""

MOST_SENT = (1 << 62) - 1

BITS = {
    "tcp.flags": {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ece": 64, "cwr": 128},
    "ip.fragbits": {"more_fragments": 1, "dont_fragment": 2, "reserved": 4},
}
IP_OPTIONS = ("any", "eol", "esec", "lsrr", "nop", "rr", "satid", "sec", "ssrr", "ts")
CHECKSUMS = ("ipv4", "tcpv4", "tcpv6", "udpv4", "udpv6", "icmpv4", "icmpv6")
EVENTS = {
    "decode.event": tuple(sorted(FINDERS)),
    "stream.event": tuple(sorted(note.event.removeprefix("stream.") for note in Note)),
}

PROTOCOLS = (*sorted(APP_PROTOCOLS), "failed")
"""What may be known of a flow's application protocol; ``failed``: that it cannot be found out."""

WORDS = frozenset(
    (*NUMBERS, *STREAM_SIZES, *BITS, *EVENTS, "ip.option", "app_protocol", "same_address", "bad_checksum")
)
"""All that conditions may ask of headers."""


def read_header(reading: Reading, name: str, value: Any, at: At) -> Node | None:
    """Read a test on a packet's headers; ``name`` is one of `WORDS`."""
    reading.count(at)
    if name in NUMBERS or name in STREAM_SIZES:
        return _number(reading, name, value, at)
    if name in BITS:
        return _bits(reading, name, value, at)
    if name in EVENTS:
        stage = name.partition(".")[0]
        return _one_of(reading, value, EVENTS[name], at, lambda word: Noted(stage, word))
    if name == "app_protocol":
        return _spoken(reading, value, at)
    if name == "ip.option":
        return _one_of(reading, value, IP_OPTIONS, at, IpOption)
    if name == "bad_checksum":
        return _one_of(reading, value, CHECKSUMS, at, lambda word: Checksum(word, valid=False))
    if value is not True:
        reading.refuse("same_address is true, or left out", at, "negate with none: [same_address: true]")
        return None
    return SameAddress()


def _number(reading: Reading, name: str, value: Any, at: At) -> Node | None:
    """Read ``8``, ``[8, 0]``, ``{min: 1, max: 9}``, ``{not: 8}``."""
    if not reading.numbers_written(value, at):
        return None
    read = reading.shaped(RangeSchema, value if isinstance(value, dict) else {"equals": value}, at)
    if read is None:
        return None
    most = NUMBERS.get(name, MOST_SENT)
    intervals, negated = read.intervals(most)
    if intervals[0][0] > intervals[0][1]:
        reading.refuse("no number is within these bounds", at, f"{name} is a number from 0 to {most}")
        return None
    if any(last > most for _, last in intervals):
        reading.refuse(f"{name} has no such value", at, f"it is a number from 0 to {most}")
        return None
    return _of_number(name, intervals, negated)


def _of_number(name: str, intervals: tuple[Interval, ...], negated: bool) -> Node:
    if name in STREAM_SIZES:
        return StreamSize(STREAM_SIZES[name], intervals, negated)
    return HeaderNumber(name, intervals, negated)


def _bits(reading: Reading, name: str, value: Any, at: At) -> Node | None:
    """Read ``syn``, ``[syn, ack]``, ``{all: [syn], none: [ack]}``."""
    read = reading.shaped(BitsSchema, value if isinstance(value, dict) else {"exactly": value}, at)
    if read is None:
        return None
    values: dict[str, int] = {}
    for mode, words in read.given():
        bits = 0
        for word in words:
            if word not in BITS[name]:
                reading.refuse(f"{word!r} is no bit of {name}", at, nearest(word, BITS[name]))
                return None
            bits |= BITS[name][word]
        values[mode] = bits
    ignored = values.pop("ignoring", 0)
    tests = tuple(HeaderBits(name, MODES[mode], bits, ignored) for mode, bits in values.items())
    return tests[0] if len(tests) == 1 else All(tests)


MODES = {"exactly": "exactly", "all": "all", "any": "any", "none": "none", "not_all": "lacking"}
"""Words of `BitsSchema`, with those of the model."""


def _spoken(reading: Reading, value: Any, at: At) -> Node | None:
    """Read the name of a protocol, several of which one is enough, ``failed``, or ``{not: http}``."""
    negated = isinstance(value, dict) and value.keys() == {"not"}
    names = value["not"] if negated else value
    for one in names if isinstance(names, list) else [names]:
        if isinstance(one, str) and one in APP_PROTOCOLS and (why := unrecognised(one)) is not None:
            reading.refuse(why[0], at, why[1])
            return None
    if negated and isinstance(names, list):
        reading.refuse("not: takes one protocol", at, "negate several with none: [app_protocol: [...]]")
        return None
    return _one_of(reading, names, PROTOCOLS, at, lambda word: Spoken(word, negated))


def _one_of(reading: Reading, value: Any, known: tuple[str, ...], at: At, make: Callable[[str], Node]) -> Node | None:
    """Read a word, or several of which one is enough."""
    words = value if isinstance(value, list) else [value]
    nodes = []
    for word in words:
        if word not in known:
            reading.refuse(f"{word!r} is not known here", at, nearest(str(word), known))
            return None
        nodes.append(make(word))
    if not nodes:
        reading.refuse("there is no value", at, "give at least one")
        return None
    return nodes[0] if len(nodes) == 1 else Any_(tuple(nodes))
