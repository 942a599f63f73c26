"""IPv6 headers and their extension headers. Sources: RFC 8200; RFC 4302 (AH); RFC 6946 (atomic fragments)."""

from __future__ import annotations

import numpy as np

from ids.capture.gather import gather
from ids.decode import checksum
from ids.decode.columns import GOOD, Columns, FragmentRows
from ids.decode.oddities import Oddity
from ids.decode.options import refused_extension
from ids.types import I64, U8, Anomaly, Bool

HEADER_LEN = 40

MAX_EXTENSION_HEADERS = 16
"""Hosts set no limit of their own, but no honest packet has more than four or five; bounds the rounds of a batch."""

_HEADER = np.dtype(
    [
        ("version", "u1"),
        ("class_and_flow", "u1", 3),
        ("length", ">u2"),
        ("next", "u1"),
        ("hop_limit", "u1"),
        ("src_high", ">u8"),
        ("src_low", ">u8"),
        ("dst_high", ">u8"),
        ("dst_low", ">u8"),
    ]
)
_ADDRESSES = ("src_high", "src_low", "dst_high", "dst_low")
_EXTENSION = np.dtype(
    [("next", "u1"), ("length", "u1"), ("routing_type", "u1"), ("segments_left", "u1"), ("identification", ">u4")]
)
_FRAGMENT_OFFSET = np.dtype([("next", "u1"), ("reserved", "u1"), ("offset", ">u2"), ("identification", ">u4")])

_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AH, _DESTINATION = 0, 43, 44, 51, 60
_KINDS = {
    _HOP_BY_HOP: Oddity.IPV6_EXTHDR_DUPL_HH,
    _ROUTING: Oddity.IPV6_EXTHDR_DUPL_RH,
    _FRAGMENT: Oddity.IPV6_EXTHDR_DUPL_FH,
    _AH: Oddity.IPV6_EXTHDR_DUPL_AH,
    _DESTINATION: Oddity.IPV6_EXTHDR_DUPL_DH,
}
"""Extension headers, and what it is called when one is there too often."""
_INDEX = np.zeros(256, np.int64)
_INDEX[list(_KINDS)] = np.arange(len(_KINDS))
_IS_EXTENSION: Bool = np.zeros(256, np.bool_)
_IS_EXTENSION[list(_KINDS)] = True

_IS_TRANSPORT: Bool = np.zeros(256, np.bool_)
_IS_TRANSPORT[[6, 17, 58]] = True
_LEAST_BEHIND = 2


def decode_ipv6(columns: Columns, rows: I64) -> None:
    """Decode the IPv6 headers of ``rows``; those that remain without anomaly have a transport header next."""
    start = columns.l3[rows]
    header = gather(columns.data, start, _HEADER)
    end = start + HEADER_LEN + header["length"].astype(np.int64)
    keep = columns.judge(
        rows,
        (columns.frame_end[rows] - start < HEADER_LEN, Anomaly.IPV6_TRUNCATED),
        (header["version"] >> 4 != 6, Anomaly.IPV6_BAD_VERSION),
        (end > columns.wire_end[rows], Anomaly.IPV6_TRUNCATED),
    )
    if keep is not None:
        rows, start, header, end = rows[keep], start[keep], header[keep], end[keep]
    columns.ip_version[rows] = 6
    for half, name in enumerate(("high", "low")):
        columns.src[rows, half] = header[f"src_{name}"]
        columns.dst[rows, half] = header[f"dst_{name}"]
    columns.address_sum[rows] = checksum.sum_of_halves(*(header[name] for name in _ADDRESSES))
    columns.ttl[rows] = header["hop_limit"]
    columns.proto[rows] = header["next"]
    columns.l4[rows] = start + HEADER_LEN
    columns.ip_end[rows] = end
    _skip_extensions(columns, rows)


