"""Limits of the FTP parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


class FtpSettings(BaseModel):
    """Bounds of the FTP parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line_bytes: int = Field(
        default=4 * KIB,
        ge=512,
        le=MIB,
        description="Bytes of a command or of a line of a reply that are read. Paths have 4 KiB at most.",
    )
    open_commands: int = Field(
        default=256,
        ge=4,
        le=65536,
        description="Commands of one session that wait for their reply; the oldest is reported without.",
    )
    reply_lines: int = Field(
        default=256, ge=1, le=65536, description="Lines of the replies to one command that are reported."
    )
    memcap_bytes: int = Field(
        default=32 * MIB,
        ge=64 * KIB,
        description="Unfinished lines, and commands that wait, over all"
        " flows. Beyond it lines are skipped, and commands reported without their replies.",
    )
