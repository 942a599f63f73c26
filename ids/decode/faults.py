"""What is wrong with GRE headers, messages of ICMP, and packets in IPv6, by the names of Suricata's decoder events.

None of it keeps a packet from being decoded, so it is looked for when a rule asks first. Of several faults of one GRE
header the first counts, as they stand here. Sources: RFC 2784 and 2890 (GRE), RFC 2637 (of PPTP), RFC 792, RFC 4443,
RFC 2710 and the registry of ICMPv6 types of IANA.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ids.capture.gather import gather
from ids.types import I64, Bool, Packets

_ICMP, _IPV4_IN, _IPV6_IN, _GRE, _ICMPV6 = 1, 4, 41, 47, 58
_WORDS = np.dtype([("first", "u1"), ("second", "u1"), ("kind", ">u2")])
_BYTE = np.dtype("u1")
_PPP = 0x880B
_GRE_HEADER, _V4_HEADER, _V6_HEADER = 4, 20, 40
_QUENCH, _TIMES, _TIMES_BYTES = 4, (13, 14), 12
_QUOTING_4, _QUOTING_6 = (3, 4, 5, 11, 12), (1, 2, 3, 4)
_LISTENERS = (130, 131, 132)
_FIRST_UNASSIGNED, _LAST_ASSIGNED = 5, 160
_EXPERIMENTAL = (100, 101, 200, 201)
_NO_TYPES = (0, 127)
_HIGHEST_CODE = np.full(256, 255, np.int64)
"""Of each type of ICMPv6 that has few codes, the highest."""
_HIGHEST_CODE[[1, 2, 3, 4]] = 7, 0, 1, 2
_HIGHEST_CODE[128:138] = 0


class _Gre(NamedTuple):
    """The GRE headers of a batch."""

    rows: I64
    first: I64
    second: I64
    kind: I64
    size: I64
    """Bytes of each packet's payload, this header included."""

    @property
    def version(self) -> I64:
        return self.second & 7

    @property
    def needs(self) -> I64:
        """Bytes that the header has by its own word."""
        size = np.full(len(self.rows), _GRE_HEADER, np.int64)
        for bit in (0x80, 0x20, 0x10):
            size += np.where(self.first & bit, 4, 0)
        return size + np.where((self.version == 1) & (self.second & 0x80 != 0), 4, 0)


_Test = Callable[[_Gre], Bool]
_GRE_0: Sequence[tuple[str, _Test]] = (
    ("gre.version0_recur", lambda gre: gre.first & 0x07 != 0),
    ("gre.version0_flags", lambda gre: gre.second & 0xF8 != 0),
    ("gre.version0_hdr_too_big", lambda gre: gre.needs > gre.size),
)
_GRE_1: Sequence[tuple[str, _Test]] = (
    ("gre.version1_chksum", lambda gre: gre.first & 0x80 != 0),
    ("gre.version1_route", lambda gre: gre.first & 0x40 != 0),
    ("gre.version1_ssr", lambda gre: gre.first & 0x08 != 0),
    ("gre.version1_recur", lambda gre: gre.first & 0x07 != 0),
    ("gre.version1_flags", lambda gre: gre.second & 0x78 != 0),
    ("gre.version1_wrong_protocol", lambda gre: gre.kind != _PPP),
    ("gre.version1_no_key", lambda gre: gre.first & 0x20 == 0),
    ("gre.version1_hdr_too_big", lambda gre: gre.needs > gre.size),
)


def _headers(packets: Packets) -> _Gre:
    known = (packets.proto == _GRE) & (packets.payload >= 0) & ~packets.fragment
    rows = np.flatnonzero(known & (packets.payload_len >= _GRE_HEADER))
    words = gather(packets.batch.data, packets.payload[rows], _WORDS)
    size = packets.payload_len[rows] + packets.payload_missing[rows]
    first, second, kind = (words[name].astype(np.int64) for name in ("first", "second", "kind"))
    return _Gre(rows, first, second, kind, size)


def _gre_fault(name: str, version: int) -> Callable[[Packets], I64]:
    """Return what finds GRE headers of a version whose first fault is this one."""
    tests = _GRE_0 if version == 0 else _GRE_1

    def find(packets: Packets) -> I64:
        gre = _headers(packets)
        left = gre.version == version
        for known, test in tests:
            faulty = left & test(gre)
            if known == name:
                found: I64 = gre.rows[faulty]
                return found
            left &= ~faulty
        raise KeyError(name)

    return find


def _other_version(packets: Packets) -> I64:
    gre = _headers(packets)
    return gre.rows[gre.version > 1]


def _messages(packets: Packets, proto: int) -> I64:
    version = 4 if proto == _ICMP else 6
    whole = (packets.proto == proto) & (packets.ip_version == version) & (packets.l4 >= 0) & (packets.payload >= 0)
    return np.flatnonzero(whole)


