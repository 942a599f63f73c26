"""Limits of the TLS parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


Logged = Literal[
    "subject", "issuer", "session_resumed", "serial", "fingerprint", "sni", "version", "not_before", "not_after",
    "certificate", "chain", "ja3", "ja3s", "ja4", "subjectaltname", "client", "client_certificate", "client_chain",
]  # fmt: skip
"""What `tls` events may have, by Suricata's names."""


class TlsSettings(BaseModel):
    """Bounds of the TLS parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    handshake_bytes: int = Field(
        default=128 * KIB,
        ge=4 * KIB,
        le=16 * MIB,
        description="Bytes of a direction that are read for its handshake. OpenSSL takes chains of certificates of"
        " 100 KiB; of a longer one, the first certificates are reported.",
    )
    memcap_bytes: int = Field(
        default=128 * MIB,
        ge=64 * KIB,
        description="Unfinished handshakes kept, over all flows. Beyond it they are not read on.",
    )
    certificates: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="Certificates of one chain that are reported; the first is the peer's own. Those in use have four.",
    )
    ja4_in_events: bool = Field(
        default=False,
        description="Write `ja4` in `tls` events. Suricata 7 does so where it is asked to.",
    )
    logged: list[Logged] = Field(
        default=[],
        description="What `tls` events have, in the place of the usual, by the names that Suricata has for it in"
        " `custom`: so also whole certificates, in Base64.",
    )
