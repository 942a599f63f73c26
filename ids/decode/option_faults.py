"""What is wrong with options of IPv4, and with extension headers of IPv6, by Suricata's events: for rules that ask.

What a host refuses for its options is judged while decoding (`ids.decode.options`), and makes `anomaly` events. Rules
mean what Suricata calls by the same names, which is less and more than what hosts refuse. Few packets have options, so
theirs are looked at when a rule asks first. Sources: RFC 791, RFC 1108, RFC 2113, RFC 4782, CIPSO 2.2; RFC 8200, RFC
4302.

COST. A round of column arithmetic for each option of the packet that has most of them: bounded by the 40 bytes of
IPv4's, by `MAX_ROUNDS` in IPv6.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ids.capture.gather import gather
from ids.decode.columns import GOOD
from ids.types import I64, U8, Anomaly, Bool, Packets, ascending

_BYTE = np.dtype("u1")
_OPTION = np.dtype([("kind", "u1"), ("length", "u1"), ("third", "u1"), ("fourth", "u1")])
_V4_HEADER, _V6_HEADER = 20, 40
_READ_4 = (GOOD, np.uint8(Anomaly.IPV4_BAD_OPTIONS), np.uint8(Anomaly.FRAGMENT), np.uint8(Anomaly.BAD_IP_CHECKSUM))
"""Reasons for which a packet was refused although its IPv4 header is whole."""

MAX_ROUNDS = 64
"""Headers of a packet, and options of a header, that are looked at; what has more is refused by hosts."""

_END, _NOP, _RR, _QUICK_START, _TIMESTAMP = 0, 1, 7, 25, 68
_SECURITY, _LSRR, _EXTENDED, _CIPSO, _STREAM, _SSRR, _ALERT = 130, 131, 133, 134, 136, 137, 148
_KINDS = (_RR, _QUICK_START, _TIMESTAMP, _SECURITY, _LSRR, _EXTENDED, _CIPSO, _STREAM, _SSRR, _ALERT)
_INDEX = np.full(256, -1, np.int64)
_INDEX[list(_KINDS)] = np.arange(len(_KINDS))
_SHORTEST, _LONGEST = np.full(256, 2), np.full(256, 255)
_SHORTEST[[_RR, _LSRR, _SSRR, _TIMESTAMP, _CIPSO, _SECURITY, _EXTENDED]] = 3, 3, 3, 5, 10, 3, 3
_SHORTEST[_QUICK_START] = 8
_SHORTEST[[_STREAM, _ALERT]] = _LONGEST[[_STREAM, _ALERT]] = 4, 4
_ROUTES = np.array([_RR, _LSRR, _SSRR])
_CIPSO_HEAD, _LEAST_TAG = 6, 4
_TAGS = (1, 2, 5, 6, 7)

_EXTENSIONS = np.array([0, 43, 44, 51, 60, 135, 139, 140])
_MOST = np.full(256, MAX_ROUNDS)
_MOST[0], _MOST[60] = 1, 2
"""How many headers with options of a kind are looked at; one more is a fault of its own."""
_HOP_BY_HOP, _FRAGMENT, _AH, _DESTINATION = 0, 44, 51, 60
_PAD1, _PADN = 0, 1
_ALERT_6, _JUMBO, _HOME = 5, 0xC2, 0xC9
_LEAST_6 = np.full(256, -1, np.int64)
_LEAST_6[[_ALERT_6, _JUMBO, _HOME]] = 2, 4, 16
"""Bytes that the options with a name hold at least."""

_Rows = dict[str, list[I64]]


def _options_4(packets: Packets) -> _Rows:
    """Return the rows with each fault of IPv4's options."""
    none = np.zeros(0, np.int64)
    found: _Rows = {name: [none] for name in ("pad", "end", "length", "unknown", "malformed", "again")}
    data = packets.batch.data
    known = (packets.ip_version == 4) & (packets.l3 >= 0) & np.isin(packets.anomaly, _READ_4)
    rows = np.flatnonzero(known | ((packets.ip_version == 4) & packets.doubtful))
    size = (gather(data, packets.l3[rows], _BYTE).astype(np.int64) & 15) * 4 - _V4_HEADER
    rows, size = rows[size > 0], size[size > 0]
    found["pad"].append(rows[size % 8 != 0])
    at = packets.l3[rows] + _V4_HEADER
    end = at + size
    seen = np.zeros((len(rows), len(_KINDS)), np.bool_)
    todo = np.arange(len(rows))
    while (todo := todo[at[todo] < end[todo]]).size:
        option, room = gather(data, at[todo], _OPTION), end[todo] - at[todo]
        kind, length = option["kind"], option["length"].astype(np.int64)
        single, over = kind == _NOP, kind == _END
        lonely = ~single & ~over & (room < 2)
        bad = ~single & ~over & ~lonely & ((length > room) | (length < 2))
        sound = ~single & ~over & ~lonely & ~bad
        which = _INDEX[kind]
        again = sound & (which >= 0) & seen[todo, which]
        wrong = sound & (which >= 0) & ~again & ((length < _SHORTEST[kind]) | (length > _LONGEST[kind]))
        fits = sound & (which >= 0) & ~again & ~wrong
        odd = fits & (_wrong_pointer(option, length) | _wrong_tags(data, at[todo], length, fits & (kind == _CIPSO)))
        for name, mask in (
            ("end", lonely), ("length", bad | wrong), ("unknown", sound & (which < 0)), ("malformed", odd),
            ("again", again),
        ):  # fmt: skip
            found[name].append(rows[todo[mask]])
        kept = fits & ~odd
        seen[todo[kept], which[kept]] = True
        at[todo] += np.where(single, 1, length)
        todo = todo[~over & ~lonely & ~bad]
    return found


