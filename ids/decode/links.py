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
_MACS, _TYPE, _TAG, _VNTAG_SIZE = 12, 14, 4, 6
"""Bytes of an Ethernet header before its type and with it, of a VLAN tag, and of a VN-Tag."""
_MAX_TAGS = 4
_VLAN = np.array([0x8100, 0x88A8, 0x9100])
_VNTAG, _BACKBONE, _FABRIC = (np.array([kind]) for kind in (0x8926, 0x88E7, 0x8903))
"""VN-Tag, the backbone tag of 802.1ah, and Cisco's FabricPath."""
_DISCOVERY = np.array([0x8863])
_MPLS = np.array([0x8847, 0x8848])
_PPPOE = np.array([0x8863, 0x8864])
_CARRIED = np.array([0x0800, 0x0806, 0x86DD, 0x88E7, 0x8903, 0x8926, 0x893F, *_VLAN, *_MPLS, *_PPPOE])
"""What is known to lie behind a VLAN tag: ARP and what other headers there are are no IP either, and nothing odd."""
_FAMILIES = np.array([2, 10, 23, 24, 26, 28, 30])
"""Of IP, in BSD's loopback header, by the systems that wrote it."""
_COMPRESSED = 0x002F
"""Van Jacobson's header, whole, within PPP."""
_CARRIED_IN_PPP = np.array([0x21, 0x57, _COMPRESSED])
_NAMED_IN_PPP = np.array([
    0x23, 0x25, 0x27, 0x29, 0x2B, 0x2D, 0x31, 0x33, 0x35, 0x201, 0x231, 0x233, 0x281, 0x283, 0x8021, 0x8023, 0x8025,
    0x8027, 0x8029, 0x802B, 0x8033, 0x8035, 0x8057, 0x80FD, 0x8281, 0xC021, 0xC023, 0xC025, 0xC223,
])  # fmt: skip
"""Protocols of PPP that have a name (IANA) and are not read here."""
_PPP_FRAMING = 0xFF03
_PPPOE_HEADER = 6
_CODES = np.array([0x07, 0x09, 0x19, 0x65, 0xA7])
"""Of PPPoE's discovery (RFC 2516)."""
_IPV4_HEADER, _IPV6_HEADER = 20, 40
_LABEL, _LEAST_LABELLED = 4, 4
_MAX_LABELS = 16
_ALERT_LABEL, _NO_LABEL, _RESERVED_LABELS = 1, 3, (4, 14)
"""Labels of MPLS that are not the last one (RFC 3032): router alert, implicit null, those without a meaning yet."""

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


def _outer_type(packets: Packets, rows: I64) -> tuple[I64, I64, I64]:
    """Return the types that Ethernet frames have behind the tags that are all there, where what is of that type
    begins, and the type of the last tag, 0: there is none; the type is -1 of a frame without an Ethernet header.
    """
    at = np.full(len(rows), _TYPE)
    kind = _bytes(packets, rows, _MACS, 2)
    tag = np.zeros(len(rows), np.int64)
    for _ in range(_MAX_TAGS):
        size = np.where(np.isin(kind, _VLAN), _TAG, np.where(np.isin(kind, _VNTAG), _VNTAG_SIZE, 0))
        more = (size > 0) & (packets.batch.caplen[rows] >= at + size)
        if not more.any():
            break
        tag[more] = kind[more]
        kind[more] = _bytes(packets, rows, at + size - 2, 2)[more]
        at[more] += size[more]
    return kind, at, tag


def _short(*links: int) -> Finder:
    return lambda packets: _of(packets, Anomaly.TRUNCATED_LINK, *links)


def _short_ethernet(packets: Packets) -> I64:
    rows = np.flatnonzero(packets.anomaly == np.uint8(Anomaly.TRUNCATED_LINK))
    inner = packets.depth[rows] > 0
    whole = _bytes(packets, rows, _MACS, 2) < 0
    found: I64 = rows[inner | (whole & (packets.batch.linktype[rows] == _ETHERNET))]
    return found


def _short_behind(types: I64) -> Finder:
    """Return what finds frames whose header behind one of these types is cut short."""

    def find(packets: Packets) -> I64:
        rows = _of(packets, Anomaly.TRUNCATED_LINK, _ETHERNET)
        kind, _, _ = _outer_type(packets, rows)
        return rows[np.isin(kind, types)]

    return find


