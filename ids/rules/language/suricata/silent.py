"""Events that Suricata has rules for and never says, or that mean nothing here: why, for who writes a rule."""

from __future__ import annotations

_NO_MESSAGE = "nor does Suricata, for libhtp 0.5 has no message for it any more"

SILENT = {
    "http.unknown_error": "nor does Suricata, which gives it the number that means no event",
    "http.invalid_server_port_in_request": _NO_MESSAGE,
    "http.invalid_authority_port": _NO_MESSAGE,
    "http.request_server_port_tcp_port_mismatch": _NO_MESSAGE,
    "http.response_field_too_long": "nor does Suricata, which looks for another message than libhtp has for it",
    "http.request_line_invalid": "nor does Suricata, which wants a line to have no protocol, and an invalid one",
    "http.too_many_warnings": "Suricata says it where it stops noting what is odd, and here nothing stops that",
    "http2.invalid_frame_header": "nor does Suricata, to which any nine bytes are one",
}
"""By event, as of Suricata 7.0.10."""