def _wrong_pointer(option: np.ndarray, length: I64) -> Bool:
    """Return which routes and timestamps have a pointer to where none of their entries begins."""
    kind, pointer = option["kind"], option["third"].astype(np.int64)
    beyond = pointer > length + 1
    route = np.isin(kind, _ROUTES) & ((pointer < 4) | (pointer % 4 != 0) | beyond)
    entry = np.where(np.isin(option["fourth"] & 15, (1, 3)), 8, 4)
    stamp = (kind == _TIMESTAMP) & ((pointer < 5) | ((pointer - 5) % entry != 0) | beyond)
    wrong: Bool = stamp | route
    return wrong


def _wrong_tags(data: U8, at: I64, length: I64, which: Bool) -> Bool:
    """Return which labels of CIPSO have a tag that is reserved, or does not fit."""
    wrong = np.zeros(len(at), np.bool_)
    todo = np.flatnonzero(which)
    at, end = at + _CIPSO_HEAD, at + length
    while (todo := todo[at[todo] < end[todo]]).size:
        tag, room = gather(data, at[todo], _OPTION), end[todo] - at[todo]
        size = tag["length"].astype(np.int64)
        bad = (size < _LEAST_TAG) | (size > room) | ~np.isin(tag["kind"], _TAGS) | (tag["third"] != 0)
        wrong[todo[bad]] = True
        at[todo] += size
        todo = todo[~bad]
    return wrong


def _headers_6(packets: Packets, kind: int) -> tuple[I64, I64, I64]:
    """Return the rows of all extension headers of a kind, where they begin, and where their packets end."""
    data = packets.batch.data
    rows = np.flatnonzero((packets.ip_version == 6) & (packets.l3 >= 0))
    start = packets.l3[rows]
    following = gather(data, start + 6, _BYTE)
    begun = np.isin(following, _EXTENSIONS)
    rows, start, following = rows[begun], start[begun], following[begun]
    end = np.minimum(
        start + _V6_HEADER + (gather(data, start + 4, np.dtype(">u2")).astype(np.int64)),
        packets.batch.offset[rows] + packets.batch.caplen[rows],
    )
    at = start + _V6_HEADER
    seen = np.zeros((len(rows), 256), np.uint8)
    mine: list[tuple[I64, I64, I64]] = [(rows[:0], rows[:0], rows[:0])]
    for _ in range(MAX_ROUNDS):
        header = gather(data, at, _OPTION)
        units = header["length"].astype(np.int64)
        size = np.where(following == _AH, (units + 2) * 4, (units + 1) * 8)
        size[following == _FRAGMENT] = 8
        each = np.arange(len(rows))
        whole = at + size <= end
        chosen = whole & (following == kind) & (seen[each, following] < _MOST[following])
        seen[each, following] += 1
        mine.append((rows[chosen], at[chosen], at[chosen] + size[chosen]))
        later = (following == _FRAGMENT) & ((header["third"] != 0) | (header["fourth"] & 0xF8 != 0))
        more = whole & np.isin(header["kind"], _EXTENSIONS) & ~later
        if not more.any():
            break
        rows, end, following, at, seen = rows[more], end[more], header["kind"][more], (at + size)[more], seen[more]
    return tuple(map(np.concatenate, zip(*mine, strict=True)))  # type: ignore[return-value]


