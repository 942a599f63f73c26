"""Limits of the HTTP/2 parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import Field

from ids.protocols.http.settings import KIB, BodySettings


class Http2Settings(BodySettings):
    """Bounds of the HTTP/2 parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    block_bytes: int = Field(
        default=256 * KIB,
        ge=KIB,
        le=1 << 24,
        description="Compressed headers of one message that are read. Most servers stop at 8 to 64 KiB, those in Go at"
        " 1 MiB. Of a longer one nothing is read, and what later ones take from its table is unknown.",
    )
    table_bytes: int = Field(
        default=64 * KIB,
        ge=4 * KIB,
        le=1 << 24,
        description="Headers of one direction that later ones can refer to, however many the two sides agree on."
        " Browsers and servers agree on 4 to 64 KiB.",
    )
    open_streams: int = Field(
        default=1024,
        ge=1,
        le=65536,
        description="Streams of one connection that are open at once; servers allow 100 to 250. The oldest is reported"
        " as far as it came, and its rest without its head.",
    )
    memcap_bytes: int = Field(
        default=256 * KIB * KIB,
        ge=0,
        description="Unfinished messages kept, over all flows. Beyond it no more is kept of them.",
    )
