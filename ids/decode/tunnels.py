"""Tunnels: packets in packets. Where does the inner one begin, and what is it?

Sources: RFC 2003 (IPv4 in IP), RFC 4213 and 2473 (IPv6 in IP), RFC 2784 and 2890 (GRE), RFC 2637 (GRE of PPTP),
RFC 7348 (VXLAN), draft-ietf-nvo3-vxlan-gpe, RFC 8926 (Geneve), RFC 4380 (Teredo), draft-foschiano-erspan; for WCCP in
GRE, Linux net/ipv4/gre_demux.c.

A packet that carries another stays a row of its own, and so a flow, as it is on the wire; only GRE is none, as with
Suricata: it has no ports to tell conversations apart by. A UDP port proves nothing: what is not a tunnel of that port's
kind is left alone, and what is has been inspected as a datagram as well. Teredo between clients has no port of its own:
there an IPv6 packet that fills its datagram, with an address of Teredo's, is one.

COST. A few comparisons of columns for a batch without tunnels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ids.capture.gather import gather
from ids.decode.columns import GOOD, Columns
from ids.decode.link import ERSPAN, ETHERNET, IPV4, IPV6
from ids.decode.settings import TunnelSettings
from ids.types import I64, U16, Bool

LINKTYPE_ETHERNET, LINKTYPE_PPP, LINKTYPE_RAW = 1, 9, 101

_IPIP, _UDP, _IPV6_IN_IP, _GRE = 4, 17, 41, 47
_OUTERMOST: Bool = np.zeros(256, np.bool_)
_OUTERMOST[[_IPIP, _IPV6_IN_IP, _GRE]] = True

_BYTE, _BE16, _BE32 = np.dtype("u1"), np.dtype(">u2"), np.dtype(">u4")

GRE_CHECKSUM, GRE_ROUTING, GRE_KEY, GRE_SEQUENCE, GRE_ACK, GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007
_PPP, _WCCP = 0x880B, 0x883E
_VXLAN_HAS_VNI, _VXLAN_HAS_PROTOCOL = 0x08, 0x04
_ETHERTYPE_AT, _ETHERNET_BYTES = 12, 14
_GPE = {1: IPV4, 2: IPV6, 3: ETHERNET}
_TEREDO_AUTHENTICATION, _TEREDO_ORIGIN = 0x0001, 0x0000
_TEREDO_PREFIX = 0x20010000
_SOURCE, _DESTINATION = 8, 24
"""Where an IPv6 header has its addresses."""


@dataclass(frozen=True, slots=True)
class Inner:
    """Packets found in others; columns of shape (k,)."""

    row: I64
    """Rows that carry them, ascending."""
    offset: I64
    """Where they begin."""
    caplen: I64
    """Bytes present of each."""
    wirelen: I64
    """Bytes of each on the wire, by what carries it."""
    kind: U16
    """EtherType of what begins there; `ETHERNET` for a frame, `_PPP` for one of PPP."""
    carrier: Bool
    """What carries it is no conversation of its own."""

    def __len__(self) -> int:
        return len(self.row)

    def only(self, which: I64 | Bool) -> Inner:
        """Return those that an index or a mask picks."""
        return Inner(*(getattr(self, name)[which] for name in Inner.__slots__))

    @property
    def linktype(self) -> U16:
        """LINKTYPE_ of each as a frame of its own."""
        linktype = np.full(len(self), LINKTYPE_RAW, np.uint16)
        linktype[self.kind == ETHERNET] = LINKTYPE_ETHERNET
        linktype[self.kind == _PPP] = LINKTYPE_PPP
        return linktype

    @property
    def given_kind(self) -> U16:
        """EtherType where no link header says it."""
        return np.where(np.isin(self.kind, (ETHERNET, _PPP)), 0, self.kind).astype(np.uint16)


_NONE = np.empty(0, np.int64)
NO_INNER = Inner(_NONE, _NONE, _NONE, _NONE, np.empty(0, np.uint16), np.empty(0, np.bool_))


class Tunnels:
    """Finds inner packets, of the kinds and on the ports that ``settings`` name."""

    def __init__(self, settings: TunnelSettings) -> None:
        self.enabled = settings.max_depth > 0
        self._by_port: tuple[tuple[Bool, _Reader], ...] = tuple(
            (_port_table(ports), reader)
            for ports, reader in (
                (settings.vxlan_ports, _vxlan),
                (settings.geneve_ports, _geneve),
                (settings.teredo_ports, _teredo),
            )
            if ports
        )
        self._anywhere = bool(settings.teredo_ports)

    def find(self, columns: Columns) -> Inner:
        """Find what rows carry."""
        if not self.enabled:
            return NO_INNER
        proto, parts = columns.proto, []
        good = columns.anomaly == GOOD
        outer = np.flatnonzero(_OUTERMOST[proto] & good)
        if outer.size:
            for number, kind in ((_IPIP, IPV4), (_IPV6_IN_IP, IPV6)):
                rows = outer[proto[outer] == number]
                parts.append(_inner(columns, rows, columns.payload[rows], np.full(len(rows), kind, np.uint16)))
            parts.append(_gre(columns, outer[proto[outer] == _GRE]))
        udp = np.flatnonzero((proto == _UDP) & good) if self._by_port else outer[:0]
        for ports, reader in self._by_port if udp.size else ():
            rows = udp[ports[columns.dport[udp]] | ports[columns.sport[udp]]]
            if rows.size:
                parts.append(reader(columns, rows))
        if udp.size and self._anywhere:
            parts.append(_teredo_between_clients(columns, udp))
        return _joined(parts)


_Reader = Callable[[Columns, I64], Inner]
"""Takes rows that may carry a packet; returns those that do, with the packets."""


def _port_table(ports: tuple[int, ...]) -> Bool:
    table: Bool = np.zeros(1 << 16, np.bool_)
    table[list(ports)] = True
    return table


def _inner(columns: Columns, row: I64, offset: I64, kind: U16, *, carrier: bool = False) -> Inner:
    """Return the packets that begin at ``offset`` in the payloads of some rows; those are none whose kind is 0."""
    caplen = columns.payload[row] + columns.payload_len[row] - offset
    wirelen = caplen + columns.payload_missing[row]
    found = Inner(row, offset, caplen, wirelen, kind, np.full(len(row), carrier))
    return found.only((kind != 0) & (caplen > 0))


def _joined(parts: list[Inner]) -> Inner:
    """Return all packets in the order of their carriers."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return NO_INNER
    every = Inner(*(np.concatenate([getattr(part, name) for part in parts]) for name in Inner.__slots__))
    _, first = np.unique(every.row, return_index=True)  # a datagram between two tunnels' ports is of one kind
    return every.only(first)


