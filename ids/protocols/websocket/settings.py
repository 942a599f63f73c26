"""Limits of the WebSocket parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024


class WebSocketSettings(BaseModel):
    """Bounds of the WebSocket parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    message_bytes: int = Field(
        default=64 * KIB,
        ge=KIB,
        le=1 << 24,
        description="Of one message, bytes that are inspected at once; a longer one is reported in parts. Of a frame,"
        " bytes that are read. Servers stop at 64 KiB to some MiB.",
    )
    memcap_bytes: int = Field(
        default=64 * KIB * KIB,
        ge=65536,
        description="Unfinished frames and messages, and what decompressing goes on from (48 KiB a direction), over all"
        " flows. Beyond it frames are skipped, and messages reported as they were sent.",
    )
