"""Limits of the RDP parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RdpSettings(BaseModel):
    """Bounds of the RDP parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    memcap_bytes: int = Field(
        default=16 * 1024 * 1024,
        ge=65536,
        description="Unfinished messages, over all flows: 64 KiB each at most. Beyond it they are skipped.",
    )
