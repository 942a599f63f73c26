"""Link headers: where each frame's network header begins, and of what kind it is.

Sources: the LINKTYPE_ list of libpcap (pcap-linktype(7), tcpdump.org/linktypes.html), IEEE 802.1Q, 802.1ah, 802.1BR,
RFC 2516 (PPPoE), RFC 1661 (PPP), RFC 3032 (MPLS), RFC 4448 (Ethernet over MPLS).

Between the link header and the IP header there may be any number of tags and labels, in any order. They are taken off
in rounds, one of each row a round.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ids.capture.gather import gather
from ids.decode.columns import Columns
from ids.types import I64, U16, Anomaly, Bool, ascending

IPV4 = 0x0800
IPV6 = 0x86DD
PPPOE_SESSION = 0x8864
ETHERNET = 0x6558
"""An Ethernet frame within something (RFC 1701: transparent Ethernet bridging)."""
MPLS = 0x8847
_MPLS = (MPLS, 0x8848)
ERSPAN, ERSPAN3 = 0x88BE, 0x22EB
"""A mirrored frame behind a header, of type II or III, that has the VLAN it was mirrored from."""
_VLAN = (0x8100, 0x88A8, 0x9100, 0x9200)  # 802.1Q, 802.1ad, and what was used for stacking before 802.1ad
_FIXED = {0x8926: (4, 6), 0x893F: (6, 8), 0x88E7: (16, 18), 0x8903: (14, 16), ETHERNET: (12, 14)}
"""Headers of one length: where the EtherType of what follows is, and how long they are. VN-Tag, 802.1BR, 802.1ah,
FabricPath (a tag of two bytes before another frame)."""
_NO_KIND = 0

MAX_LINK_HEADERS = 16
"""Tags and labels in front of an IP header. Linux takes off any number of VLAN tags, so two or three are no limit; but
no honest frame has more than a handful. Bounds the rounds of a batch; Suricata's decoder.max-layers is as large."""

TAGS_KEPT = 3
"""As many VLAN ids as `Packets.vlan` has room for."""

_BE16 = np.dtype(">u2")
_BE32 = np.dtype(">u4")
_BYTE = np.dtype("u1")
_TAG = np.dtype([("tci", ">u2"), ("kind", ">u2")])
_PPPOE = np.dtype([("version", "u1"), ("code", "u1"), ("session", ">u2"), ("length", ">u2")])
_ERSPAN = np.dtype([("tci", ">u2"), ("session", ">u2"), ("rest", "u1", 7), ("flags", "u1")])
_ERSPAN_HEADER, _ERSPAN3_HEADER, _ERSPAN3_TRAILER = 8, 12, 8
_PPP_FRAMING = 0xFF03

_AF_INET6 = (10, 23, 24, 28, 30)  # Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS


def decode_link(columns: Columns) -> None:
    """Find ``l3`` and ``kind`` of every frame; refuse frames that carry no IP."""
    linktype = columns.batch.linktype
    if not len(linktype):
        return
    uniform = not np.count_nonzero(linktype != linktype[0])
    for number in [int(linktype[0])] if uniform else ascending(linktype).tolist():
        rows = np.arange(len(linktype)) if uniform else np.flatnonzero(linktype == number)
        start = columns.batch.offset[rows]
        layer = _LAYERS.get(number)
        if layer is None:
            columns.anomaly[rows] = Anomaly.UNKNOWN_LINKTYPE
            continue
        columns.l3[rows], columns.kind[rows], need = layer(columns, start)
        columns.judge(rows, (columns.frame_end[rows] < start + need, Anomaly.TRUNCATED_LINK))
    _override_kind(columns)
    if np.count_nonzero(_not_ip(columns)):
        _peel(columns)
        columns.anomaly[_not_ip(columns) & columns.good()] = Anomaly.NOT_IP


def _override_kind(columns: Columns) -> None:
    """Set the kind of rows whose tunnel's header says what comes next."""
    if columns.given_kind is not None:
        given = np.flatnonzero(columns.given_kind)
        columns.kind[given] = columns.given_kind[given]
        columns.l3[given] = columns.batch.offset[given]


def _not_ip(columns: Columns) -> Bool:
    neither: Bool = (columns.kind != IPV4) & (columns.kind != IPV6)
    return neither


