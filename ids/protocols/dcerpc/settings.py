"""Limits of the DCE/RPC parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class DcerpcSettings(BaseModel):
    """Bounds of the DCE/RPC parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    open_calls: int = Field(
        default=128,
        ge=1,
        le=65536,
        description="Calls of one flow that wait for their answer or for more fragments; the oldest gives way, and is"
        " logged as unreplied. Few clients have more than one in flight.",
    )
    stub_bytes: int = Field(
        default=MIB,
        ge=4096,
        le=1 << 30,
        description="Data of one call, and of one answer, put together of fragments; what is beyond is left out."
        " Suricata keeps as much.",
    )
    memcap_bytes: int = Field(
        default=64 * MIB,
        ge=65536,
        description="Unfinished messages and calls, over all flows. Beyond it they are skipped.",
    )
