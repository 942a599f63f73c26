"""Limits of the SMTP parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import Field

from ids.protocols.mime.settings import KIB, MIB, MailSettings


class SmtpSettings(MailSettings):
    """Bounds of the SMTP parser. What is beyond them is counted, and still seen by rules on the raw stream."""

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
    extended_in_events: bool = Field(
        default=False,
        description="Write `date`, `message_id`, `subject`, `x_mailer` and `received` of a mail in `smtp` events.",
    )
