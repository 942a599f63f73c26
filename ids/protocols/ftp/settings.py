"""Limits of the FTP parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB
MAX_PORTS = 4
"""As many as the configuration of the fast path has room for (`ids.kernel.contract.CONFIG`)."""


class FtpSettings(BaseModel):
    """Bounds of the FTP parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(21,),
        max_length=MAX_PORTS,
        description="TCP ports of FTP servers. FTP is recognised at any port. With several workers"
        " (`engine.workers`) all of them are shown the connections of these, to know the data connections that they"
        " announce, whichever worker has those; what a server at another port announces, its own worker knows alone"
        " (`app_layer.expected.unshared`).",
    )
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
