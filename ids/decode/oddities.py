"""What may be odd about a packet, by the names that Suricata gives its decoder events.

An `Anomaly` stops the decoding of a packet; an oddity need not. Both become `anomaly` events of EVE, for what hosts
refuse, or take differently, is what evasions are made of. Names: the schema of Suricata's EVE, ``stats.decoder``.
"""

from __future__ import annotations

from enum import IntEnum

from ids.types import Anomaly


class Oddity(IntEnum):
    """Codes of `ids.types.Notes`. The protocol's name comes first, the event's behind it."""

    IPV4_OPT_INVALID_LEN = 0
    IPV4_OPT_INVALID = 1
    """A source route, which hosts refuse; no room where the option says that there is some."""
    IPV4_OPT_UNKNOWN = 2
    IPV4_OPT_DUPLICATE = 3
    IPV4_FRAG_OVERLAP = 4
    IPV4_FRAG_PKT_TOO_LARGE = 5
    IPV4_FRAG_IGNORED = 6
    """It could not be part of a datagram: empty, or at odds with the datagram's end."""
    IPV6_FRAG_OVERLAP = 7
    IPV6_FRAG_PKT_TOO_LARGE = 8
    IPV6_FRAG_INVALID_LENGTH = 9
    """Not the last one, and yet not in whole units of eight bytes."""
    IPV6_FRAG_IGNORED = 10
    IPV6_EXTHDR_USELESS_FH = 11
    """A fragment header with neither an offset nor more to come (RFC 6946)."""
    IPV6_EXTHDR_DUPL_FH = 12
    IPV6_EXTHDR_DUPL_RH = 13
    IPV6_EXTHDR_DUPL_HH = 14
    IPV6_EXTHDR_DUPL_DH = 15
    """More than the two that RFC 8200 knows."""
    IPV6_EXTHDR_DUPL_AH = 16
    IPV6_RH_TYPE_0 = 17
    IPV6_HOPOPTS_UNKNOWN_OPT = 18
    IPV6_DSTOPTS_UNKNOWN_OPT = 19
    IPV6_EXTHDR_INVALID_OPTLEN = 20
    """Also padding or options too many, and padding that holds something."""
    IPV6_DATA_AFTER_NONE_HEADER = 21
    IPV6_FH_NON_ZERO_RESERVED_FIELD = 22
    IPV6_ICMPV4 = 23
    IPV4_ICMPV6 = 24
    ICMPV4_UNKNOWN_TYPE = 25
    ICMPV4_UNKNOWN_CODE = 26
    TOO_MANY_LAYERS = 27
    """A tunnel within as many as are looked into."""


NAMES: tuple[str, ...] = tuple(
    "decoder." + ("too_many_layers" if code is Oddity.TOO_MANY_LAYERS else code.name.lower().replace("_", ".", 1))
    for code in Oddity
)
"""Names of the codes of `Oddity`."""

ANOMALY_NAMES: dict[Anomaly, str] = {
    Anomaly.TRUNCATED_LINK: "decoder.ethernet.pkt_too_small",
    Anomaly.IPV4_TRUNCATED: "decoder.ipv4.pkt_too_small",
    Anomaly.IPV4_BAD_HEADER_LENGTH: "decoder.ipv4.hlen_too_small",
    Anomaly.IPV4_BAD_TOTAL_LENGTH: "decoder.ipv4.trunc_pkt",
    Anomaly.IPV4_SHORT_TOTAL_LENGTH: "decoder.ipv4.iplen_smaller_than_hlen",
    Anomaly.IPV6_TRUNCATED: "decoder.ipv6.trunc_pkt",
    Anomaly.IPV6_BAD_EXTENSION: "decoder.ipv6.trunc_exthdr",
    Anomaly.TCP_TRUNCATED: "decoder.tcp.pkt_too_small",
    Anomaly.TCP_BAD_OFFSET: "decoder.tcp.hlen_too_small",
    Anomaly.UDP_TRUNCATED: "decoder.udp.hlen_too_small",
    Anomaly.UDP_BAD_LENGTH: "decoder.udp.pkt_too_small",
    Anomaly.ICMP_TRUNCATED: "decoder.icmpv4.pkt_too_small",
    Anomaly.TOO_MANY_VLAN_TAGS: "decoder.vlan.too_many_layers",
    Anomaly.IP_BAD_VERSION: "decoder.ipv4.wrong_ip_version",
    Anomaly.IPV6_BAD_VERSION: "decoder.ipv6.wrong_ip_version",
    Anomaly.IPV6_BAD_ORDER: "decoder.ipv6.exthdr_dupl_hh",
}
"""Events of packets that were refused. The others are no attack on a decoder: frames without IP, bad checksums."""
