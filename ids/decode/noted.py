"""Which packets of a batch have an event of Suricata's decoder, by the name that its rules have for it.

Most are noted while packets are decoded (`ids.decode.oddities`). Those of options (`ids.decode.option_faults`), of GRE
and ICMP (`ids.decode.faults`), and of link headers (`ids.decode.links`) are looked for when a rule asks first. Names:
Suricata's ``decoder-events.rules``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ids.decode.faults import FAULTS
from ids.decode.links import LINKS, behind_tags
from ids.decode.oddities import ANOMALY_NAMES, NAMES
from ids.decode.option_faults import OPTIONS
from ids.types import I64, Anomaly, Packets, ascending

_PREFIX = "decoder."
_TCP, _UDP_HEADER, _IPV6_HEADER = 6, 8, 40
_TCP_HEADER, _END, _FILLER, _SACK = 20, 0, 1, 5
_LENGTHS = np.zeros(256, np.int64)
_LENGTHS[[2, 3, 4, 8, 19]] = 4, 3, 2, 10, 18
"""Of the TCP options that have but one length (maximum segment size, scale, SACK permitted, timestamp, MD5)."""
_ONCE = np.zeros(256, np.bool_)
_ONCE[[2, 3, 4, 5, 8]] = True
_TOO_LONG = 34
"""Longest SACK option."""


def _noted(name: str) -> Callable[[Packets], I64]:
    code = NAMES.index(_PREFIX + name)
    return lambda packets: packets.notes.row[packets.notes.code == code]


def _refused(reason: Anomaly) -> Callable[[Packets], I64]:
    return lambda packets: np.flatnonzero(packets.anomaly == np.uint8(reason))


def _icmp_truncated(version: int) -> Callable[[Packets], I64]:
    reason = np.uint8(Anomaly.ICMP_TRUNCATED)
    return lambda packets: np.flatnonzero((packets.anomaly == reason) & (packets.ip_version == version))


def _tcp_offset(*, short: bool) -> Callable[[Packets], I64]:
    """Return what finds headers that say to be shorter than any is, or longer than the packet."""

    def find(packets: Packets) -> I64:
        rows = np.flatnonzero(packets.anomaly == np.uint8(Anomaly.TCP_BAD_OFFSET))
        claimed = packets.batch.data[packets.l4[rows] + 12] >> 4
        found: I64 = rows[(claimed < 5) == short]
        return found

    return find


def _either(*finders: Callable[[Packets], I64]) -> Callable[[Packets], I64]:
    return lambda packets: np.concatenate([find(packets) for find in finders])


def _six_cut(*, short: bool) -> Callable[[Packets], I64]:
    """Return what finds packets of IPv6 that end within their header, or before their length says."""

    def find(packets: Packets) -> I64:
        rows = np.flatnonzero(packets.anomaly == np.uint8(Anomaly.IPV6_TRUNCATED))
        size = behind_tags(packets, rows)
        found: I64 = rows[((size >= 0) & (size < _IPV6_HEADER)) == short]
        return found

    return find


def _udp_length(*, short: bool) -> Callable[[Packets], I64]:
    """Return what finds lengths below that of a header, or beyond the packet's end."""

    def find(packets: Packets) -> I64:
        rows = np.flatnonzero(packets.anomaly == np.uint8(Anomaly.UDP_BAD_LENGTH))
        at, data = packets.l4[rows], packets.batch.data
        claimed = data[at + 4].astype(np.int64) << 8 | data[at + 5]
        found: I64 = rows[(claimed < _UDP_HEADER) == short]
        return found

    return find


def _no_header(proto: int, size: int) -> Callable[[Packets], I64]:
    """Return what finds packets of a protocol, none of them fragments, that have not even its header."""

    def find(packets: Packets) -> I64:
        carried = (packets.proto == proto) & (packets.payload >= 0) & ~packets.fragment
        return np.flatnonzero(carried & (packets.payload_len + packets.payload_missing < size))

    return find


def _options(packets: Packets) -> tuple[I64, I64]:
    """Return the rows with a TCP option of the wrong length, and those with one more than once."""
    data = packets.batch.data
    rows = np.flatnonzero((packets.proto == _TCP) & (packets.l4 >= 0) & (packets.payload >= 0))
    at, end = packets.l4[rows] + _TCP_HEADER, packets.payload[rows]
    seen = np.zeros((len(packets), 8), np.bool_)
    wrong: list[I64] = [rows[:0]]
    again: list[I64] = [rows[:0]]
    more = at < end
    while more.any():
        rows, at, end = rows[more], at[more], end[more]
        kind = data[at]
        single, ended = kind == _FILLER, kind == _END
        room = at + 1 < end
        size = np.ones(len(rows), np.int64)
        sized = ~single & ~ended & room
        size[sized] = data[at[sized] + 1]
        fits = single | (sized & (size >= 2) & (at + size <= end))
        sack = (kind == _SACK) & (size > 2) & ((size > _TOO_LONG) | ((size - 2) % 8 != 0))
        bad = sized & (~fits | ((_LENGTHS[kind] > 0) & (size != _LENGTHS[kind])) | sack)
        wrong.append(rows[bad])
        single_use = fits & ~bad & _ONCE[kind]
        place = np.clip(kind, 1, 8) - 1  # 2, 3, 4, 5 and 8 become 1, 2, 3, 4 and 7; of an end nothing is seen
        again.append(rows[single_use & seen[rows, place]])
        seen[rows[single_use], place[single_use]] = True
        at = at + size
        more = fits & ~ended & (at < end)
    return ascending(np.concatenate(wrong)), ascending(np.concatenate(again))


_OF_ANOMALIES: dict[str, Callable[[Packets], I64]] = {
    name.removeprefix(_PREFIX): _refused(reason) for reason, name in ANOMALY_NAMES.items()
}
FINDERS: dict[str, Callable[[Packets], I64]] = {
    **FAULTS,
    **_OF_ANOMALIES,
    **{name.removeprefix(_PREFIX): _noted(name.removeprefix(_PREFIX)) for name in NAMES},
    **LINKS,
    **OPTIONS,
    "ipv6.pkt_too_small": _six_cut(short=True),
    "ipv6.trunc_pkt": _six_cut(short=False),
    "icmpv4.pkt_too_small": _icmp_truncated(4),
    "icmpv6.pkt_too_small": _icmp_truncated(6),
    "tcp.hlen_too_small": _tcp_offset(short=False),
    "tcp.invalid_optlen": _tcp_offset(short=True),
    "tcp.opt_invalid_len": lambda packets: _options(packets)[0],
    "tcp.opt_duplicate": lambda packets: _options(packets)[1],
    "ipv6.exthdr_dupl_hh": _either(_noted("ipv6.exthdr_dupl_hh"), _refused(Anomaly.IPV6_BAD_ORDER)),
    "udp.pkt_too_small": _udp_length(short=False),
    "udp.len_invalid": _udp_length(short=True),
    "udp.hlen_invalid": _udp_length(short=True),  # its name before Suricata 7
    "sctp.pkt_too_small": _no_header(132, 12),
    "esp.pkt_too_small": _no_header(50, 8),
    "gre.pkt_too_small": _no_header(47, 4),
}
"""What finds the rows with an event, by its name."""


def rows_with(packets: Packets, event: str) -> I64:
    """Return the rows with an event, ascending; none where it is never noted here."""
    find = FINDERS.get(event)
    return ascending(find(packets)) if find is not None else np.zeros(0, np.int64)
