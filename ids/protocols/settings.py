"""Limits of protocol recognition and of each parser, with their units and the reasons for their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from ids.protocols.ftp import PROTOCOL as FTP
from ids.protocols.protocol import Protocol
from ids.protocols.registry import PROTOCOLS


class RecognitionSettings(BaseModel):
    """Bounds of protocol recognition and parsing."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    probe_bytes: int = Field(
        default=256,
        ge=16,
        le=65536,
        description="Bytes of a direction by which its protocol must be recognised; every one shows within these.",
    )
    probe_datagrams: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="Datagrams of a UDP flow by which its protocol must be recognised: a question and its answer,"
        " each sent once again.",
    )

    @property
    def shared_ports(self) -> tuple[int, ...]:
        """TCP ports at which connections announce others, so that every worker is shown them."""
        ports: tuple[int, ...] = self.of(FTP).ports
        return ports

    def of(self, protocol: Protocol) -> Any:
        """Return the settings of one protocol; None for a protocol that has none."""
        return getattr(self, protocol.name, None) if protocol.settings is not None else None


if TYPE_CHECKING:
    ProtocolSettings = RecognitionSettings
else:
    ProtocolSettings = create_model(
        "ProtocolSettings",
        __base__=RecognitionSettings,
        __doc__=RecognitionSettings.__doc__,
        **{
            protocol.name: (protocol.settings, Field(default_factory=protocol.settings.model_construct))
            for protocol in PROTOCOLS
            if protocol.settings is not None
        },
    )
"""The group ``protocols`` of the settings: recognition, and a group for each protocol with settings of its own."""
