"""Limits of the IMAP and POP3 parsers: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import Field

from ids.protocols.mime.settings import KIB, MIB, MailSettings


class MailboxSettings(MailSettings):
    """Bounds of such a parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    line_bytes: int = Field(
        default=8 * KIB,
        ge=512,
        le=MIB,
        description="Bytes of a command or of a line of an answer that are read. RFC 7162 asks for 8 KiB.",
    )
    open_commands: int = Field(
        default=256,
        ge=4,
        le=65536,
        description="Commands of one session that wait for their answer; the oldest is reported without.",
    )
