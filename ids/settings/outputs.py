"""Settings of the outputs beside the EVE file: syslog, webhook, mail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ids.privacy import PrivacySettings
from ids.settings.respond import EventType

UDP_BYTES = 65_507
"""The longest message of a datagram over UDP and IPv4."""

Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip
"""In the order of their numbers (RFC 5424, table 1)."""


class OutputSettings(BaseModel):
    """What all outputs have."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    types: list[EventType] = Field(["alert", "drop"], description="Event types that are passed on.")
    severity: int = Field(
        255,
        ge=1,
        le=255,
        description="Alerts that are passed on: those of this severity or a worse one; 1 is the worst.",
    )
    buffer_bytes: int = Field(
        16 << 20,
        ge=4096,
        le=1 << 30,
        description="Bytes of events that may wait for a receiver that is slow, or away; beyond it the newest are lost,"
        " and counted. A replay waits instead, as long as the receiver takes something.",
    )
    privacy: PrivacySettings = PrivacySettings.model_construct()


class SyslogSettings(OutputSettings):
    """Events to a syslog server or the host's own, in the form of RFC 5424, each as JSON."""

    address: str | None = Field(
        None,
        pattern=r"^(unix:///.+|(udp|tcp|tls)://[^/\s]+)$",
        description="Where to: `unix:///dev/log`, `udp://192.0.2.1:514`, `tcp://192.0.2.1:601` or"
        " `tls://log.example:6514` (RFC 5425, the server's certificate is verified). Over TCP messages are separated"
        " by their length (octet counting, RFC 6587). Without it nothing is sent.",
    )
    facility: Facility = Field("local5", description="The facility of the messages.")
    identity: str = Field("ids", pattern=r"^[!-~]{1,48}$", description="The name of the program in the messages.")
    hostname: str | None = Field(
        None, pattern=r"^[!-~]{1,255}$", description="The name of the host in the messages; null is this host's."
    )
    message_bytes: int = Field(
        8192,
        ge=480,
        le=1 << 20,
        description="The longest message; over UDP 65,507 at most. Of a longer event payload and evidence are left out,"
        " then all but what says who, what and when.",
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="How long to wait for the receiver, each time.")
    ca_file: Path | None = Field(None, description="Certificates that are trusted for TLS; null: the system's.")

    @model_validator(mode="after")
    def _fits(self) -> SyslogSettings:
        if self.address is not None and self.address.startswith("udp:") and self.message_bytes > UDP_BYTES:
            raise ValueError(f"syslog.message_bytes: a datagram of UDP has {UDP_BYTES} at most")
        return self


class WebhookSettings(OutputSettings):
    """Events by HTTP: batches as JSON, posted to a URL, and again where that fails."""

    url: str | None = Field(
        None, pattern=r"^https?://[^\s]+$", description="Where to POST. Without it nothing is sent."
    )
    headers: dict[str, str] = Field({}, description="Headers of the requests, such as `Authorization`.")
    token_file: Path | None = Field(
        None, description="A file with a token, sent as `Authorization: Bearer …`; keeps it out of the configuration."
    )
    encoding: Literal["json", "ndjson"] = Field(
        "json", description="A batch as a JSON array, or as one object a line (`application/x-ndjson`)."
    )
    batch_events: int = Field(100, ge=1, le=10_000, description="Events of a request, at most.")
    batch_timeout_s: float = Field(
        1.0, ge=0, le=600, description="How long the first event of a request waits for others."
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="How long to wait for the connection, and for an answer.")
    ca_file: Path | None = Field(None, description="Certificates that are trusted; null: the system's.")


class MailSettings(OutputSettings):
    """A digest by mail: what was found in an interval, one mail for all of it; none where there was nothing."""

    server: str | None = Field(
        None, pattern=r"^[^\s/]{1,255}$", description="The mail server. Without it nothing is sent."
    )
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        None, description="Its port; null: 587 with STARTTLS, 465 with TLS, 25 without."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is encrypted; the server's certificate is verified."
    )
    username: str | None = Field(None, description="Whom to log in as; null: nobody.")
    password_file: Path | None = Field(None, description="A file with the password.")
    sender: str = Field("ids@localhost", pattern=r"^[^\s<>]+@[^\s<>]+$", description="The address the mail is from.")
    to: list[Annotated[str, Field(pattern=r"^[^\s<>,]+@[^\s<>,]+$")]] = Field([], description="Who gets it.")
    interval_s: float = Field(3600.0, ge=1, le=604_800, description="Seconds between two mails, at least.")
    alerts: int = Field(50, ge=0, le=1000, description="Alerts that a mail has in full; the rest are counted by rule.")
    timeout_s: float = Field(30.0, gt=0, le=600, description="How long to wait for the server, each time.")
    ca_file: Path | None = Field(None, description="Certificates that are trusted; null: the system's.")

    @model_validator(mode="after")
    def _complete(self) -> MailSettings:
        if self.server is not None and not self.to:
            raise ValueError("mail.to: name who gets the mail")
        if self.username is not None and self.password_file is None:
            raise ValueError("mail.password_file: say where the password is")
        return self