def _unknown_behind(tags: I64) -> Finder:
    """Return what finds frames with something unknown behind a tag of one of these types."""

    def find(packets: Packets) -> I64:
        rows = _of(packets, Anomaly.NOT_IP, _ETHERNET)
        kind, _, tag = _outer_type(packets, rows)
        return rows[np.isin(tag, tags) & (kind >= 0) & ~np.isin(kind, _CARRIED)]

    return find


def _labelled(packets: Packets) -> tuple[I64, I64, I64]:
    """Return the rows of Ethernet frames that carry MPLS, their last label, and where what it carries begins.

    The label is -1 where the frame ends before the last.
    """
    rows = np.flatnonzero((packets.depth == 0) & (packets.batch.linktype == _ETHERNET))
    kind, at, _ = _outer_type(packets, rows)
    mine = np.isin(kind, _MPLS)
    rows, at = rows[mine], at[mine]
    label, more = np.full(len(rows), -1), np.ones(len(rows), np.bool_)
    for _ in range(_MAX_LABELS):
        if not more.any():
            break
        word = _bytes(packets, rows, at, _LABEL)
        there = more & (word >= 0)
        at[there] += _LABEL
        last = there & (word & 0x100 != 0)
        label[last] = word[last] >> 12
        more = there & ~last
    return rows, label, at


def _labels(lowest: int, highest: int) -> Finder:
    """Return what finds packets whose last label lies between two numbers."""

    def find(packets: Packets) -> I64:
        rows, label, _ = _labelled(packets)
        found: I64 = rows[(label >= lowest) & (label <= highest)]
        return found

    return find


def _short_labels(packets: Packets) -> I64:
    rows, label, _ = _labelled(packets)
    found: I64 = rows[(label < 0) & (packets.anomaly[rows] == np.uint8(Anomaly.TRUNCATED_LINK))]
    return found


def _nothing_labelled(packets: Packets) -> I64:
    rows, label, at = _labelled(packets)
    found: I64 = rows[(label > _RESERVED_LABELS[1]) & (packets.batch.caplen[rows] < at + _LEAST_LABELLED)]
    return found


def _unknown_labelled(packets: Packets) -> I64:
    """Return the rows of what is labelled as anything, and is neither IP nor a frame that could be read."""
    rows, label, at = _labelled(packets)
    nibble = _bytes(packets, rows, at, _LEAST_LABELLED) >> 28
    unread = np.isin(packets.anomaly[rows], (Anomaly.NOT_IP, Anomaly.TRUNCATED_LINK))
    found: I64 = rows[(label > _RESERVED_LABELS[1]) & unread & (nibble > 0) & (nibble != 4) & (nibble != 6)]
    return found


def _discovery(packets: Packets) -> tuple[I64, I64]:
    """Return the rows with a whole header of PPPoE's discovery, and where it begins."""
    rows = _of(packets, Anomaly.NOT_IP, _ETHERNET)
    kind, at, _ = _outer_type(packets, rows)
    mine = np.isin(kind, _DISCOVERY) & (packets.batch.caplen[rows] >= at + _PPPOE_HEADER)
    return rows[mine], at[mine]


def _short_pppoe(packets: Packets) -> I64:
    """Return the rows with a header of PPPoE that is cut short; of a session, that of PPP is one with it."""
    sessions = _short_behind(np.setdiff1d(_PPPOE, _DISCOVERY))(packets)
    rows = _of(packets, Anomaly.NOT_IP, _ETHERNET)
    kind, at, _ = _outer_type(packets, rows)
    short = np.isin(kind, _DISCOVERY) & (packets.batch.caplen[rows] < at + _PPPOE_HEADER)
    return np.union1d(sessions, rows[short])


def _unknown_discovery(packets: Packets) -> I64:
    rows, at = _discovery(packets)
    return rows[~np.isin(_bytes(packets, rows, at + 1, 1), _CODES)]


def _cut_tags(packets: Packets) -> I64:
    rows, at = _discovery(packets)
    known = np.isin(_bytes(packets, rows, at + 1, 1), _CODES)
    rows, at = rows[known], at[known]
    found: I64 = rows[_bytes(packets, rows, at + 4, 2) > packets.batch.caplen[rows] - at - _PPPOE_HEADER]
    return found


