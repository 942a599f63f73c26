"""Limits of the NFS parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import Field

from ids.protocols.dialogue import DialogueSettings


class NfsSettings(DialogueSettings):
    """Bounds of the NFS parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    open_requests: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Calls of one flow that wait for their reply; the oldest gives way, and is logged without it. Linux"
        " has up to 128 under way.",
    )
    transfers: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Files of one flow that are read or written over several calls; the oldest gives way, and is"
        " logged.",
    )
    names: int = Field(
        default=4096,
        ge=1,
        le=1 << 20,
        description="Handles of files of one flow whose names are remembered; the oldest gives way. Listings of large"
        " directories have some thousands.",
    )
