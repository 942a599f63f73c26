"""Limits of the Kerberos parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024


class Krb5Settings(BaseModel):
    """Bounds of the Kerberos parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    message_bytes: int = Field(
        default=128 * KIB,
        ge=4 * KIB,
        le=1 << 24,
        description="Bytes of one message over TCP that are read; the rest is skipped. Tickets have 64 KiB at most.",
    )
    memcap_bytes: int = Field(
        default=32 * KIB * KIB,
        ge=64 * KIB,
        description="Unfinished messages over TCP, over all flows. Beyond it they are skipped.",
    )
