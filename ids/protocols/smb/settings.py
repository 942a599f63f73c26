"""Limits of the SMB parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


class SmbSettings(BaseModel):
    """Bounds of the SMB parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    message_bytes: int = Field(
        default=8 * MIB + 64 * KIB,
        ge=64 * KIB,
        le=1 << 24,
        description="Bytes of one message that are read; the rest is skipped. Servers take 8 MiB in one write.",
    )
    messages_compounded: int = Field(
        default=1024,
        ge=16,
        le=65536,
        description="Commands of one message that are read. Clients compound three or four.",
    )
    open_requests: int = Field(
        default=1024,
        ge=16,
        le=1 << 20,
        description="Requests of one connection that wait for their answer; the oldest gives way, and is logged as it"
        " is. Clients have some dozens under way; servers allow 512 to 8,192.",
    )
    open_files: int = Field(
        default=1024,
        ge=16,
        le=1 << 20,
        description="Open files and pipes of one connection whose names are kept; the oldest gives way.",
    )
    open_trees: int = Field(
        default=256,
        ge=4,
        le=65536,
        description="Trees of one connection whose names are kept; the oldest gives way. Clients have a few.",
    )
    queued_bytes: int = Field(
        default=4 * MIB,
        ge=64 * KIB,
        le=1 << 30,
        description="Of one file, bytes that came before those in front of them. Clients have eight requests under way;"
        " beyond it, what is missing counts as lost.",
    )
    open_calls: int = Field(
        default=128,
        ge=1,
        le=65536,
        description="Calls through one pipe that wait for their answer or for more fragments; the oldest gives way.",
    )
    stub_bytes: int = Field(
        default=MIB,
        ge=4096,
        le=1 << 30,
        description="Data of one call through a pipe, and of one answer, put together of fragments; what is beyond is"
        " left out. Suricata keeps as much.",
    )
    memcap_bytes: int = Field(
        default=256 * MIB,
        ge=MIB,
        description="Unfinished messages and calls, and what is queued of files, over all flows. Beyond it they are"
        " skipped.",
    )
