"""Tests on headers of a packet, and on what was noted of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ids.decode.noted import FINDERS
from ids.flow.notes import Note
from ids.later import late_pattern
from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.unnoted import unnoted
from ids.rules.language.suricata.words import commas, intervals, number, refuse_value, required, unquoted
from ids.rules.model.header import Checksum, HeaderBits, HeaderNumber, IpOption, Noted, SameAddress

TCP_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "2": 64, "C": 128, "1": 128, "0": 0}
FRAGMENT_BITS = {"M": 1, "D": 2, "R": 4}

NUMBERS = {
    "ttl": ("ip.ttl", 255), "id": ("ip.id", 65_535), "itype": ("icmp.type", 255), "icode": ("icmp.code", 255),
    "icmp_id": ("icmp.id", 65_535), "icmp_seq": ("icmp.seq", 65_535), "seq": ("tcp.seq", 0xFFFFFFFF),
    "tcp.seq": ("tcp.seq", 0xFFFFFFFF), "ack": ("tcp.ack", 0xFFFFFFFF), "tcp.ack": ("tcp.ack", 0xFFFFFFFF),
    "window": ("tcp.window", 65_535), "tcp.window": ("tcp.window", 65_535), "dsize": ("payload.size", 65_535),
    "fragoffset": ("ip.fragoffset", 65_535), "tcp.mss": ("tcp.mss", 65_535), "tcp.wscale": ("tcp.wscale", 255),
    "icmpv6.mtu": ("icmpv6.mtu", 0xFFFFFFFF), "flow.age": ("flow.age", 0xFFFFFFFF),
}  # fmt: skip
"""Options with a number or a range: the field, and its greatest value."""

IP_OPTIONS = ("rr", "lsrr", "eol", "nop", "ts", "sec", "esec", "ssrr", "satid", "any")

PROTOCOLS = {
    "ip": 0, "icmp": 1, "igmp": 2, "ipencap": 4, "ipip": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "ipv6": 41,
    "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "icmp6": 58,
    "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "eigrp": 88, "ospf": 89, "etherip": 97, "pim": 103, "vrrp": 112,
    "l2tp": 115, "sctp": 132, "udplite": 136,
}  # fmt: skip
"""Names of IP protocol numbers (IANA)."""

CHECKSUMS = ("ipv4", "tcpv4", "tcpv6", "udpv4", "udpv6", "icmpv4", "icmpv6")

EVENTS = {
    "decode": frozenset(FINDERS),
    "stream": frozenset(note.event.removeprefix("stream.") for note in Note),
}
"""What is noted of packets and of connections, by the names that rules have for it."""

PLAIN = frozenset(("seq", "tcp.seq", "ack", "tcp.ack", "id", "icmp_id", "icmp_seq"))
"""Options with a number, and no range."""

_BITS = late_pattern(r"\s*([+*!]?)\s*([A-Za-z0-9]+)\s*([+*!]?)\s*")
_FRAGMENT = late_pattern(r"\s*([+*!]?)\s*([A-Za-z]+)")
_BEGINS_OR_ENDS, _UNUSUAL = 1 | 2 | 4, 32 | 64 | 128
_SYN = 2
_EVENT = late_pattern(r"[a-z0-9_]+(?:\.[a-z0-9_]+){0,3}")


def header_number(option: str) -> Callable[[Draft, str | None], None]:
    """Return what an option with a number or a range does."""
    field, most = NUMBERS[option]
    return partial(_plain_number if option in PLAIN else _header_number, field, most)


def dsize(draft: Draft, value: str | None) -> None:
    """``dsize:5<>9``: bytes of payload in the packet."""
    draft.once("dsize")
    _header_number(*NUMBERS["dsize"], draft, value)


def _plain_number(field: str, most: int, draft: Draft, value: str | None) -> None:
    found = number(unquoted(required(value)), 0, most)
    draft.header_tests.append(HeaderNumber(field, ((found, found),)))


def _header_number(field: str, most: int, draft: Draft, value: str | None) -> None:
    found, negated = intervals(required(value), most)
    draft.header_tests.append(HeaderNumber(field, found, negated))


def tos(draft: Draft, value: str | None) -> None:
    """``tos:!8`` or ``tos:x08``: the type of service."""
    text = unquoted(required(value))
    negated = text.startswith("!")
    text = text[1:].strip() if negated else text
    found = number(f"0{text}" if text[:1] in ("x", "X") else text, 0, 255)
    draft.header_tests.append(HeaderNumber("ip.tos", ((found, found),), negated))


def ip_proto(draft: Draft, value: str | None) -> None:
    """``ip_proto:!tcp``: the IP protocol, by number or name."""
    text = unquoted(required(value)).lower()
    sign = text[0] if text[0] in "!<>" else ""
    word = text[len(sign) :].strip()
    found, negated = intervals(f"{sign}{PROTOCOLS.get(word, word)}", 255)
    draft.header_tests.append(HeaderNumber("ip.proto", found, negated))


def _bits(text: str, letters: dict[str, int]) -> int:
    unknown = [letter for letter in text if letter not in letters]
    if unknown:
        raise Malformed(f"{unknown[0]!r} is no flag", f"known are {' '.join(letters)}")
    value = 0
    for letter in text:
        value |= letters[letter]
    return value


def _bit_test(field: str, letters: dict[str, int], sign: str, text: str, ignored: int) -> HeaderBits:
    bits = _bits(text.upper(), letters)
    if sign == "!" and not bits:
        return HeaderBits(field, "any", 0xFF, ignored)
    return HeaderBits(field, {"": "exactly", "+": "all", "*": "any", "!": "lacking"}[sign], bits, ignored)


def flags(draft: Draft, value: str | None) -> None:
    """``flags:S,CE``: flags of TCP; those behind the comma do not count.

    Suricata judges a rule that names flags of a beginning or an end on packets alone that have one of these, even where
    it asks for their lack; so with unusual ones; and where SYN may be set, on packets with SYN.
    """
    words = commas(unquoted(required(value)))
    if len(words) > 2:
        raise Malformed(f"it has {len(words)} lists of flags", "write flags, or flags,ignored")
    ignored = _bits(words[1].upper(), TCP_FLAGS) if len(words) == 2 else 0
    found = _BITS.fullmatch(words[0])
    if found is None or (found[1] and found[3]):
        raise Malformed(f"{words[0][:40]!r} are no flags", f"letters {''.join(TCP_FLAGS)}, and + * or ! before them")
    sign = found[1] or found[3]
    test = _bit_test("tcp.flags", TCP_FLAGS, sign, found[2], ignored)
    named = _bits(found[2].upper(), TCP_FLAGS)
    if not named and sign in ("", "+"):
        test = HeaderBits("tcp.flags", "exactly", 0)
    draft.header_tests.append(test)
    if sign in ("!", "*"):
        among = [group for group in (_BEGINS_OR_ENDS, _UNUSUAL) if named & group and (sign == "!" or named & ~group)]
        among += [_SYN] if sign == "*" and named & _SYN and named != _SYN else []
        draft.header_tests += [HeaderBits("tcp.flags", "any", group) for group in among]


def fragbits(draft: Draft, value: str | None) -> None:
    """``fragbits:+M``: flags of IPv4 fragments. What stands behind the letters has no effect."""
    text = unquoted(required(value))
    found = _FRAGMENT.match(text)
    if found is None:
        raise Malformed(f"{text[:40]!r} are no flags", f"letters {''.join(FRAGMENT_BITS)}, and + * or ! before them")
    draft.header_tests.append(_bit_test("ip.fragbits", FRAGMENT_BITS, found[1], found[2], 0))


def ipopts(draft: Draft, value: str | None) -> None:
    """``ipopts:rr``: an option of IPv4 is there."""
    option = unquoted(required(value)).lower()
    if option not in IP_OPTIONS:
        raise Malformed(f"{option[:40]!r} is no IP option", f"known are {' '.join(IP_OPTIONS)}")
    draft.header_tests.append(IpOption(option))


def sameip(draft: Draft, value: str | None) -> None:
    """``sameip``: source and destination are the same."""
    refuse_value(value)
    draft.header_tests.append(SameAddress())


def checksum(layer: str) -> Callable[[Draft, str | None], None]:
    """Return what ``ipv4-csum`` and the like do."""
    return partial(_checksum, layer)


def _checksum(layer: str, draft: Draft, value: str | None) -> None:
    word = unquoted(required(value)).lower()
    if word not in ("valid", "invalid"):
        raise Malformed(f"{word[:40]!r} is neither valid nor invalid")
    draft.header_tests.append(Checksum(layer, word == "valid"))


def noted(stage: str) -> Callable[[Draft, str | None], None]:
    """Return what ``decode-event`` and the like do."""
    return partial(_noted, stage)


def _noted(stage: str, draft: Draft, value: str | None) -> None:
    event = unquoted(required(value)).lower()
    if _EVENT.fullmatch(event) is None:
        raise Malformed(f"{event[:40]!r} is no event")
    if event not in EVENTS[stage]:
        if why := unnoted(stage, event):
            raise Unsupported(f"{stage}-event", why)
        raise Unsupported(f"{stage}-event", f"{event} is never noted here", nearest(event, EVENTS[stage]))
    draft.header_tests.append(Noted(stage, event))


def engine_event(draft: Draft, value: str | None) -> None:
    """``engine-event:decoder.ipv4.opt_invalid``: what was noted, by a name that says where."""
    prefix, dot, event = unquoted(required(value)).lower().partition(".")
    stage = {"decoder": "decode", "stream": "stream"}.get(prefix)
    if stage is None or not dot:
        raise Malformed(f"{prefix[:40]!r} is neither decoder nor stream", "such as decoder.ipv4.opt_invalid")
    _noted(stage, draft, event)
