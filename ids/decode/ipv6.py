"""IPv6 headers and their extension headers. Sources: RFC 8200; RFC 4302 (AH); RFC 6946 (atomic fragments)."""

from __future__ import annotations

import numpy as np

from ids.capture.gather import gather
from ids.decode import checksum
from ids.decode.columns import GOOD, Columns, FragmentRows
from ids.types import I64, Anomaly, Bool

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

_ROUTING, _FRAGMENT, _AH = 43, 44, 51
_IS_EXTENSION: Bool = np.zeros(256, np.bool_)
_IS_EXTENSION[[0, _ROUTING, _FRAGMENT, _AH, 60]] = True  # 0: hop-by-hop, 60: destination options


def decode_ipv6(columns: Columns, rows: I64) -> None:
    """Decode the IPv6 headers of ``rows``; those that remain without anomaly have a transport header next."""
    start = columns.l3[rows]
    header = gather(columns.data, start, _HEADER)
    end = start + HEADER_LEN + header["length"].astype(np.int64)
    keep = columns.judge(
        rows,
        (columns.frame_end[rows] - start < HEADER_LEN, Anomaly.IPV6_TRUNCATED),
        (header["version"] >> 4 != 6, Anomaly.IP_BAD_VERSION),
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
        rerouted = (kind == _ROUTING) & (header["segments_left"] > 0)
        if np.count_nonzero(rerouted):
            if columns.rerouted is None:
                columns.rerouted = np.zeros(len(columns.batch), np.bool_)
            columns.rerouted[pending[rerouted]] = True
        _set_aside_fragments(columns, pending[kind == _FRAGMENT], at[kind == _FRAGMENT])
        pending = pending[_IS_EXTENSION[columns.proto[pending]] & (columns.anomaly[pending] == GOOD)]
        if not pending.size:
            break
    columns.anomaly[pending] = Anomaly.IPV6_BAD_EXTENSION
    refused = rows[columns.anomaly[rows] != GOOD]
    columns.l4[refused] = -1


def _set_aside_fragments(columns: Columns, rows: I64, at: I64) -> None:
    """Mark true fragments; one that is the whole datagram (an atomic fragment) goes on as if it were none."""
    if not rows.size:
        return
    header = gather(columns.data, at, _FRAGMENT_OFFSET)
    field = header["offset"].astype(np.int64)
    partial = (field & 0xFFF9) != 0
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
