"""Limits of the DNS parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class DnsSettings(BaseModel):
    """Bounds of the DNS parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    records: int = Field(
        default=1024,
        ge=16,
        le=65536,
        description="Questions and records of one message that are read. A full message of a zone transfer has fewer.",
    )
    open_queries: int = Field(
        default=128,
        ge=1,
        le=65536,
        description="Queries of one flow that wait for their answer; the oldest gives way, and its answer is"
        " looked at by itself. Few resolvers send more at once from one port, and each takes 100 bytes.",
    )
    memcap_bytes: int = Field(
        default=64 * MIB,
        ge=65536,
        description="Unfinished messages of streams, over all flows: 64 KiB each at most. Beyond it they are skipped.",
    )
