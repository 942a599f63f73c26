"""Events of Suricata's rules that nothing here notes, and why: most of them Suricata 7.0.10 never says either."""

from __future__ import annotations

_NOT_SEEN = "Suricata 7.0.10 has the name, and was never seen to say it"
_PARTS = "Suricata 7.0.10 has the name, and says tls.certificate_invalid_der or tls.invalid_certificate in its place"

UNSAID = {
    "tls.certificate_invalid_x509name": _PARTS,
    "tls.certificate_invalid_subject": _PARTS,
    "tls.certificate_invalid_issuer": _PARTS,
    "tls.certificate_invalid_validity": _PARTS,
    "tls.dataleak_heartbeat_mismatch": "it is about encrypted records, and those are not read here",
    "tls.too_many_records_in_packet": "only records of SSL 2 are so many, and of SSL 2 only the beginning is read here",
    "smb.internal_error": "a parser that fails is counted (app_layer.error.smb.internal), not noted",
    "smb.response_to_server": _NOT_SEEN,
    "smb.request_to_client": _NOT_SEEN,
    "smtp.unable_to_match_reply_with_request": _NOT_SEEN,
    "dnp3.flooded": _NOT_SEEN,
    "dnp3.len_too_small": _NOT_SEEN,
}
"""By event."""
