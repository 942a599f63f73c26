"""Limits of the SMTP parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


class SmtpSettings(BaseModel):
    """Bounds of the SMTP parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line_bytes: int = Field(
        default=4 * KIB,
        ge=512,
        le=MIB,
        description="Bytes of a command or of a line of a reply that are read. RFC 5321 asks for 512, AUTH for more.",
    )
    open_commands: int = Field(
        default=1024,
        ge=16,
        le=65536,
        description="Commands of one session that wait for their reply. With more, replies are not told apart.",
    )
    recipients: int = Field(
        default=1000,
        ge=1,
        le=65536,
        description="Recipients of one mail that are reported. Most servers take 100 to 1000.",
    )
    hold_bytes: int = Field(
        default=64 * KIB,
        ge=4 * KIB,
        le=MIB,
        description="Bytes behind DATA or STARTTLS that wait until the server has said what they are. Beyond it they"
        " are read as a mail.",
    )
    header_bytes: int = Field(
        default=32 * KIB,
        ge=KIB,
        le=MIB,
        description="Bytes of the head of a mail, or of a part of it, that are read.",
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
    extended_in_events: bool = Field(
        default=False,
        description="Write `date`, `message_id`, `subject`, `x_mailer` and `received` of a mail in `smtp` events.",
    )
