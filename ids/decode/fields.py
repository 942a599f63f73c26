"""Header fields that only rules ask for: read from the bytes of a batch when the first of them asks, a field at once.

The ordinary way of a packet does not pay for them. Names are those of `ids.rules.model.header`. Sources: RFC 791,
RFC 792, RFC 4443, RFC 8200, RFC 9293.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ids.capture.gather import gather
from ids.decode import checksum
from ids.types import I64, Anomaly, Bool, Packets, ascending

ICMP, TCP, UDP, ESP, ICMPV6, SCTP = 1, 6, 17, 50, 58, 132
_WITH_PAYLOAD: Bool = np.isin(np.arange(256), (ICMP, TCP, UDP, ESP, ICMPV6, SCTP))
_MORE = np.zeros(256, np.int64)
_MORE[[ESP, SCTP]] = 8, 12
"""By protocol: bytes of a header that no step of decoding reads."""
_ADVERT = 9
_MORE_OF_ICMP = np.zeros(256, np.int64)
_MORE_OF_ICMP[[_ADVERT, 13, 14, 17, 18]] = 4, 12, 12, 4, 4
"""By type of ICMPv4: bytes of the header behind the first eight; of a router's advertisement as many as it says."""
_ADVERTS = np.dtype([("number", "u1"), ("size", "u1")])
_FRAGMENT_HEADER, _V6_HEADER, _V4_HEADER = 44, 40, 20
_V6_SKIPPED = (0, 43, 60)
MAX_V6_HEADERS = 16
"""Extension headers of IPv6 that are passed on the way to a fragment header."""

_WORD2 = np.dtype([("value", ">u2")])
_WORD4 = np.dtype([("value", ">u4")])
_IDENTIFIED = np.zeros(256, np.bool_)
_IDENTIFIED[[0, 8, 13, 14, 15, 16, 17, 18]] = True
"""Types of ICMPv4 with identifier and sequence number; of ICMPv6 they are 128 and 129."""
_TOO_BIG, _ECHO_V6 = 2, (128, 129)
_MSS, _SCALE, _END, _FILLER = 2, 3, 0, 1

_HEADERS = {"tcp.hdr": TCP, "udp.hdr": UDP, "icmpv4.hdr": ICMP, "icmpv6.hdr": ICMPV6}

IP_OPTIONS = {
    "eol": 0, "nop": 1, "rr": 7, "ts": 68, "sec": 130, "lsrr": 131, "esec": 133, "satid": 136, "ssrr": 137,
}  # fmt: skip
"""Options of IPv4 by the names that rules have for them."""

VALID, INVALID = 1, 0


class Field(NamedTuple):
    """The values of a field, in the rows that have it."""

    rows: I64
    """Ascending."""
    values: I64


