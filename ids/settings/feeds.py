"""Settings of feeds that are kept up to date: where each comes from, how often, and by what it is known to be
genuine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _seconds(value: object) -> object:
    """Return a time span such as ``90s``, ``30m``, ``1h`` or ``7d`` in seconds."""
    if isinstance(value, str):
        found = re.fullmatch(r"(\d{1,9})([smhdw]?)", value)
        if found is None:
            raise ValueError("write a time span as 90s, 30m, 1h or 7d")
        return int(found[1]) * _UNITS[found[2] or "s"]
    return value


Span = Annotated[int, BeforeValidator(_seconds), Field(ge=1)]


class FeedSettings(BaseModel):
    """One feed."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, populate_by_name=True)

    label: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$",
        description="Name of the source: its whole set is replaced with each update, as `ids block import` does.",
    )
    url: str | None = Field(
        None, pattern=r"^https?://[^\s]+$", description="Where it is fetched; http only where it is signed."
    )
    file: Path | None = Field(None, description="Or the file that it is.")
    every: Span = Field(86_400, ge=60, description="How often it is asked for, such as 1h or 1d.")
    format: Literal["auto", "plain", "json", "csv"] = Field("auto", description="What it is.")
    column: str | None = Field(None, description="Column of a CSV, by name or by number from 1.")
    ttl_s: Span | None = Field(
        None, alias="for", description="How long its entries last without an update, such as 2d; null: for good."
    )
    shadow: bool = Field(False, description="Only count what would be dropped.")
    sha256: str | None = Field(None, description="URL or file of its SHA-256, as `sha256sum` writes it.")
    signature: str | None = Field(None, description="URL or file of its detached signature, by minisign or GnuPG.")
    minisign_key: str | None = Field(
        None, pattern=r"^[A-Za-z0-9+/=]{56}$", description="The public key of minisign that has to have signed it."
    )
    gpg_keyring: Path | None = Field(
        None, description="Or the keyring, as `gpg --export` writes it, one of whose keys has to; needs gpgv."
    )
    max_bytes: int = Field(64 << 20, ge=1024, le=1 << 30, description="The most that is read of it.")
    timeout_s: float = Field(120.0, gt=0, le=3600, description="How long a transfer may take in all.")
    ca_file: Path | None = Field(None, description="Certificates that are trusted; null: the system's.")

    @property
    def source(self) -> str:
        """Where it comes from."""
        return self.url or str(self.file)

    @property
    def identity(self) -> str:
        """What it is, and who vouches for it: another one has another history."""
        return f"{self.source} {self.minisign_key or self.gpg_keyring or ''}".rstrip()

    @model_validator(mode="after")
    def _sound(self) -> FeedSettings:
        if (self.url is None) == (self.file is None):
            raise ValueError(f"feed {self.label}: name either its url or its file")
        keys = [key for key in (self.minisign_key, self.gpg_keyring) if key is not None]
        if len(keys) != (self.signature is not None):
            raise ValueError(f"feed {self.label}: a signature goes with one of minisign_key and gpg_keyring")
        if self.url is not None and self.url.startswith("http:") and self.signature is None:
            raise ValueError(f"feed {self.label}: http lets everybody on the way change it; https, or a signature")
        return self