def _unknown_family(packets: Packets) -> I64:
    rows = _of(packets, Anomaly.NOT_IP, _NULL, _LOOP)
    family = _bytes(packets, rows, 0, 4)
    found: I64 = rows[~np.isin(family, _FAMILIES) & ~np.isin(family >> 24, _FAMILIES)]
    return found


def _in_ppp(packets: Packets, *reasons: Anomaly) -> tuple[I64, I64, I64, Bool]:
    """Return the rows of PPP, within PPPoE too, that were not decoded for a reason; the number of what they carry,
    -1: it is not there; where that begins; and whether the number has but one byte.
    """
    alone = np.concatenate([_of(packets, reason, _PPP) for reason in reasons])
    framed = _bytes(packets, alone, 0, 2) == _PPP_FRAMING
    rows = np.concatenate([_of(packets, reason, _ETHERNET) for reason in reasons])
    kind, at, _ = _outer_type(packets, rows)
    session = np.isin(kind, _PPPOE) & ~np.isin(kind, _DISCOVERY)
    rows = np.concatenate([alone, rows[session]])
    at = np.concatenate([np.where(framed, 2, 0), at[session] + _PPPOE_HEADER])
    number = _bytes(packets, rows, at, 2)
    short = (number >= 0) & (number & 0x100 != 0)
    return rows, np.where(short, number >> 8, number), at + np.where(short, 1, 2), short


def _ppp_named(*, named: bool) -> Finder:
    """Return what finds protocols of PPP that are not read: those with a name, or those without."""

    def find(packets: Packets) -> I64:
        rows, number, _, short = _in_ppp(packets, Anomaly.NOT_IP)
        other = (number >= 0) & ~np.isin(number, _CARRIED_IN_PPP)
        known = np.isin(number, _NAMED_IN_PPP) | (short & (packets.batch.linktype[rows] == _PPP))
        found: I64 = rows[other & (known == named)]
        return found

    return find


def _short_compressed(packets: Packets) -> I64:
    rows, number, at, _ = _in_ppp(packets, Anomaly.NOT_IP)
    found: I64 = rows[(number == _COMPRESSED) & (packets.batch.caplen[rows] < at + _IPV4_HEADER)]
    return found


def _short_six_in_ppp(packets: Packets) -> I64:
    rows, number, at, _ = _in_ppp(packets, Anomaly.IPV6_TRUNCATED)
    found: I64 = rows[(number == 0x57) & (packets.batch.caplen[rows] < at + _IPV6_HEADER)]
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
    "vntag.header_too_small": _short_behind(_VNTAG),
    "ieee8021ah.header_too_small": _short_behind(_BACKBONE),
    "dce.pkt_too_small": _short_behind(_FABRIC),
    "mpls.header_too_small": _short_labels,
    "mpls.pkt_too_small": _nothing_labelled,
    "mpls.bad_label_router_alert": _labels(_ALERT_LABEL, _ALERT_LABEL),
    "mpls.bad_label_implicit_null": _labels(_NO_LABEL, _NO_LABEL),
    "mpls.bad_label_reserved": _labels(*_RESERVED_LABELS),
    "mpls.unknown_payload_type": _unknown_labelled,
    "pppoe.pkt_too_small": _short_pppoe,
    "pppoe.wrong_code": _unknown_discovery,
    "pppoe.malformed_tags": _cut_tags,
    "vlan.unknown_type": _unknown_behind(_VLAN),
    "vntag.unknown_type": _unknown_behind(_VNTAG),
    "ltnull.unsupported_type": _unknown_family,
    "ppp.unsup_proto": _ppp_named(named=True),
    "ppp.wrong_type": _ppp_named(named=False),
    "ppp.vju_pkt_too_small": _short_compressed,
    "ppp.ip4_pkt_too_small": lambda packets: _of(packets, Anomaly.IPV4_TRUNCATED, _PPP),
    "ppp.ip6_pkt_too_small": _short_six_in_ppp,
    "ipraw.invalid_ip_version": _no_version,
}
"""What finds the rows with an event of the link layer."""