class Fields:
    """The fields of one batch; each is read once."""

    def __init__(self, packets: Packets) -> None:
        self.packets = packets
        self._known: dict[str, Field] = {}

    def __getitem__(self, name: str) -> Field:
        """Return a field; raises KeyError where nothing has this name."""
        field = self._known.get(name)
        if field is None:
            field = self._known[name] = _READ[name](self)
        return field

    @cached_property
    def payloads(self) -> tuple[I64, I64]:
        """Where the bytes behind a transport header that is known begin, and how many there are: of all rows."""
        packets = self.packets
        carried = _WITH_PAYLOAD[packets.proto] & (packets.l4 >= 0) & (packets.payload >= 0)
        size = np.where(carried, packets.payload_len, 0)
        more = np.where(carried, _MORE[packets.proto], 0)
        messages = _indices(self._of(ICMP) & (_MORE_OF_ICMP[packets.sport & 255] > 0))
        more[messages] = _MORE_OF_ICMP[packets.sport[messages]]
        adverts = messages[packets.sport[messages] == _ADVERT]
        if len(adverts):
            counts = gather(packets.batch.data, packets.l4[adverts] + 4, _ADVERTS)
            more[adverts] = counts["number"].astype(np.int64) * counts["size"] * 4
        more = np.minimum(more, size)
        return packets.payload + more, size - more

    def with_payload(self) -> Bool:
        """Return which rows have bytes behind a transport header that is known."""
        found: Bool = self.payloads[1] > 0
        return found

    def ports(self, name: str) -> Field:
        """Return ``sport`` or ``dport`` of the rows of protocols with ports; -1: fragments, which do not show them."""
        packets = self.packets
        ported = np.isin(packets.proto, (TCP, UDP, SCTP))
        column = packets.sport if name == "sport" else packets.dport
        values = np.where(packets.l4 >= 0, column.astype(np.int64), -1)
        sctp = _indices((packets.proto == SCTP) & (packets.l4 >= 0) & (packets.payload_len >= 4))
        if len(sctp):
            at = packets.l4[sctp] + (0 if name == "sport" else 2)
            values[sctp] = gather(packets.batch.data, at, _WORD2)["value"]
        rows = _indices(ported)
        return Field(rows, values[rows])

    def ip_option(self, name: str) -> I64:
        """Return the rows whose IPv4 header has an option, ascending; ``any``: one that is none of the fillers."""
        kinds, rows = self._ip_options()
        wanted = kinds > 1 if name == "any" else kinds == IP_OPTIONS[name]
        return ascending(rows[wanted])

    def checksums(self, layer: str) -> Field:
        """Return whether a checksum is `VALID` or `INVALID` in the rows that have it whole."""
        if layer == "ipv4":
            return self._header_checksums()
        numbers = {"tcpv4": (4, TCP), "tcpv6": (6, TCP), "udpv4": (4, UDP), "udpv6": (6, UDP), "icmpv4": (4, ICMP)}
        version, proto = numbers.get(layer, (6, ICMPV6))
        packets = self.packets
        mask = self._of(proto) & (packets.ip_version == version) & (packets.payload_missing == 0)
        rows = _indices(mask)
        if layer.startswith("udp") and len(rows):
            given = gather(packets.batch.data, packets.l4[rows] + 6, _WORD2)["value"]
            rows = rows[given != 0]
        if not len(rows):
            return Field(rows, rows)
        start, end = packets.l4[rows], packets.payload[rows] + packets.payload_len[rows]
        sums = _word_sums(packets, rows)
        pseudo = checksum.pseudo_header(sums, packets.proto[rows], end - start)
        if proto == ICMP:
            pseudo[:] = 0  # ICMP over IPv4 has none
        valid = checksum.segments_valid(packets.batch.data, start, end, pseudo)
        return Field(rows, np.where(valid, VALID, INVALID))

    def header_span(self, name: str) -> tuple[I64, I64, I64]:
        """Return the rows that have a header, such as ``tcp.hdr``, and where it starts and ends, as far as captured.

        That of IPv4 and of TCP ends with its options, that of IPv6 where the transport header begins. That of ICMP ends
        where its fixed part does, of ICMPv6 with the packet.
        """
        packets = self.packets
        if name in ("ipv4.hdr", "ipv6.hdr"):
            rows = _indices((packets.ip_version == (4 if name == "ipv4.hdr" else 6)) & (packets.l3 >= 0))
            start = packets.l3[rows]
            size = (packets.batch.data[start] & 15).astype(np.int64) * 4 if name == "ipv4.hdr" else _V6_HEADER
            end = start + size
            if name == "ipv6.hdr":
                end = np.where(packets.l4[rows] > start, packets.l4[rows], end)
        else:
            rows = _indices(self._of(_HEADERS[name]))
            start = packets.l4[rows]
            begin, size = self.payloads
            end = begin[rows] + (size[rows] if name == "icmpv6.hdr" else 0)
        captured = (packets.batch.offset + packets.batch.caplen)[rows]
        return rows, start, np.maximum(np.minimum(end, captured), start)

    # Which rows.

    def _v4(self) -> Bool:
        found: Bool = (self.packets.ip_version == 4) & (self.packets.l3 >= 0)
        return found

    def _of(self, proto: int) -> Bool:
        """Return the rows whose transport header of a protocol was decoded."""
        packets = self.packets
        found: Bool = (packets.proto == proto) & (packets.l4 >= 0) & (packets.payload >= 0)
        if proto in (ICMP, ICMPV6):
            found &= packets.ip_version == (4 if proto == ICMP else 6)
        return found

    def _icmp(self) -> Bool:
        return self._of(ICMP) | self._of(ICMPV6)

    def _identified(self) -> Bool:
        kind = self.packets.sport
        found: Bool = (self._of(ICMP) & _IDENTIFIED[kind & 255]) | (self._of(ICMPV6) & np.isin(kind, _ECHO_V6))
        return found

    # How they are read.

    def _column(self, mask: Bool, values: np.ndarray) -> Field:
        rows = _indices(mask)
        return Field(rows, values[rows].astype(np.int64))

    def _byte(self, mask: Bool, at: I64) -> Field:
        rows = _indices(mask)
        return Field(rows, self.packets.batch.data[at[rows]].astype(np.int64))

    def _word(self, mask: Bool, at: I64, dtype: np.dtype = _WORD2) -> Field:
        rows = _indices(mask)
        if not len(rows):
            return Field(rows, rows)
        return Field(rows, gather(self.packets.batch.data, at[rows], dtype)["value"].astype(np.int64))

    def _protocols(self) -> I64:
        """Return protocol numbers; that of a fragment of IPv6 is its header's."""
        packets = self.packets
        split = packets.fragment & (packets.ip_version == 6)
        numbers: I64 = np.where(split, _FRAGMENT_HEADER, packets.proto)[packets.ip_version != 0].astype(np.int64)
        return numbers

    def _payload_sizes(self) -> I64:
        return self.payloads[1]

    def _fragment_words(self) -> Field:
        return self._word(self._v4(), self.packets.l3 + 6)

    def _fragment_bits(self) -> Field:
        rows, values = self._fragment_words()
        return Field(rows, values >> 13)

    def _rebuilt(self) -> Bool:
        """Return which rows were put together of fragments: they come right behind the last one, with its number."""
        packets, numbers = self.packets, self.packets.batch.number
        found: Bool = ~packets.fragment
        found[:1] = False
        found[1:] &= packets.fragment[:-1] & (numbers[1:] == numbers[:-1])
        return found

    def _fragment_offset(self) -> Field:
        rows, values = self._fragment_words()
        others, at = self._fragment_headers()
        if not len(others):
            return Field(rows, values & 0x1FFF)
        offsets = gather(self.packets.batch.data, at + 2, _WORD2)["value"].astype(np.int64) >> 3
        together = np.concatenate((rows, others))
        order = np.argsort(together, kind="stable")
        return Field(together[order], np.concatenate((values & 0x1FFF, offsets))[order])

    def _fragment_headers(self) -> tuple[I64, I64]:
        """Return the rows of IPv6 that are fragments, and where their fragment header is."""
        packets, data = self.packets, self.packets.batch.data
        left = _indices(packets.fragment & (packets.ip_version == 6) & (packets.l3 >= 0))
        at, end = packets.l3[left] + _V6_HEADER, (packets.batch.offset + packets.batch.caplen)[left]
        kind = data[packets.l3[left] + 6] if len(left) else left
        found_rows, found_at = [left[:0]], [left[:0]]
        for _ in range(MAX_V6_HEADERS):
            whole = at + 8 <= end
            here = whole & (kind == _FRAGMENT_HEADER)
            found_rows.append(left[here])
            found_at.append(at[here])
            more = whole & np.isin(kind, _V6_SKIPPED)
            left, at, end = left[more], at[more], end[more]
            if not len(left):
                break
            kind, at = data[at], at + (data[at + 1].astype(np.int64) + 1) * 8
        rows, where = np.concatenate(found_rows), np.concatenate(found_at)
        order = np.argsort(rows)
        return rows[order], where[order]

    def _tcp_option(self, wanted: int, length: int) -> Field:
        """Return the value of the first option of a kind and a length; one look at each option, all rows together."""
        packets, data = self.packets, self.packets.batch.data
        rows = _indices(self._of(TCP))
        at, end = packets.l4[rows] + _V4_HEADER, packets.payload[rows]
        found_rows: list[I64] = [rows[:0]]
        found: list[I64] = [rows[:0]]
        more = at < end
        while more.any():
            rows, at, end = rows[more], at[more], end[more]
            kind = data[at]
            single = kind == _FILLER
            size = np.ones(len(rows), np.int64)
            sized = ~single & (kind != _END) & (at + 1 < end)
            size[sized] = data[at[sized] + 1]
            good = single | (sized & (size >= 2) & (at + size <= end))
            hit = good & (kind == wanted) & (size == length)
            if hit.any():
                found_rows.append(rows[hit])
                value = data[at[hit] + 2].astype(np.int64)
                found.append(value << 8 | data[at[hit] + 3] if length == 4 else value)
            at = at + size
            more = good & ~hit & (at < end)
        together, values = np.concatenate(found_rows), np.concatenate(found)
        order = np.argsort(together)
        return Field(together[order], values[order])

    def _ip_options(self) -> tuple[I64, I64]:
        """Return the kinds of all IPv4 options, and the row of each; what follows a malformed one is not read."""
        packets, data = self.packets, self.packets.batch.data
        rows = _indices(self._v4())
        at, end = packets.l3[rows] + _V4_HEADER, packets.l3[rows] + (data[packets.l3[rows]] & 15).astype(np.int64) * 4
        kinds: list[I64] = [rows[:0]]
        of: list[I64] = [rows[:0]]
        more = at < end
        while more.any():
            rows, at, end = rows[more], at[more], end[more]
            kind = data[at].astype(np.int64)
            single = kind == _FILLER
            size = np.ones(len(rows), np.int64)
            sized = ~single & (kind != _END) & (at + 1 < end)
            size[sized] = data[at[sized] + 1]
            good = single | (sized & (size >= 2) & (at + size <= end))
            kinds.append(kind)
            of.append(rows)
            at = at + size
            more = good & (at < end)
        return np.concatenate(kinds), np.concatenate(of)

    def _header_checksums(self) -> Field:
        packets = self.packets
        rows = _indices(self._v4())
        if not len(rows):
            return Field(rows, rows)
        start = packets.l3[rows]
        length = (packets.batch.data[start] & 15).astype(np.int64) * 4
        valid = checksum.segments_valid(packets.batch.data, start, start + length)
        return Field(rows, np.where(valid, VALID, INVALID))


