"""Transport headers. Sources: RFC 9293 (TCP), RFC 768 (UDP), RFC 792 and 4443 (ICMP)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ids.capture.gather import gather
from ids.decode import checksum
from ids.decode.columns import Columns
from ids.decode.oddities import Oddity
from ids.types import I64, Anomaly, Bool

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

TCP_MIN_HEADER = 20
UDP_HEADER = 8
ICMP_HEADER = 8

_TCP = np.dtype(
    [
        ("sport", ">u2"),
        ("dport", ">u2"),
        ("seq", ">u4"),
        ("ack", ">u4"),
        ("offset", "u1"),
        ("flags", "u1"),
        ("window", ">u2"),
        ("checksum", ">u2"),
        ("urgent", ">u2"),
    ]
)
_UDP = np.dtype([("sport", ">u2"), ("dport", ">u2"), ("length", ">u2"), ("checksum", ">u2")])
_TCP_CHECKSUM, _UDP_CHECKSUM = 16, 6
_ICMP = np.dtype([("type", "u1"), ("code", "u1"), ("checksum", ">u2"), ("rest", ">u4")])

_NO_NEXT_HEADER = 59
_HIGHEST_CODE = np.full(256, -1, np.int64)
"""Of each type of ICMPv4 that is known (RFC 792, 950, 1256, 1812) the highest code; -1: it is not known."""
for _kind, _code in ((0, 0), (3, 15), (4, 0), (5, 3), (8, 0), (9, 16), (10, 0), (11, 1), (12, 2)):
    _HIGHEST_CODE[_kind] = _code
_HIGHEST_CODE[13:19] = 0


class Segments(NamedTuple):
    """Rows that have a checksum, and where what it covers begins and ends."""

    rows: I64
    start: I64
    end: I64


def decode_transport(columns: Columns, rows: I64, verify: bool, partial: bool, excuse: bool = False) -> None:
    """Decode what begins at ``l4`` of ``rows``; anything but TCP, UDP and ICMP is payload without ports.

    ``verify`` refuses wrong checksums; with ``partial``, one that was left to the sender's device is not wrong; with
    ``excuse``, a datagram's is noted in `Columns.excused` alone.
    """
    segments: list[Segments] = []
    for decode, picks in ((_tcp, _is_tcp), (_udp, _is_udp), (_icmp, _is_icmp)):
        mine = picks(columns, rows)
        count = np.count_nonzero(mine)
        if count:
            segments.append(decode(columns, rows if count == len(rows) else rows[mine]))
            rows = rows[~mine]
        if not rows.size:
            break
    else:
        columns.set_payload(rows, columns.l4[rows], columns.ip_end[rows])
        _note_misplaced(columns, rows)
    if verify:
        _verify(columns, segments, partial, excuse)


def _is_tcp(columns: Columns, rows: I64) -> Bool:
    mask: Bool = columns.proto[rows] == TCP
    return mask


def _is_udp(columns: Columns, rows: I64) -> Bool:
    mask: Bool = columns.proto[rows] == UDP
    return mask


def _is_icmp(columns: Columns, rows: I64) -> Bool:
    mask: Bool = columns.proto[rows] == np.where(columns.ip_version[rows] == 4, ICMP, ICMPV6)
    return mask


def _tcp(columns: Columns, rows: I64) -> Segments:
    at, end = columns.l4[rows], columns.ip_end[rows]
    header = gather(columns.data, at, _TCP)
    length = (header["offset"] >> 4).astype(np.int64) * 4
    keep = columns.judge(
        rows,
        (np.minimum(end, columns.frame_end[rows]) - at < TCP_MIN_HEADER, Anomaly.TCP_TRUNCATED),
        ((length < TCP_MIN_HEADER) | (length > end - at), Anomaly.TCP_BAD_OFFSET),
    )
    if keep is not None:
        rows, at, end, header, length = rows[keep], at[keep], end[keep], header[keep], length[keep]
    columns.sport[rows] = header["sport"]
    columns.dport[rows] = header["dport"]
    columns.seq[rows] = header["seq"]
    columns.ack[rows] = header["ack"]
    columns.tcp_flags[rows] = header["flags"]
    columns.window[rows] = header["window"]
    columns.set_payload(rows, at + length, end)
    return Segments(rows, at, end)


def _udp(columns: Columns, rows: I64) -> Segments:
    at, end = columns.l4[rows], columns.ip_end[rows]
    header = gather(columns.data, at, _UDP)
    length = header["length"].astype(np.int64)
    keep = columns.judge(
        rows,
        (np.minimum(end, columns.frame_end[rows]) - at < UDP_HEADER, Anomaly.UDP_TRUNCATED),
        ((length < UDP_HEADER) | (length > end - at), Anomaly.UDP_BAD_LENGTH),
    )
    if keep is not None:
        rows, at, header, length = rows[keep], at[keep], header[keep], length[keep]
    columns.sport[rows] = header["sport"]
    columns.dport[rows] = header["dport"]
    end = at + length
    columns.set_payload(rows, at + UDP_HEADER, end)
    # over IPv4 the sender may leave the checksum out; over IPv6 hosts drop such a datagram (RFC 8200 section 8.1)
    summed = (header["checksum"] != 0) | (columns.ip_version[rows] == 6)
    return Segments(rows[summed], at[summed], end[summed])


def _icmp(columns: Columns, rows: I64) -> Segments:
    at, end = columns.l4[rows], columns.ip_end[rows]
    header = gather(columns.data, at, _ICMP)
    short = np.minimum(end, columns.frame_end[rows]) - at < ICMP_HEADER
    keep = columns.judge(rows, (short, Anomaly.ICMP_TRUNCATED))
    if keep is not None:
        rows, at, end, header = rows[keep], at[keep], end[keep], header[keep]
    columns.sport[rows] = header["type"]
    columns.dport[rows] = header["code"]
    _note_unknown_icmp(columns, rows)
    columns.set_payload(rows, at + ICMP_HEADER, end)
    return Segments(rows, at, end)


def _note_unknown_icmp(columns: Columns, rows: I64) -> None:
    four = rows[columns.proto[rows] == ICMP]
    kind, code = columns.sport[four], columns.dport[four]
    highest = _HIGHEST_CODE[kind]
    columns.note(four[highest < 0], Oddity.ICMPV4_UNKNOWN_TYPE)
    columns.note(four[(highest >= 0) & (code > highest)], Oddity.ICMPV4_UNKNOWN_CODE)


def _note_misplaced(columns: Columns, rows: I64) -> None:
    """Note what is in the wrong version of IP, and what is where nothing is to follow."""
    four, proto = columns.ip_version[rows] == 4, columns.proto[rows]
    columns.note(rows[four & (proto == ICMPV6)], Oddity.IPV4_ICMPV6)
    columns.note(rows[~four & (proto == ICMP)], Oddity.IPV6_ICMPV4)
    nothing = ~four & (proto == _NO_NEXT_HEADER) & (columns.payload_len[rows] > 0)
    columns.note(rows[nothing], Oddity.IPV6_DATA_AFTER_NONE_HEADER)


def _verify(columns: Columns, segments: list[Segments], partial: bool, excuse: bool) -> None:
    """Refuse rows with a wrong checksum; what is cut off, addressed elsewhere or not summed yet cannot be judged."""
    if not segments:
        return
    rows, start, end = segments[0] if len(segments) == 1 else map(np.concatenate, zip(*segments, strict=True))
    complete = end <= columns.frame_end[rows]
    if columns.rerouted is not None:
        complete &= ~columns.rerouted[rows]
    if columns.batch.unsummed is not None:
        complete &= ~columns.batch.unsummed[rows]
    if np.count_nonzero(complete) < len(rows):
        rows, start, end = rows[complete], start[complete], end[complete]
    if not rows.size:
        return
    proto = columns.proto[rows]
    pseudo = checksum.pseudo_header(columns.address_sum[rows], proto, end - start)
    pseudo[proto == ICMP] = 0  # ICMP over IPv4 has none
    wrong = ~checksum.segments_valid(columns.data, start, end, pseudo)
    if partial:
        suspects = np.flatnonzero(wrong & (proto != ICMP) & (proto != ICMPV6))
        if suspects.size:
            at = start[suspects] + np.where(proto[suspects] == TCP, _TCP_CHECKSUM, _UDP_CHECKSUM)
            left = suspects[checksum.are_partial(columns.data, at, pseudo[suspects])]
            columns.partial[rows[left]] = True
            wrong[left] = False
    if excuse:
        datagrams = wrong & (proto != TCP)
        columns.excused[rows[datagrams]] = True
        wrong &= ~datagrams
    columns.judge(rows, (wrong, Anomaly.BAD_L4_CHECKSUM))