def _gre(columns: Columns, rows: I64) -> Inner:
    """Read GRE headers of version 0, and those of version 1 (PPTP). Hosts refuse routing; so nothing is in those."""
    at = columns.payload[rows]
    flags = gather(columns.data, at, _BE16).astype(np.uint16)
    kind = gather(columns.data, at + 2, _BE16).astype(np.uint16)
    version = flags & GRE_VERSION
    offset = at + 4
    for bit in (GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE):
        offset += np.where(flags & bit, 4, 0)
    offset += np.where((version == 1) & (flags & GRE_ACK != 0), 4, 0)
    kind[(version > 1) | (flags & GRE_ROUTING != 0) | ((version == 1) & (kind != _PPP))] = 0
    redirected = (kind == _WCCP) & (version == 0)
    offset += np.where(redirected & (gather(columns.data, offset, _BYTE) >> 4 != 4), 4, 0)
    kind[redirected] = IPV4
    kind[(kind == ERSPAN) & (flags & GRE_SEQUENCE == 0)] = ETHERNET  # ERSPAN of type I has no header of its own
    return _inner(columns, rows, offset, kind, carrier=True)


def _vxlan(columns: Columns, rows: I64) -> Inner:
    at = columns.payload[rows]
    flags = gather(columns.data, at, _BYTE)
    kind = np.full(len(rows), ETHERNET, np.uint16)
    generic = flags & _VXLAN_HAS_PROTOCOL != 0
    if np.count_nonzero(generic):
        protocol = gather(columns.data, at + 3, _BYTE)
        kind[generic] = 0
        for number, ethertype in _GPE.items():
            kind[generic & (protocol == number)] = ethertype
    kind[flags & _VXLAN_HAS_VNI == 0] = 0
    # The frame's own header says no more than its type: what counts is the packet, as in Suricata.
    inner_type = gather(columns.data, at + 8 + _ETHERTYPE_AT, _BE16).astype(np.uint16)
    plain = (kind == ETHERNET) & np.isin(inner_type, (IPV4, IPV6))
    kind[plain] = inner_type[plain]
    return _inner(columns, rows, at + 8 + np.where(plain, _ETHERNET_BYTES, 0), kind)


def _geneve(columns: Columns, rows: I64) -> Inner:
    at = columns.payload[rows]
    first = gather(columns.data, at, _BYTE)
    kind = gather(columns.data, at + 2, _BE16).astype(np.uint16)
    kind[(first >> 6 != 0) | ~np.isin(kind, (IPV4, IPV6, ETHERNET))] = 0
    return _inner(columns, rows, at + 8 + 4 * (first & 63).astype(np.int64), kind)


def _teredo(columns: Columns, rows: I64) -> Inner:
    """Read past what may be in front of the IPv6 packet: an authentication header, then an origin indication."""
    at = columns.payload[rows]
    end = at + columns.payload_len[rows]
    secured = gather(columns.data, at, _BE16) == _TEREDO_AUTHENTICATION
    lengths = gather(columns.data, at + 2, _BYTE).astype(np.int64) + gather(columns.data, at + 3, _BYTE)
    at = at + np.where(secured, 13 + lengths, 0)
    at += np.where(gather(columns.data, at, _BE16) == _TEREDO_ORIGIN, 8, 0)
    whole = (gather(columns.data, at, _BYTE) >> 4 == 6) & (end - at >= 40)
    whole &= at + 40 + gather(columns.data, at + 4, _BE16) <= end + columns.payload_missing[rows]
    return _inner(columns, rows, at, np.where(whole, IPV6, 0).astype(np.uint16))


def _teredo_between_clients(columns: Columns, rows: I64) -> Inner:
    """Find Teredo on any port: nothing is in front of the packet, or behind it."""
    rows = rows[gather(columns.data, columns.payload[rows], _BYTE) >> 4 == 6]
    if not rows.size:
        return NO_INNER
    at, length = columns.payload[rows], columns.payload_len[rows] + columns.payload_missing[rows]
    fits = gather(columns.data, at + 4, _BE16) + 40 == length
    ours = [gather(columns.data, at + where, _BE32) == _TEREDO_PREFIX for where in (_SOURCE, _DESTINATION)]
    kind = np.where(fits & (ours[0] | ours[1]) & (columns.payload_len[rows] >= 40), IPV6, 0).astype(np.uint16)
    return _inner(columns, rows, at, kind)
