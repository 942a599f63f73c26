"""Events that Suricata's rules know and nothing here notes, and why: a rule on one is left out.

What is said of Suricata is of 7.0.10.
"""

from __future__ import annotations

_NEVER = "nor by Suricata, which defines it and does not set it"
_NO_MESSAGE = "nor by Suricata, for libhtp 0.5 has no message for it any more"
_PARTS = "nor by Suricata, which says tls.certificate_invalid_der or tls.invalid_certificate in its place"
_NOT_SEEN = "nor by Suricata in any capture that was tried"
_LOST = "nor by Suricata, which throws the inner packet that has it away"

UNNOTED = {
    "app-layer": {
        "http.unknown_error": "nor by Suricata, which gives it the number that means no event",
        "http.invalid_server_port_in_request": _NO_MESSAGE,
        "http.invalid_authority_port": _NO_MESSAGE,
        "http.request_server_port_tcp_port_mismatch": _NO_MESSAGE,
        "http.response_field_too_long": "nor by Suricata, which looks for another message than libhtp has for it",
        "http.request_line_invalid": "nor by Suricata, which wants a line to have no protocol, and an invalid one",
        "http.too_many_warnings": "for it says where Suricata stops noting what is odd, and here nothing stops that",
        "http2.invalid_frame_header": "nor by Suricata, to which any nine bytes are one",
        "tls.certificate_invalid_x509name": _PARTS,
        "tls.certificate_invalid_subject": _PARTS,
        "tls.certificate_invalid_issuer": _PARTS,
        "tls.certificate_invalid_validity": _PARTS,
        "tls.dataleak_heartbeat_mismatch": "for it is about encrypted records, and those are not read",
        "tls.too_many_records_in_packet": "for only of SSL 2 records are so many, and of that the beginning is read",
        "smb.internal_error": "for a parser that fails is counted (app_layer.error.smb.internal)",
        "smb.response_to_server": _NOT_SEEN,
        "smb.request_to_client": _NOT_SEEN,
        "smtp.unable_to_match_reply_with_request": _NOT_SEEN,
        "dnp3.flooded": _NOT_SEEN,
        "dnp3.len_too_small": _NOT_SEEN,
        "ike.multiple_server_proposal": _NOT_SEEN,
        "rfb.confused_state": "for what a side says too soon is read when it is its turn",
    },
    "decode": {
        "ipv6.exthdr_dupl_eh": "nor by Suricata: nothing is decoded behind the first ESP header",
        "gre.version1_malformed_sre_hdr": _NEVER,
        "erspan.header_too_small": _LOST,
        "erspan.unsupported_version": _LOST,
        "erspan.too_many_vlan_layers": _LOST,
        "afpacket.trunc_pkt": "for packets do not come by AF_PACKET",
    },
    "stream": {
        "3whs_synack_resend_with_diff_seq": f"{_NEVER}; what it was for is 3whs_synack_flood",
        "reassembly_segment_before_base_seq": "nor by Suricata, which passes over such segments before it sees to that",
        "wrong_thread": "for both directions of a flow are inspected by one process",
        "reassembly_urgent_oob_limit_reached": "for urgent bytes are read both ways, as part of the stream and not",
    },
}
"""By stage and event: the reason."""


def unnoted(stage: str, event: str) -> str:
    """Return why no rule can ask for an event: a sentence; empty where nothing is known of it."""
    why = UNNOTED[stage].get(event)
    return f"{event} is never noted here, {why}" if why else ""
