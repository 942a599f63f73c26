"""Limits of mails, which all protocols that carry them have: each with its unit in the name, and the reason for its
default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


class MailSettings(BaseModel):
    """Bounds of mails. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    header_bytes: int = Field(
        default=32 * KIB, ge=KIB, le=MIB, description="Bytes of the head of a mail, or of a part of it, that are read."
    )
    header_count: int = Field(default=512, ge=16, le=65536, description="Headers of a head that are read.")
    parts: int = Field(
        default=256, ge=1, le=65536, description="Parts of a mail that are told apart; what follows is no part."
    )
    text_bytes: int = Field(
        default=100 * KIB,
        ge=0,
        le=64 * MIB,
        description="Bytes of each text of a mail that rules on `email.body` see, and in which links are looked for."
        " Of attachments, `files.inspect_bytes` are.",
    )
    urls: int = Field(default=256, ge=0, le=65536, description="Links of a mail that are reported.")
    memcap_bytes: int = Field(
        default=64 * MIB,
        ge=64 * KIB,
        description="Unfinished lines, heads and texts, over all flows. Beyond it they are skipped.",
    )
