"""Events of link headers by Suricata's names: which header it is that a frame has not room for, or leads nowhere.

Decoding says only that one is cut short, or that what it carries is no IP. Few frames are so; of these the bytes are
looked at when a rule asks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ids.types import I64, Anomaly, Bool, Packets

_NULL, _ETHERNET, _PPP, _CHDLC, _LOOP, _SLL = 0, 1, 9, 104, 108, 113
_RAW = (12, 14, 101, 228, 229)
_MACS, _TYPE, _TAG = 12, 14, 4
"""Bytes of an Ethernet header before its type and with it, and of a VLAN tag."""
_MAX_TAGS = 4
_VLAN = np.array([0x8100, 0x88A8, 0x9100])
_MPLS = np.array([0x8847, 0x8848])
_PPPOE = np.array([0x8863, 0x8864])
_CARRIED = np.array([0x0800, 0x0806, 0x86DD, 0x88E7, 0x8903, 0x8926, 0x893F, *_VLAN, *_MPLS, *_PPPOE])
"""What is known to lie behind a VLAN tag: ARP and what other headers there are are no IP either, and nothing odd."""
_FAMILIES = np.array([2, 10, 23, 24, 26, 28, 30])
"""Of IP, in BSD's loopback header, by the systems that wrote it."""
_COMPRESSED = 0x002F
"""Van Jacobson's header, whole, within PPP."""
_IPV4_HEADER = 20

Finder = Callable[[Packets], I64]


def _of(packets: Packets, reason: Anomaly, *links: int) -> I64:
    """Return the frames of some link types that were not decoded for a reason."""
    rows = np.flatnonzero((packets.anomaly == np.uint8(reason)) & (packets.depth == 0))
    return rows[np.isin(packets.batch.linktype[rows], links)]


def _bytes(packets: Packets, rows: I64, at: I64 | int, size: int) -> I64:
    """Return the number, most significant byte first, in bytes of frames; -1 where they are not all there."""
    batch = packets.batch
    there = batch.caplen[rows] >= at + size
    found = np.full(len(rows), -1, np.int64)
    start = (batch.offset[rows] + at)[there]
    found[there] = 0
    for place in range(size):
        found[there] = found[there] << 8 | batch.data[start + place]
    return found


def _outer_type(packets: Packets, rows: I64) -> tuple[I64, I64, Bool]:
    """Return the types that Ethernet frames have behind the VLAN tags that are all there, where what is of that type
    begins, and whether there is a tag; the type is -1 of a frame without an Ethernet header.
    """
    at = np.full(len(rows), _TYPE)
    kind = _bytes(packets, rows, _MACS, 2)
    tagged = np.zeros(len(rows), np.bool_)
    for _ in range(_MAX_TAGS):
        more = np.isin(kind, _VLAN) & (packets.batch.caplen[rows] >= at + _TAG)
        if not more.any():
            break
        kind[more] = _bytes(packets, rows, at + 2, 2)[more]
        at[more] += _TAG
        tagged |= more
    return kind, at, tagged


def _short(*links: int) -> Finder:
    return lambda packets: _of(packets, Anomaly.TRUNCATED_LINK, *links)


def _short_ethernet(packets: Packets) -> I64:
    rows = np.flatnonzero(packets.anomaly == np.uint8(Anomaly.TRUNCATED_LINK))
    inner = packets.depth[rows] > 0
    whole = _bytes(packets, rows, _MACS, 2) < 0
    found: I64 = rows[inner | (whole & (packets.batch.linktype[rows] == _ETHERNET))]
    return found


def _short_behind(types: I64, *, label: bool | None = None) -> Finder:
    """Return what finds frames whose header behind one of these types is cut short.

    ``label``: whether a label of MPLS is all there; None: it need be none.
    """

    def find(packets: Packets) -> I64:
        rows = _of(packets, Anomaly.TRUNCATED_LINK, _ETHERNET)
        kind, at, _ = _outer_type(packets, rows)
        chosen = np.isin(kind, types)
        if label is not None:
            chosen &= (packets.batch.caplen[rows] >= at + _TAG) == label
        return rows[chosen]

    return find


def _unknown_behind_tag(packets: Packets) -> I64:
    rows = _of(packets, Anomaly.NOT_IP, _ETHERNET)
    kind, _, tagged = _outer_type(packets, rows)
    return rows[tagged & (kind >= 0) & ~np.isin(kind, _CARRIED)]


def _unknown_family(packets: Packets) -> I64:
    rows = _of(packets, Anomaly.NOT_IP, _NULL, _LOOP)
    family = _bytes(packets, rows, 0, 4)
    found: I64 = rows[~np.isin(family, _FAMILIES) & ~np.isin(family >> 24, _FAMILIES)]
    return found


def _unknown_in_ppp(packets: Packets) -> I64:
    rows = _of(packets, Anomaly.NOT_IP, _PPP)
    kind = _bytes(packets, rows, 2, 2)
    found: I64 = rows[(kind >= 0) & (kind != _COMPRESSED)]
    return found


def _no_version(packets: Packets) -> I64:
    rows = np.concatenate([_of(packets, reason, *_RAW) for reason in (Anomaly.NOT_IP, Anomaly.IP_BAD_VERSION)])
    version = _bytes(packets, rows, 0, 1) >> 4
    found: I64 = rows[(packets.batch.caplen[rows] >= _IPV4_HEADER) & (version != 4) & (version != 6)]
    return found


LINKS: dict[str, Finder] = {
    "ethernet.pkt_too_small": _short_ethernet,
    "sll.pkt_too_small": _short(_SLL),
    "ltnull.pkt_too_small": _short(_NULL, _LOOP),
    "chdlc.pkt_too_small": _short(_CHDLC),
    "ppp.pkt_too_small": _short(_PPP),
    "vlan.header_too_small": _short_behind(_VLAN),
    "mpls.header_too_small": _short_behind(_MPLS, label=False),
    "mpls.pkt_too_small": _short_behind(_MPLS, label=True),
    "pppoe.pkt_too_small": _short_behind(_PPPOE),
    "vlan.unknown_type": _unknown_behind_tag,
    "ltnull.unsupported_type": _unknown_family,
    "ppp.unsup_proto": _unknown_in_ppp,
    "ppp.ip4_pkt_too_small": lambda packets: _of(packets, Anomaly.IPV4_TRUNCATED, _PPP),
    "ppp.ip6_pkt_too_small": lambda packets: _of(packets, Anomaly.IPV6_TRUNCATED, _PPP),
    "ipraw.invalid_ip_version": _no_version,
}
"""What finds the rows with an event of the link layer."""