def network_start(columns: Columns, rows: I64) -> tuple[I64, U16]:
    """Return where the header behind the link header begins in ``rows``, and its EtherType: 0 where that is unknown."""
    start = columns.batch.offset[rows]
    kind = np.full(len(rows), _NO_KIND, np.uint16)
    for number in ascending(columns.batch.linktype[rows]).tolist():
        layer = _LAYERS.get(number)
        if layer is not None:
            mine = columns.batch.linktype[rows] == number
            start[mine], kind[mine], _ = layer(columns, start[mine])
    return start, kind


_Layer = Callable[[Columns, I64], tuple[I64, U16, "I64 | int"]]
"""Takes where frames begin; returns where the next header begins, its kind, and how many link bytes there must be."""


def _fixed(type_at: int, length: int) -> _Layer:
    """Make a layer of ``length`` bytes with an EtherType at ``type_at``."""

    def layer(columns: Columns, start: I64) -> tuple[I64, U16, I64 | int]:
        return start + length, gather(columns.data, start + type_at, _BE16).astype(np.uint16), length

    return layer


def _always(kind: int) -> _Layer:
    def layer(columns: Columns, start: I64) -> tuple[I64, U16, I64 | int]:
        return start, np.full(len(start), kind, np.uint16), 0

    return layer


def _raw(columns: Columns, start: I64) -> tuple[I64, U16, I64 | int]:
    return start, _by_version(columns, start), 1


def _loopback(columns: Columns, start: I64) -> tuple[I64, U16, I64 | int]:
    """BSD loopback: an address family of four bytes, in the byte order of whoever wrote the capture (LOOP: big)."""
    big = gather(columns.data, start, _BE32)
    family = np.where(big > 0xFFFF, big.byteswap(), big).astype(np.uint32)
    kind = np.zeros(len(start), np.uint16)
    kind[family == 2] = IPV4
    kind[np.isin(family, _AF_INET6)] = IPV6
    return start + 4, kind, 4


def _ppp(columns: Columns, start: I64) -> tuple[I64, U16, I64 | int]:
    """PPP, with or without address and control (FF 03), its protocol field maybe compressed to one byte."""
    framed = gather(columns.data, start, _BE16) == _PPP_FRAMING
    following, kind = _ppp_protocol(columns, start + np.where(framed, 2, 0))
    return following, kind, following - start


_LAYERS: dict[int, _Layer] = {
    0: _loopback,
    1: _fixed(12, 14),
    9: _ppp,
    12: _raw,
    14: _raw,
    50: _ppp,
    101: _raw,
    104: _fixed(2, 4),
    108: _loopback,
    113: _fixed(14, 16),
    228: _always(IPV4),
    229: _always(IPV6),
    276: _fixed(0, 20),
}
"""Link types by LINKTYPE_ number: NULL, Ethernet, PPP, RAW (and its two DLT numbers), PPP_HDLC, C_HDLC, LOOP,
LINUX_SLL, IPV4, IPV6, LINUX_SLL2."""


def _ppp_protocol(columns: Columns, at: I64) -> tuple[I64, U16]:
    """Read PPP's protocol field, one byte or two; return where it ends, and the EtherType of what follows."""
    protocol = gather(columns.data, at, _BE16).astype(np.uint16)
    short = (protocol & 0x100) != 0
    protocol = np.where(short, protocol >> 8, protocol).astype(np.uint16)
    kind = np.full(len(protocol), _NO_KIND, np.uint16)
    for number, ethertype in ((0x0021, IPV4), (0x0057, IPV6), (0x0281, MPLS)):
        kind[protocol == number] = ethertype
    return at + np.where(short, 1, 2), kind


def _by_version(columns: Columns, at: I64) -> U16:
    """Distinguish IPv4 from IPv6 by the first half byte, where nothing else does."""
    version = gather(columns.data, at, _BYTE) >> 4
    kind = np.full(len(at), _NO_KIND, np.uint16)
    kind[version == 4] = IPV4
    kind[version == 6] = IPV6
    return kind


def _rows_of(columns: Columns, kinds: tuple[int, ...]) -> I64:
    """Return the rows still good whose next header is one of ``kinds``."""
    mask = columns.kind == kinds[0]
    for kind in kinds[1:]:
        mask |= columns.kind == kind
    mask &= columns.good()
    return np.flatnonzero(mask)


def _enough(columns: Columns, rows: I64, length: int) -> I64:
    """Refuse the rows that do not hold ``length`` more bytes of link header; return the others."""
    keep = columns.judge(rows, (columns.frame_end[rows] - columns.l3[rows] < length, Anomaly.TRUNCATED_LINK))
    return rows if keep is None else rows[keep]


