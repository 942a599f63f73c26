"""Limits of the LDAP parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024


class LdapSettings(BaseModel):
    """Bounds of the LDAP parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    message_bytes: int = Field(
        default=1024 * KIB,
        ge=16 * KIB,
        le=1 << 26,
        description="Bytes of one message that are read; the rest is skipped. Active Directory sends entries of less.",
    )
    open_requests: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Requests of one connection that wait for their last answer; the oldest gives way, and is logged.",
    )
    responses: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="Answers of one request that its event has; rules see all of them. Searches find up to thousands.",
    )
    memcap_bytes: int = Field(
        default=64 * KIB * KIB,
        ge=64 * KIB,
        description="Unfinished messages, over all flows. Beyond it they are skipped.",
    )