def _quoted(packets: Packets, proto: int) -> tuple[I64, I64, I64]:
    """Return the errors that quote a packet, how much of it there is, and the version of IP that it says to be."""
    rows = _messages(packets, proto)
    kinds = _QUOTING_4 if proto == _ICMP else _QUOTING_6
    rows = rows[np.isin(packets.sport[rows], kinds)]
    if proto == _ICMPV6:
        rows = rows[packets.dport[rows] <= _HIGHEST_CODE[packets.sport[rows] & 255]]
    size = packets.payload_len[rows] + packets.payload_missing[rows]
    version = gather(packets.batch.data, packets.payload[rows], _BYTE).astype(np.int64) >> 4
    return rows, size, version


def _quoted_short_4(packets: Packets) -> I64:
    rows, size, _ = _quoted(packets, _ICMP)
    short = rows[(size < _V4_HEADER) & ((size > 0) | (packets.sport[rows] == _QUENCH))]
    times = _messages(packets, _ICMP)
    times = times[np.isin(packets.sport[times], _TIMES)]
    return np.union1d(short, times[packets.payload_len[times] + packets.payload_missing[times] < _TIMES_BYTES])


def _quoted_short_6(packets: Packets) -> I64:
    rows, size, _ = _quoted(packets, _ICMPV6)
    found: I64 = rows[size < _V6_HEADER]
    return found


def _quoted_other(proto: int) -> Callable[[Packets], I64]:
    least, right = (_V4_HEADER, 4) if proto == _ICMP else (_V6_HEADER, 6)

    def find(packets: Packets) -> I64:
        rows, size, version = _quoted(packets, proto)
        found: I64 = rows[(size >= least) & (version != right)]
        return found

    return find


def _of_type(judge: Callable[[I64, I64, I64], Bool]) -> Callable[[Packets], I64]:
    """Return what finds messages of ICMPv6 by type, code and hop limit."""

    def find(packets: Packets) -> I64:
        rows = _messages(packets, _ICMPV6)
        columns = (column[rows].astype(np.int64) for column in (packets.sport, packets.dport, packets.ttl))
        found: I64 = rows[judge(*columns)]
        return found

    return find


def _in_six(proto: int, *, short: bool) -> Callable[[Packets], I64]:
    """Return what finds packets of IPv6 with one in them that is too short for its header, or of another version."""
    least, right = (_V4_HEADER, 4) if proto == _IPV4_IN else (_V6_HEADER, 6)

    def find(packets: Packets) -> I64:
        carries = (packets.proto == proto) & (packets.ip_version == 6) & (packets.payload >= 0) & ~packets.fragment
        rows = np.flatnonzero(carries)
        too_short = packets.payload_len[rows] + packets.payload_missing[rows] < least
        if short:
            return rows[too_short]
        other = gather(packets.batch.data, packets.payload[rows], _BYTE).astype(np.int64) >> 4 != right
        found: I64 = rows[~too_short & other]
        return found

    return find


FAULTS: dict[str, Callable[[Packets], I64]] = {
    **{name: _gre_fault(name, 0) for name, _ in _GRE_0},
    **{name: _gre_fault(name, 1) for name, _ in _GRE_1},
    "ipv6.ipv4_in_ipv6_too_small": _in_six(_IPV4_IN, short=True),
    "ipv6.ipv4_in_ipv6_wrong_version": _in_six(_IPV4_IN, short=False),
    "ipv6.ipv6_in_ipv6_too_small": _in_six(_IPV6_IN, short=True),
    "ipv6.ipv6_in_ipv6_wrong_version": _in_six(_IPV6_IN, short=False),
    "gre.wrong_version": _other_version,
    "icmpv4.ipv4_trunc_pkt": _quoted_short_4,
    "icmpv4.ipv4_unknown_ver": _quoted_other(_ICMP),
    "icmpv6.ipv6_trunc_pkt": _quoted_short_6,
    "icmpv6.ipv6_unknown_version": _quoted_other(_ICMPV6),
    "icmpv6.unknown_type": _of_type(lambda kind, _code, _hops: np.isin(kind, _NO_TYPES)),
    "icmpv6.experimentation_type": _of_type(lambda kind, _code, _hops: np.isin(kind, _EXPERIMENTAL)),
    "icmpv6.unassigned_type": _of_type(
        lambda kind, _code, _hops: (
            ((kind >= _FIRST_UNASSIGNED) & (kind < 127) | (kind >= _LAST_ASSIGNED)) & ~np.isin(kind, _EXPERIMENTAL)
        )
    ),
    "icmpv6.unknown_code": _of_type(lambda kind, code, _hops: code > _HIGHEST_CODE[kind & 255]),
    "icmpv6.mld_message_with_invalid_hl": _of_type(
        lambda kind, code, hops: np.isin(kind, _LISTENERS) & (code == 0) & (hops != 1)
    ),
}
"""What finds the rows with a fault, by the event's name."""
