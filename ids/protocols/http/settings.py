"""Limits of the HTTP/1 parser, and those of bodies that HTTP/2 has as well: each with its unit in the name, and the
reason for its default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024


class BodySettings(BaseModel):
    """Bounds of bodies, which all versions of HTTP have."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    request_body_bytes: int = Field(
        default=100 * KIB,
        ge=0,
        le=1 << 30,
        description="Request body inspected, after removing the transfer coding; Suricata's request-body-limit.",
    )
    response_body_bytes: int = Field(
        default=100 * KIB,
        ge=0,
        le=1 << 30,
        description="Response body inspected, after decompression; Suricata's response-body-limit.",
    )
    decompression_layers: int = Field(
        default=4, ge=0, le=8, description="Content codings undone, one after the other. Browsers undo any number."
    )
    decompression_ratio: int = Field(
        default=2048,
        ge=2,
        description="A body that grows by more than this is a decompression bomb: what was decoded so far is "
        "inspected. Deflate cannot exceed 1032 in one layer.",
    )


class HttpSettings(BodySettings):
    """Bounds of the HTTP/1 parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    header_bytes: int = Field(
        default=64 * KIB,
        ge=KIB,
        le=1 << 24,
        description="First line and headers of one message that are read at once. Servers stop at 8 to 64 KiB; what is"
        " beyond is reported in parts.",
    )
    header_count: int = Field(
        default=256,
        ge=8,
        le=65536,
        description="A message with more headers is counted (`http.too_many_headers`); all of them are read."
        " Servers stop at about 100.",
    )
    memcap_bytes: int = Field(
        default=256 * KIB * KIB,
        ge=0,
        description="Unfinished messages kept, over all flows. Beyond it they are reported as far as they came.",
    )
    open_requests: int = Field(
        default=1024,
        ge=1,
        le=65536,
        description="Requests of one connection that wait for their response; nginx takes 1,000 of one connection, and"
        " whoever reads no answers has them carried out unseen. Those beyond are read when it answers, as"
        " servers do; where 64 KiB (`header_bytes`) of them wait, the oldest is given up for each that is read.",
    )
    logged_headers: Literal["none", "request", "response", "both"] = Field(
        default="none",
        description="Whose headers `http` events list, all of them, as Suricata's `dump-all-headers`. Such events cost"
        " more: every message is read the careful way.",
    )
    logged_header_names: tuple[str, ...] = Field(
        default=(),
        max_length=256,
        description="Headers that `http` events list besides, of both sides, as Suricata's `custom`; likewise.",
    )

    @property
    def lists_headers(self) -> bool:
        """Return whether events list any headers."""
        return self.logged_headers != "none" or bool(self.logged_header_names)
