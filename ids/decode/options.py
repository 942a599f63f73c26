"""IP options that hosts refuse a packet for, with all it carries. Sources: RFC 791, RFC 8200 section 4.2; what a host
does with which fault: Linux net/ipv4/ip_options.c (__ip_options_compile, with accept_source_route off, its default) and
net/ipv6/exthdrs.c (ip6_parse_tlv).

A packet that this host drops another may accept; so it is decoded to its end all the same, and is `doubtful`.

COST. A round of column arithmetic for each option of the packet that has most of them: at most 40 in IPv4, and some 70
in IPv6, as a ninth option and an eighth byte of padding are refused.
"""

from __future__ import annotations

import numpy as np

from ids.capture.gather import gather
from ids.decode.columns import Columns
from ids.decode.oddities import Oddity
from ids.types import I64, U8, Bool

_OPTION = np.dtype([("type", "u1"), ("length", "u1"), ("pointer", "u1"), ("flags", "u1")])

_END, _NOP, _RR, _TIMESTAMP, _LSRR, _CIPSO, _SSRR, _ALERT = 0, 1, 7, 68, 131, 134, 137, 148
_KNOWN = np.zeros(256, np.bool_)
_KNOWN[[_END, _NOP, _RR, _TIMESTAMP, 130, _LSRR, _CIPSO, 136, _SSRR, _ALERT]] = True  # 130, 136: security, stream id
_BIT = np.zeros(256, np.uint8)
_BIT[[_RR, _TIMESTAMP, _LSRR, _SSRR]] = 1, 2, 4, 4  # there is one source route, of either kind
_SHORTEST = np.full(256, 2, np.uint8)
_SHORTEST[[_RR, _TIMESTAMP, _LSRR, _SSRR, _ALERT]] = 3, 4, 3, 3, 4
_FIRST_POINTER = np.zeros(256, np.uint8)
_FIRST_POINTER[[_RR, _TIMESTAMP, _LSRR, _SSRR]] = 4, 5, 4, 4
_UNWANTED = np.zeros(256, np.bool_)
_UNWANTED[[_LSRR, _SSRR, _CIPSO]] = True
_STAMP_WITH_ADDRESS = (1, 3)
_OVERFLOWN = 0xF0

_PAD1, _PADN, _ROUTER_ALERT, _JUMBO = 0, 1, 5, 0xC2
_SKIP_IF_UNKNOWN = 0x3F
"""Largest type of an option that is skipped by who does not know it: the two highest bits say so."""
MAX_PADDING = 7
MAX_OPTIONS = 8
"""Bytes of padding in a row, and options of a header, that Linux takes (net.ipv6.max_dst_opts_number)."""


def refused_options(columns: Columns, rows: I64, start: I64, end: I64) -> Bool:
    """Return which IPv4 packets a host refuses for their options, which lie in ``start`` to ``end``; note why."""
    refused = np.zeros(len(rows), np.bool_)
    seen: U8 = np.zeros(len(rows), np.uint8)
    at, todo = start.copy(), np.arange(len(rows))
    while (todo := todo[at[todo] < end[todo]]).size:
        option = gather(columns.data, at[todo], _OPTION)
        kind, room = option["type"], end[todo] - at[todo]
        single = kind == _NOP
        length = np.where(single, 1, option["length"]).astype(np.int64)
        over = kind == _END
        bad_length = ~single & ~over & ((room < 2) | (length > room) | (length < _SHORTEST[kind]))
        again = seen[todo] & _BIT[kind] != 0
        wrong = _UNWANTED[kind] | _wrong_pointer(option, length)
        for mask, code in (
            (bad_length, Oddity.IPV4_OPT_INVALID_LEN),
            (~bad_length & again, Oddity.IPV4_OPT_DUPLICATE),
            (~bad_length & ~again & wrong, Oddity.IPV4_OPT_INVALID),
            (~bad_length & ~_KNOWN[kind], Oddity.IPV4_OPT_UNKNOWN),
        ):
            columns.note(rows[todo[mask]], code)
        faulty = bad_length | again | wrong
        refused[todo[faulty]] = True
        seen[todo] |= _BIT[kind]
        at[todo] += np.maximum(length, 1)
        todo = todo[~faulty & ~over]
    return refused


def _wrong_pointer(option: np.ndarray, length: I64) -> Bool:
    """Return which options that addresses or times are written into have no place for one where they say it is."""
    kind, pointer = option["type"], option["pointer"].astype(np.int64)
    first = _FIRST_POINTER[kind]
    stamp, mode = kind == _TIMESTAMP, option["flags"] & 15
    size = np.where(stamp & np.isin(mode, _STAMP_WITH_ADDRESS), 7, 3)
    wrong: Bool = (first != 0) & (pointer < first)
    writable = (kind == _RR) | stamp
    wrong |= writable & (pointer <= length) & (pointer + size > length)
    wrong |= stamp & (pointer > length) & (mode != 3) & (option["flags"] & _OVERFLOWN == _OVERFLOWN)
    return wrong


def refused_extension(columns: Columns, rows: I64, start: I64, end: I64, *, hop_by_hop: bool) -> Bool:
    """Return which IPv6 packets a host refuses for the options in ``start`` to ``end`` of one header; note why."""
    refused = np.zeros(len(rows), np.bool_)
    padding, count = np.zeros((2, len(rows)), np.int64)
    at, todo = start.copy(), np.arange(len(rows))
    unknown_code = Oddity.IPV6_HOPOPTS_UNKNOWN_OPT if hop_by_hop else Oddity.IPV6_DSTOPTS_UNKNOWN_OPT
    while (todo := todo[at[todo] < end[todo]]).size:
        option = gather(columns.data, at[todo], _OPTION)
        kind, room = option["type"], end[todo] - at[todo]
        pad1, padn = kind == _PAD1, kind == _PADN
        length = np.where(pad1, 1, option["length"].astype(np.int64) + 2)
        padding[todo] = np.where(pad1 | padn, padding[todo] + length, 0)
        count[todo] += ~(pad1 | padn)
        bad_length = ~pad1 & ((room < 2) | (length > room))
        bad_length |= (padding[todo] > MAX_PADDING) | (count[todo] > MAX_OPTIONS)
        bad_length |= _filled_padding(columns, at[todo], length, padn & (length <= MAX_PADDING))
        bad_length |= hop_by_hop & (kind == _ROUTER_ALERT) & (length != 4)
        jumbo = hop_by_hop & (kind == _JUMBO)  # no packet that is captured here is as long as one with it has to be
        unknown = ~(pad1 | padn | (hop_by_hop & (kind == _ROUTER_ALERT)) | jumbo)
        columns.note(rows[todo[bad_length]], Oddity.IPV6_EXTHDR_INVALID_OPTLEN)
        columns.note(rows[todo[~bad_length & unknown]], unknown_code)
        faulty = bad_length | jumbo | (unknown & (kind > _SKIP_IF_UNKNOWN))
        refused[todo[faulty]] = True
        at[todo] += length
        todo = todo[~faulty]
    return refused


def _filled_padding(columns: Columns, at: I64, length: I64, which: Bool) -> Bool:
    """Return which paddings hold something: a covert channel."""
    found = np.zeros(len(at), np.bool_)
    rows = np.flatnonzero(which)
    if rows.size:
        content = gather(columns.data, at[rows] + 2, np.dtype((np.uint8, MAX_PADDING - 2))).reshape(len(rows), -1)
        found[rows] = ((content != 0) & (np.arange(MAX_PADDING - 2) < (length[rows] - 2)[:, None])).any(axis=1)
    return found
