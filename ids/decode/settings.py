"""Limits of the decode stage: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class DefragSettings(BaseModel):
    """Bounds of IP reassembly."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    max_datagrams: int = Field(
        default=32_768,
        ge=1,
        le=1 << 20,
        description="Incomplete datagrams held at once, about 1 kB each. When full, those of the destination or source "
        "that holds most give way, the oldest first. A host holds fewer, Linux 4 MiB of fragments; but here are those "
        "of many hosts.",
    )
    memcap_bytes: int = Field(
        default=32 << 20,
        ge=0,
        description="Bytes of all fragments held, bookkeeping included. Suricata's defrag.memcap.",
    )
    versions: int = Field(
        default=8,
        ge=1,
        le=8,
        description="Versions of a datagram that are inspected where its fragments contradict each other, for hosts"
        " differ in which copy they keep. There are seven ways, and time may make more. 1: only what Linux sees.",
    )
    timeout_s: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        description="How long a datagram may stay incomplete, by packet time. Linux waits 30 s for IPv4, 60 s for "
        "IPv6, others up to 120 s (RFC 1122); waiting less than the host would lose what it still puts together. What"
        " a less patient host would see is inspected too.",
    )


Ports = tuple[Annotated[int, Field(ge=1, le=65535)], ...]


class TunnelSettings(BaseModel):
    """What is looked into besides the outermost packet: GRE with ERSPAN, IP in IP, and tunnels over UDP.

    The XDP program goes by these too: it shows tunnels whatever the depth, and asks its lists for who sends within.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    max_depth: int = Field(
        default=4,
        ge=0,
        le=8,
        description="Tunnels within each other that are looked into; each is one more row for its packet. What is"
        " deeper is inspected as content of the last one, and reported (`decoder.too_many_layers`). 0: none, every"
        " tunnel is one flow. Real networks have two or three.",
    )
    vxlan_ports: Ports = Field(
        default=(4789, 8472, 4790),
        description="UDP ports of VXLAN: IANA's, Linux's own default, and VXLAN-GPE's.",
    )
    geneve_ports: Ports = Field(default=(6081,), description="UDP ports of Geneve.")
    teredo_ports: Ports = Field(
        default=(3544,),
        description="UDP ports of Teredo servers; between clients it is found on any. None: not at all.",
    )

    @property
    def udp_ports(self) -> tuple[Ports, Ports, Ports] | None:
        """UDP ports of VXLAN, Geneve and Teredo; None where no tunnel is looked into."""
        return (self.vxlan_ports, self.geneve_ports, self.teredo_ports) if self.max_depth else None


class DecodeSettings(BaseModel):
    """How packets are judged before they become flows."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    checksums: Literal["auto", "all", "none"] = Field(
        default="auto",
        description="Leave out packets with a bad IPv4, TCP, UDP or ICMP checksum: the receiving host drops them, so "
        "taking them in would let an attacker slip noise into a stream. On interfaces, `auto` also takes a TCP or UDP "
        "checksum that its sender left to a device, as containers do (just the sum of the pseudo header); "
        "a TCP segment like that only of a sender whose connections open like that, and are answered. In a capture, "
        "`auto` stops verifying, and says so, when many of the first 1000 packets are bad: captured before the "
        "card filled checksums in. There it also takes datagrams (UDP, ICMP) with a bad checksum, which take nobody's "
        "place, and counts them (`decode.datagram_bad_checksum`). Also `-k`.",
    )
    defrag: DefragSettings = DefragSettings.model_construct()
    tunnels: TunnelSettings = TunnelSettings.model_construct()
