"""Settings of the fast path; ``ids.config`` embeds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

PAGE_BYTES = 4096


def _ring_size(value: int) -> int:
    if value & (value - 1) or value < PAGE_BYTES:
        raise ValueError(f"a ring's size has to be a power of two and at least {PAGE_BYTES} bytes")
    return value


RingBytes = Annotated[int, AfterValidator(_ring_size)]


def _word(value: object) -> object:
    """Take ``on`` and ``off`` for the words that they look like: YAML 1.1 reads them as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


ReplayJudge = Annotated[Literal["auto", "kernel", "model", "off"], BeforeValidator(_word)]
Choice = Annotated[Literal["auto", "on", "off"], BeforeValidator(_word)]


class FastPathSettings(BaseModel):
    """How the XDP program is attached, how large its tables are and what its limits are."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    pin_dir: Path = Field(
        Path("/sys/fs/bpf/ids"),
        description="Folder on a bpffs; in it, a folder for each instance keeps maps and links between runs.",
    )
    mode: Literal["auto", "native", "generic"] = Field(
        "auto",
        description="Where XDP hooks in: auto takes native where the driver has it, else generic, and says so.",
    )
    egress: Choice = Field(
        "auto",
        description="Whether what this host sends is seen too: nothing else shows the replies of its own services."
        " By a TCX link (Linux 6.6), or a clsact filter; auto does without, and says so, where neither is available.",
    )
    jumbo_frames: bool = Field(
        False,
        description="Take packets larger than one buffer of the driver (MTU above about 3500), by multi-buffer XDP,"
        " where the driver has it. Costs a few ns a packet. Takes effect with fresh pins (`ids detach`).",
    )
    on_stop: Literal["keep", "detach", "remove"] = Field(
        "keep",
        description="What an orderly stop leaves: keep, program and blocks in force, so that a restart lets nobody in"
        " (`ids detach` takes them off); detach, the lists only, for the next start; remove, nothing. A killed engine"
        " always leaves everything in force.",
    )
    blocks_entries: int = Field(
        1 << 20,
        ge=1,
        le=1 << 26,
        description="Blocked addresses of a family, and claims of further sources on networks that are blocked already;"
        " 16 bytes each even when unused, up to 136 when used.",
    )
    prefixes_entries: int = Field(
        1 << 18, ge=1, le=1 << 24, description="Blocked prefixes of a family; public feeds together have about 100,000."
    )
    allow_entries: int = Field(1 << 16, ge=1, le=1 << 24, description="Allowed prefixes of a family.")
    flows_entries: int = Field(
        1 << 17,
        ge=64,
        le=1 << 24,
        description="Conversations of a family that are tracked at once; about 180 bytes each.",
    )
    proven_entries: int = Field(
        1 << 17,
        ge=64,
        le=1 << 24,
        description="Sources of a family remembered to have completed a handshake; 80 bytes each.",
    )
    budgets_entries: int = Field(
        1 << 17, ge=64, le=1 << 24, description="Token buckets; the least recently used go when a flood needs more."
    )
    fragments_entries: int = Field(
        1 << 14,
        ge=64,
        le=1 << 24,
        description="Datagrams in fragments of which something is remembered: that they are of a condemned flow, or"
        " answers that somebody asked for.",
    )
    repeats_entries: int = Field(
        1 << 18,
        ge=64,
        le=1 << 24,
        description="Challenged SYNs that are remembered, to know them when they come again; 8 bytes each. Of a flood"
        " of as many a second, a third is still known after one.",
    )
    ring_small_bytes: RingBytes = Field(
        1 << 22,
        le=1 << 30,
        description="Rings for packets up to 184 bytes, shared out among the workers: 4 MiB hold 16,384 of them.",
    )
    ring_large_bytes: RingBytes = Field(
        1 << 24,
        le=1 << 30,
        description="Rings for larger packets, shared out alike: 16 MiB hold 8,192, some 100 ms of a busy gigabit.",
    )
    depth_tcp_bytes: int = Field(
        1 << 20,
        ge=0,
        lt=1 << 32,
        description="Payload shown of each side of a TCP flow, in each turn of the conversation: it begins anew when"
        " the other side speaks. Suricata's stream depth is as large, once a flow.",
    )
    depth_udp_bytes: int = Field(1 << 18, ge=0, lt=1 << 32, description="Bytes shown of each side of a UDP flow.")
    depth_other_bytes: int = Field(
        1 << 16, ge=0, lt=1 << 32, description="Bytes shown of each side of any other flow (ICMP, ESP, ...)."
    )
    thin_after_bytes: int = Field(
        1 << 14,
        ge=0,
        lt=1 << 32,
        description="While more than three quarters of a ring wait to be read, a side of a flow that has been shown"
        " more than this gives way: the rest of the room is for the beginnings of flows, where most attacks are.",
    )
    syn_per_source_per_s: float = Field(
        200.0,
        ge=0,
        le=1e7,
        description="Opening SYNs a second of one source (an IPv6 /64) that nobody answers; a completed handshake gives"
        " its token back, so that proxies and NATs have no limit; 0: no limit for anybody.",
    )
    syn_burst_per_source: int = Field(
        4096,
        ge=1,
        le=1 << 20,
        description="Connections that a source may have in the middle of their handshakes: a proxy that opens 14,000 a"
        " second over 100 ms has 1,400.",
    )
    udp_per_source_per_s: float = Field(
        0.0,
        ge=0,
        le=1e8,
        description="UDP packets a second of one source; 0 (no limit), as QUIC legitimately sends many.",
    )
    udp_burst_per_source: int = Field(
        10_000, ge=1, le=1 << 24, description="UDP packets that a source may send at once."
    )
    icmp_per_source_per_s: float = Field(
        1000.0,
        ge=0,
        le=1e8,
        description="ICMP packets a second of one source, but for answers to pings; a monitor sends hundreds, a flood"
        " tens of thousands; 0: no limit.",
    )
    icmp_burst_per_source: int = Field(
        2000, ge=1, le=1 << 24, description="ICMP packets that a source may send at once."
    )
    syn_per_destination_per_s: float = Field(
        1000.0,
        ge=0,
        le=1e8,
        description="Opening SYNs a second to one address, of sources that are not proven, that nobody answers. From"
        " the first one beyond it until it has been below that again for a while, such sources have to prove"
        " themselves; 0: no limit.",
    )
    syn_burst_per_destination: int = Field(
        256,
        ge=1,
        le=1 << 24,
        description="SYNs to one address at once: less than the queue of a common server (511), so it never fills.",
    )
    udp_per_destination_per_s: float = Field(
        0.0, ge=0, le=1e8, description="UDP packets a second to one address; 0 (no limit): it depends on the service."
    )
    udp_burst_per_destination: int = Field(50_000, ge=1, le=1 << 24, description="UDP packets to one address at once.")
    icmp_per_destination_per_s: float = Field(
        5000.0,
        ge=0,
        le=1e8,
        description="ICMP packets a second to one address, from all sources, but for answers to pings; 0: no limit.",
    )
    icmp_burst_per_destination: int = Field(
        10_000, ge=1, le=1 << 24, description="ICMP packets to one address at once."
    )
    reflected_per_destination_per_s: float = Field(
        1000.0,
        ge=0,
        le=1e8,
        description="Large UDP packets a second from amplifiers' ports (DNS, NTP, ...) to one address that did not ask"
        " for them; 0: no limit.",
    )
    reflected_burst_per_destination: int = Field(
        2000, ge=1, le=1 << 24, description="Such packets at once: a resolver's answers come in bursts."
    )
    reflection_bytes: int = Field(
        400,
        ge=0,
        le=65535,
        description="Frame length from which such a packet is large; amplified answers are 400 to 1500.",
    )
    syn_repeated_per_destination_per_s: float = Field(
        8.0,
        ge=0,
        le=1e6,
        description="SYNs a second to one address, challenged in vain and sent again by their clients, that nobody"
        " answers: beyond it they are challenged again. Low, as forged ones would fill a server's queue; 0: no limit.",
    )
    syn_repeated_burst_per_destination: int = Field(
        128, ge=1, le=1 << 20, description="Such connections in the middle of their handshakes."
    )
    challenge_syns: bool = Field(
        True,
        description="Beyond a destination's SYN budget, let unknown sources prove their address; else drop.",
    )
    syn_cookies: bool = Field(
        True,
        description="Beyond it, answer SYNs to this host's own services with SYN cookies of its kernel, unless"
        " `net.ipv4.tcp_syncookies` or `net.netfilter.nf_conntrack_tcp_loose` is 0; then, and with this off, they are"
        " treated like those that pass through.",
    )
    unparsed: Literal["pass", "drop"] = Field(
        "pass",
        description="What becomes of frames without an address that the lists could be asked about: no IPv4 or IPv6"
        " behind Ethernet and at most eight VLAN tags. `drop` spares ARP alone, not LLDP, 802.1X, PPPoE or MPLS.",
    )
    proven_s: int = Field(
        3600, ge=1, le=1 << 31, description="How long a completed handshake proves a source: addresses change hands."
    )
    gone_after_s: int = Field(
        30,
        ge=0,
        le=86400,
        description="Silence after which the engine counts as gone; 0: never. It beats once a second.",
    )
    when_gone: Literal["keep", "pass"] = Field(
        "keep", description="What the gate does when the engine has gone: keep blocking, or pass everything."
    )
    replay: ReplayJudge = Field(
        "auto",
        description="What judges the packets of `ids replay`: the program itself (`kernel`; needs root), its model"
        " in Python (takes twice as long), nobody (`off`), or what serves best (`auto`): the program where it is"
        " available, but for small captures, for which the model is done before the program is loaded.",
    )
