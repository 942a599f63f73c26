"""Events of packets and streams that Suricata's rules know and nothing here notes, and why: a rule on one is left out.

What is said of Suricata is of 7.0.10.
"""

from __future__ import annotations

_NEVER = "nor by Suricata, which defines it and does not set it"
_LOST = "nor by Suricata, which throws the inner packet that has it away"

UNNOTED = {
    "decode": {
        "ipv6.exthdr_dupl_eh": "nor by Suricata: nothing is decoded behind the first ESP header",
        "gre.version1_malformed_sre_hdr": _NEVER,
        "erspan.header_too_small": _LOST,
        "erspan.unsupported_version": _LOST,
        "erspan.too_many_vlan_layers": _LOST,
        "afpacket.trunc_pkt": "packets do not come by AF_PACKET",
    },
    "stream": {
        "3whs_synack_resend_with_diff_seq": f"{_NEVER}; what it was for is 3whs_synack_flood",
        "reassembly_segment_before_base_seq": "nor by Suricata, which passes over such segments before it sees to that",
        "wrong_thread": "both directions of a flow are inspected by one process",
        "reassembly_urgent_oob_limit_reached": "urgent bytes are read both ways, as part of the stream and not",
    },
}
"""By stage and event: the reason, which follows on "is never noted here"."""