def _skip_extensions(columns: Columns, rows: I64) -> None:
    """Follow the extension headers of all rows, one header of each a round."""
    pending = rows[_IS_EXTENSION[columns.proto[rows]]]
    if not pending.size:
        return
    seen: U8 = np.zeros((len(columns.batch), len(_KINDS)), np.uint8)
    for _ in range(MAX_EXTENSION_HEADERS):
        at, kind = columns.l4[pending], columns.proto[pending]
        header = gather(columns.data, at, _EXTENSION)
        length = np.where(
            kind == _AH, (header["length"].astype(np.int64) + 2) * 4, (header["length"] + np.int64(1)) * 8
        )
        length[kind == _FRAGMENT] = 8
        keep = columns.judge(
            pending,
            (at + length > columns.ip_end[pending], Anomaly.IPV6_BAD_EXTENSION),
            (at + length > columns.frame_end[pending], Anomaly.IPV6_TRUNCATED),
        )
        if keep is not None:
            pending, at, kind, header, length = pending[keep], at[keep], kind[keep], header[keep], length[keep]
        columns.proto[pending] = header["next"]
        columns.l4[pending] = at + length
        _note_reroutes(columns, pending[(kind == _ROUTING) & (header["segments_left"] > 0)])
        columns.note(pending[(kind == _ROUTING) & (header["routing_type"] == 0)], Oddity.IPV6_RH_TYPE_0)
        _judge_order(columns, pending, kind, seen)
        for options in (_HOP_BY_HOP, _DESTINATION):
            mine = np.flatnonzero(kind == options)
            if mine.size:
                begin, end = at[mine] + 2, at[mine] + length[mine]
                refused = refused_extension(columns, pending[mine], begin, end, hop_by_hop=options == _HOP_BY_HOP)
                columns.doubt_rows(pending[mine[refused]], Anomaly.IPV6_BAD_OPTIONS)
        _set_aside_fragments(columns, pending[kind == _FRAGMENT], at[kind == _FRAGMENT])
        _refuse_cut(columns, pending, kind)
        pending = pending[_IS_EXTENSION[columns.proto[pending]] & (columns.anomaly[pending] == GOOD)]
        if not pending.size:
            break
    columns.anomaly[pending] = Anomaly.IPV6_BAD_EXTENSION
    refused = rows[columns.anomaly[rows] != GOOD]
    columns.l4[refused] = -1


def _refuse_cut(columns: Columns, rows: I64, kind: U8) -> None:
    """Refuse rows in which a transport header is to follow a header of this ``kind``, and nothing to speak of does.

    Suricata counts that as a fault of the extension headers, which end the packet, and not of the transport header.
    """
    cut = _IS_TRANSPORT[columns.proto[rows]] & (columns.ip_end[rows] - columns.l4[rows] < _LEAST_BEHIND)
    cut &= columns.anomaly[rows] == GOOD
    if np.count_nonzero(cut):
        columns.anomaly[rows[cut]] = Anomaly.IPV6_BAD_EXTENSION
        columns.proto[rows[cut]] = kind[cut]


def _note_reroutes(columns: Columns, rows: I64) -> None:
    """Note packets on their way to another address than that in the header; hosts refuse to send them on."""
    if not rows.size:
        return
    if columns.rerouted is None:
        columns.rerouted = np.zeros(len(columns.batch), np.bool_)
    columns.rerouted[rows] = True
    columns.doubt_rows(rows, Anomaly.IPV6_SOURCE_ROUTE)


def _judge_order(columns: Columns, rows: I64, kind: U8, seen: U8) -> None:
    """Note headers that stand there more often than they may, and refuse what hosts refuse of that.

    Linux takes the same header any number of times, but hop-by-hop options only in the first place, and one fragment
    header (IP6SKB_FRAGMENTED). ``seen`` counts each row's headers so far.
    """
    which = _INDEX[kind]
    before = seen[rows, which]
    misplaced = (kind == _HOP_BY_HOP) & (seen[rows].any(axis=1))
    seen[rows, which] += 1
    for number, code in enumerate(_KINDS.values()):
        columns.note(rows[(which == number) & (before >= (2 if code is Oddity.IPV6_EXTHDR_DUPL_DH else 1))], code)
    columns.doubt_rows(rows[misplaced | ((kind == _FRAGMENT) & (before > 0))], Anomaly.IPV6_BAD_ORDER)


def _set_aside_fragments(columns: Columns, rows: I64, at: I64) -> None:
    """Mark true fragments; one that is the whole datagram (an atomic fragment) goes on as if it were none."""
    if not rows.size:
        return
    header = gather(columns.data, at, _FRAGMENT_OFFSET)
    field = header["offset"].astype(np.int64)
    partial = (field & 0xFFF9) != 0
    columns.note(rows[~partial], Oddity.IPV6_EXTHDR_USELESS_FH)
    columns.note(rows[header["reserved"] != 0], Oddity.IPV6_FH_NON_ZERO_RESERVED_FIELD)
    if columns.doubt is not None:  # nothing is put together of what is refused
        doubt = columns.doubt[rows]
        refused = rows[partial & (doubt != GOOD)]
        columns.fragment[refused], columns.anomaly[refused] = True, columns.doubt[refused]
        partial &= doubt == GOOD
    chosen, header, field = rows[partial], header[partial], field[partial]
    columns.fragment[chosen] = True
    columns.anomaly[chosen] = Anomaly.FRAGMENT
    columns.set_payload(chosen, columns.l4[chosen], columns.ip_end[chosen])
    columns.fragments.append(
        FragmentRows(
            rows=chosen,
            identification=header["identification"].astype(np.uint32),
            offset=field & 0xFFF8,
            more=(field & 1) != 0,
        )
    )