def _peel(columns: Columns) -> None:
    """Take tags and labels off, one of each row a round, until every row is at IP or at something unknown."""
    for _ in range(MAX_LINK_HEADERS):
        peeled = False
        for kinds, step in _STEPS:
            rows = _rows_of(columns, kinds)
            if rows.size:
                peeled = True
                step(columns, rows)
        if not peeled:
            return
    for kinds, _step in _STEPS:
        columns.anomaly[_rows_of(columns, kinds)] = Anomaly.TOO_MANY_VLAN_TAGS


def _peel_vlan(columns: Columns, rows: I64) -> None:
    rows = _enough(columns, rows, 4)
    tag = gather(columns.data, columns.l3[rows], _TAG)
    _keep_vlan(columns, rows, tag["tci"])
    columns.kind[rows] = tag["kind"]
    columns.l3[rows] += 4


def _keep_vlan(columns: Columns, rows: I64, tci: U16) -> None:
    vlan = (tci & 0xFFF).astype(np.uint64)
    depth = columns.tags[rows]
    # VLAN 0 is a mere priority: hosts take such a frame as one without that tag (802.1Q)
    kept = np.flatnonzero((vlan != 0) & (depth < TAGS_KEPT))
    columns.vlan[rows[kept]] |= vlan[kept] << (depth[kept] * np.uint64(16))
    columns.tags[rows[kept]] += np.uint8(1)


def _peel_erspan(columns: Columns, rows: I64) -> None:
    rows = _enough(columns, rows, _ERSPAN_HEADER)
    header = gather(columns.data, columns.l3[rows], _ERSPAN)
    _keep_vlan(columns, rows, header["tci"])
    third = columns.kind[rows] == ERSPAN3
    size = _ERSPAN3_HEADER + np.where(header["flags"] & 1 != 0, _ERSPAN3_TRAILER, 0)
    columns.kind[rows] = ETHERNET
    columns.l3[rows] += np.where(third, size, _ERSPAN_HEADER)


def _peel_fixed(columns: Columns, rows: I64) -> None:
    for number, (type_at, length) in _FIXED.items():
        mine = _enough(columns, rows[columns.kind[rows] == number], length)
        if mine.size:
            columns.kind[mine] = gather(columns.data, columns.l3[mine] + type_at, _BE16)
            columns.l3[mine] += length


def _peel_pppoe(columns: Columns, rows: I64) -> None:
    rows = _enough(columns, rows, _PPPOE.itemsize + 1)
    header = gather(columns.data, columns.l3[rows], _PPPOE)
    session = (header["version"] == 0x11) & (header["code"] == 0)
    following, kind = _ppp_protocol(columns, columns.l3[rows] + _PPPOE.itemsize)
    columns.kind[rows] = np.where(session, kind, _NO_KIND)
    columns.l3[rows] = following


def _peel_mpls(columns: Columns, rows: I64) -> None:
    rows = _enough(columns, rows, 4)
    bottom = gather(columns.data, columns.l3[rows], _BE32) & 0x100 != 0
    columns.l3[rows] += 4
    last = rows[bottom]
    if not last.size:
        return
    kind = _by_version(columns, columns.l3[last])
    columns.kind[last] = kind
    other = last[kind == _NO_KIND]
    if other.size:
        _enter_pseudowire(columns, other)


def _enter_pseudowire(columns: Columns, rows: I64) -> None:
    """Take what MPLS carries for an Ethernet frame: behind a control word of four bytes, where there seems to be one.

    Nothing says so; the EtherType decides.
    """
    at = columns.l3[rows]
    worded = gather(columns.data, at, _BYTE) >> 4 == 0
    worded &= np.isin(gather(columns.data, at + 4 + 12, _BE16), _BEHIND_ETHERNET)
    columns.l3[rows] = at + np.where(worded, 4, 0)
    columns.kind[rows] = ETHERNET


_STEPS: tuple[tuple[tuple[int, ...], Callable[[Columns, I64], None]], ...] = (
    (_VLAN, _peel_vlan),
    (tuple(_FIXED), _peel_fixed),
    ((PPPOE_SESSION,), _peel_pppoe),
    (_MPLS, _peel_mpls),
    ((ERSPAN, ERSPAN3), _peel_erspan),
)
_BEHIND_ETHERNET = (IPV4, IPV6, PPPOE_SESSION, *_MPLS, *_VLAN)