def _options_6(packets: Packets, kind: int) -> _Rows:
    """Return the rows with options that have no name or a wrong length, and of headers that have padding alone."""
    data = packets.batch.data
    rows, begin, end = _headers_6(packets, kind)
    at, todo = begin + 2, np.arange(len(rows))
    padded, other = np.zeros((2, len(rows)), np.bool_)
    unknown: list[I64] = [rows[:0]]
    wrong: list[I64] = [rows[:0]]
    for _ in range(MAX_ROUNDS):
        todo = todo[at[todo] < end[todo]]
        if not todo.size:
            break
        option, room = gather(data, at[todo], _OPTION), end[todo] - at[todo]
        number, length = option["kind"], option["length"].astype(np.int64)
        single, least = number == _PAD1, _LEAST_6[number]
        bad = ~single & ((room < 2) | (length + 1 > room) | (length < least))
        strange = ~bad & ~single & (number != _PADN) & (least < 0)
        padded[todo] |= ~bad & (single | (number == _PADN))
        other[todo] |= strange | (~bad & ((number == _ALERT_6) | (number == _HOME)))
        unknown.append(rows[todo[strange]])
        wrong.append(rows[todo[bad]])
        at[todo] += np.where(single, 1, length + 2)
        todo = todo[~bad]
    return {"unknown": unknown, "wrong": wrong, "padding": [rows[padded & ~other]]}


def _of(judge: Callable[[Packets], _Rows], name: str) -> Callable[[Packets], I64]:
    return lambda packets: ascending(np.concatenate(judge(packets)[name]))


def _of_headers(name: str, *kinds: int) -> Callable[[Packets], I64]:
    return lambda packets: ascending(
        np.concatenate([rows for kind in kinds for rows in _options_6(packets, kind)[name]])
    )


def _reserved_in_ah(packets: Packets) -> I64:
    rows, at, _ = _headers_6(packets, _AH)
    header = gather(packets.batch.data, at, _OPTION)
    return ascending(rows[(header["third"] != 0) | (header["fourth"] != 0)])


OPTIONS: dict[str, Callable[[Packets], I64]] = {
    "ipv4.opt_pad_required": _of(_options_4, "pad"),
    "ipv4.opt_eol_required": _of(_options_4, "end"),
    "ipv4.opt_invalid_len": _of(_options_4, "length"),
    "ipv4.opt_invalid": _of(_options_4, "unknown"),
    "ipv4.opt_unknown": _of(_options_4, "unknown"),
    "ipv4.opt_malformed": _of(_options_4, "malformed"),
    "ipv4.opt_duplicate": _of(_options_4, "again"),
    "ipv6.hopopts_unknown_opt": _of_headers("unknown", _HOP_BY_HOP),
    "ipv6.dstopts_unknown_opt": _of_headers("unknown", _DESTINATION),
    "ipv6.hopopts_only_padding": _of_headers("padding", _HOP_BY_HOP),
    "ipv6.dstopts_only_padding": _of_headers("padding", _DESTINATION),
    "ipv6.exthdr_invalid_optlen": _of_headers("wrong", _HOP_BY_HOP, _DESTINATION),
    "ipv6.exthdr_ah_res_not_null": _reserved_in_ah,
}
"""What finds the rows with a fault, by the event's name."""