_READ: dict[str, Callable[[Fields], Field]] = {
    "ip.version": lambda of: of._column(of.packets.ip_version != 0, of.packets.ip_version),
    "ip.ttl": lambda of: of._column(of.packets.ip_version != 0, of.packets.ttl),
    "ip.proto": lambda of: Field(_indices(of.packets.ip_version != 0), of._protocols()),
    "ip.tos": lambda of: of._byte(of._v4(), of.packets.l3 + 1),
    "ip.id": lambda of: of._word(of._v4(), of.packets.l3 + 4),
    "ip.fragoffset": lambda of: of._fragment_offset(),
    "ip.fragbits": lambda of: of._fragment_bits(),
    "ip.rebuilt": lambda of: of._column(of.packets.ip_version != 0, of._rebuilt()),
    "tcp.flags": lambda of: of._column(of._of(TCP), of.packets.tcp_flags),
    "tcp.seq": lambda of: of._column(of._of(TCP), of.packets.seq),
    "tcp.ack": lambda of: of._column(of._of(TCP), of.packets.ack),
    "tcp.window": lambda of: of._column(of._of(TCP), of.packets.window),
    "tcp.mss": lambda of: of._tcp_option(_MSS, 4),
    "tcp.wscale": lambda of: of._tcp_option(_SCALE, 3),
    "icmp.type": lambda of: of._column(of._icmp(), of.packets.sport),
    "icmp.code": lambda of: of._column(of._icmp(), of.packets.dport),
    "icmp.id": lambda of: of._word(of._identified(), of.packets.l4 + 4),
    "icmp.seq": lambda of: of._word(of._identified(), of.packets.l4 + 6),
    "icmpv6.mtu": lambda of: of._word(of._of(ICMPV6) & (of.packets.sport == _TOO_BIG), of.packets.l4 + 4, _WORD4),
    "payload.size": lambda of: of._column(of.packets.ip_version != 0, of._payload_sizes()),
}
"""How each field is read. None of them is bound to its batch: a cycle would keep the batch until it is looked for."""

_WHOLE = np.zeros(256, np.bool_)
_WHOLE[[
    Anomaly.FRAGMENT, Anomaly.CARRIER, Anomaly.BAD_IP_CHECKSUM, Anomaly.BAD_L4_CHECKSUM, Anomaly.IPV4_BAD_OPTIONS,
    Anomaly.IPV6_BAD_OPTIONS, Anomaly.IPV6_BAD_ORDER, Anomaly.IPV6_SOURCE_ROUTE, Anomaly.IPV6_BAD_EXTENSION,
    Anomaly.IPV6_TRUNCATED, Anomaly.TCP_TRUNCATED, Anomaly.TCP_BAD_OFFSET, Anomaly.UDP_TRUNCATED,
    Anomaly.UDP_BAD_LENGTH, Anomaly.ICMP_TRUNCATED,
]] = True  # fmt: skip
"""By anomaly: the IP header says what the packet is, though hosts may not take it, nor what is behind that header."""


def whole(packets: Packets) -> Bool:
    """Return which rows have a whole IP header: fragments, wrong checksums and cut transport headers included."""
    sound: Bool = packets.usable | (_WHOLE[packets.anomaly] & (packets.ip_version != 0))
    return sound


def _indices(mask: Bool) -> I64:
    return np.flatnonzero(mask)


def _word_sums(packets: Packets, rows: I64) -> np.ndarray:
    """Return the sums of the addresses' 16-bit words; of IPv4 those of its 32 bits."""
    total = np.zeros(len(rows), np.uint64)
    mask, four = np.uint64(0xFFFF), packets.ip_version[rows] == 4
    for column in (packets.src, packets.dst):
        for half in (0, 1):
            value = column[rows, half]
            if half:
                value = np.where(four, value & np.uint64(0xFFFFFFFF), value)
            for shift in (0, 16, 32, 48):
                total += value >> np.uint64(shift) & mask
    return total
