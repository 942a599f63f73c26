"""Settings of response: who may be blocked, for how long, and who never; and of the events that say so."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PrivateAttr,
    model_validator,
)

from ids.errors import Location
from ids.privacy import PrivacySettings
from ids.types import unmapped


def _word(value: object) -> object:
    """Take YAML's ``off`` for the word that it looks like: YAML 1.1 reads it as false."""
    return "off" if value is False else value


BlockModeName = Annotated[Literal["enforce", "shadow", "off"], BeforeValidator(_word)]


ActionName = Literal["pass", "drop", "reject", "alert"]


ExceptionPolicy = Literal["auto", "ignore", "drop-flow", "reject", "bypass", "pass-flow"]
"""What becomes of a flow that cannot be inspected as it should."""

ForwardedHeader = Literal["x-forwarded-for", "forwarded", "proxy-protocol"]


Networks = list[Annotated[IPvAnyNetwork, AfterValidator(unmapped)]]


class RuleException(BaseModel):
    """A rule that is not heard of some addresses."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sid: int = Field(ge=1, description="The rule.")
    gid: int = Field(1, ge=1, description="Its group.")
    src_ip: Networks = Field(default=[], description="Senders of what matches; none: whoever.")
    dst_ip: Networks = Field(default=[], description="Receivers of what matches; none: whoever.")
    comment: str = Field("", description="Why.")
    _place: Location | None = PrivateAttr(None)

    @property
    def place(self) -> Location:
        """Where it was written; of one that was made otherwise, the setting's name."""
        return self._place or Location("respond.exceptions")

    def written_at(self, place: Location) -> None:
        """Note where it was written, for whoever has something to say of it."""
        self._place = place

    @model_validator(mode="after")
    def _of_somebody(self) -> RuleException:
        if not (self.src_ip or self.dst_ip):
            raise ValueError("src_ip or dst_ip is missing; a rule that nobody needs goes into rules.disabled_sids")
        return self


class RespondSettings(BaseModel):
    """What becomes of a match."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    mode: BlockModeName = Field(
        "enforce",
        description="`enforce` blocks as the rules ask; `shadow` only counts in the kernel what it would have dropped;"
        " `off` never writes a block. Start with `shadow` on a gateway that you do not know yet.",
    )
    allow: Networks = Field(
        default=[], description="Networks that are never blocked, whatever matches. They win in the kernel too."
    )
    exceptions: list[RuleException] = Field(
        default=[],
        description="Rules, in whatever file and language, that do not count where addresses are these: no alert, no"
        " drop, no block. Each with `sid` (and `gid`, where it is not 1), `src_ip` or `dst_ip` or both (lists of"
        " networks: senders and receivers of what matches), and a `comment`. They stay when a rule's file is replaced.",
    )
    protect_own: bool = Field(
        True,
        description="Never block an address of this host, of its gateways or of its resolvers: a forged packet from"
        " one of them must not cut the host off.",
    )
    block_home: bool = Field(
        False,
        description="Whether rules may block an address inside `vars.HOME_NET` for what it has to do with one outside."
        " Such a host is more often a victim (a browser that was made to follow a link with an exploit in it) than an"
        " attacker, so it is alerted on and not blocked, unless the rule says `home: true`; `then: drop` still drops"
        " the flow. Has no effect where `HOME_NET` is `any`: then nobody is outside.",
    )
    trusted_proxies: Networks = Field(
        default=[],
        description="Reverse proxies, load balancers and CDNs that hand on who asked. They are never blocked: where a"
        " rule asks for it, the flow is dropped instead. Alerts name the client that they speak for, and what is"
        " counted by source counts that client. See docs/proxies.md for what such a proxy has to do.",
    )
    forwarded_headers: list[ForwardedHeader] = Field(
        default=[],
        description="By what they do: the header that your proxies append to or set themselves, or the PROXY protocol."
        " Any other comes from whoever asked, so none is believed unless it is named here.",
    )
    default_ttl_s: int = Field(
        3600, ge=1, le=31_536_000, description="How long a block lasts, in seconds, where the rule does not say."
    )
    max_ttl_s: int = Field(
        86_400 * 7,
        ge=1,
        le=100 * 366 * 86_400,
        description="Longest block in seconds, also for repeat offenders: addresses change hands.",
    )
    repeat_factor: float = Field(
        2.0,
        ge=1,
        le=100,
        description="Each further block of the same source lasts this many times longer; but not one that follows on a"
        " block which somebody lifted, or which was only counted (shadow).",
    )
    ipv6_prefix: int = Field(
        64,
        ge=48,
        le=128,
        description="Prefix length of IPv6 blocks: a host has a /64 to itself, and changes addresses in it at will.",
    )
    max_blocks_per_minute: int = Field(
        6000,
        ge=1,
        description="Blocks by rules in one minute; above it matches alert without blocking, and are counted. Bounds"
        " the harm of a rule that matches everybody.",
    )
    alerts_per_flow: int = Field(
        1024,
        ge=1,
        description="Alerts of one flow; further ones are counted only, so that a flow cannot fill the disk.",
    )
    alerts_per_packet: int = Field(
        256,
        ge=1,
        le=65_535,
        description="Alerts of one packet, the most severe first; further ones are counted only"
        " (`detect.alert_queue_overflow`), and what their rules ask for besides is done. Suricata's `packet-alert-max`,"
        " where it is 15.",
    )
    action_order: Annotated[list[ActionName], Field(min_length=4, max_length=4)] = Field(
        ["pass", "drop", "reject", "alert"],
        description="In which order matches in the same packet are decided, by what their rules ask for. Nothing is"
        " heard any more once a rule has let a flow pass.",
    )
    drop_packets: bool = Field(
        False,
        description="Drop no more than the packet where a rule of a `.rules` file matches in single packets and not in"
        " the stream, as Suricata does inline. Only a replay can: behind the kernel's gate a packet that was inspected"
        " has passed, so what is dropped is the rest of its flow.",
    )
    exception_policy: ExceptionPolicy = Field(
        "auto",
        description="What becomes of a flow that cannot be inspected as it should, where the setting of the case says"
        " nothing (`stream.midstream_policy`): `ignore` goes on; `drop-flow` and `reject` drop it, as `mode` allows;"
        " `bypass` lets it pass uninspected; `pass-flow` parses and logs it, and no rule is heard. `auto` is what"
        " Suricata does: with `drop_packets`, a connection whose beginning was not seen is dropped unless"
        " `stream.midstream` is on; else `ignore`.",
    )
    inspect_dropped: bool = Field(
        True,
        description="Report also what is found in a dropped flow behind the packet for which it is dropped. The kernel"
        " shows no more of it; a replay reads on, and says with this what else is in the capture.",
    )


EventType = Literal[
    "alert", "flow", "drop", "http", "dns", "tls", "websocket", "fileinfo",
    "ssh", "smtp", "ftp", "ftp_data", "imap", "pop3",
    "smb", "dcerpc", "krb5", "ldap", "rdp",
    "quic", "mqtt", "sip", "dhcp", "snmp", "tftp", "ntp", "ike", "rfb", "pgsql", "modbus", "bittorrent_dht", "dnp3",
    "enip", "nfs",
    "mysql", "redis", "telnet", "bittorrent",
    "anomaly", "packet", "stats",
]  # fmt: skip

EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


class EveSettings(BaseModel):
    """The EVE JSON output."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: str | None = Field(
        None,
        description="File to append events to, one JSON object a line; `-` is stdout. Or a socket: see `filetype`.",
    )
    filetype: Literal["regular", "unix_stream", "unix_dgram"] = Field(
        "regular", description="What `path` is: a file, or a Unix socket that somebody listens at, as in Suricata."
    )
    buffer_bytes: int = Field(
        64 << 20,
        ge=4096,
        le=1 << 31,
        description="Bytes of events that may wait for a socket; beyond it they are lost.",
    )
    privacy: PrivacySettings = PrivacySettings.model_construct()
    types: list[EventType] = Field(list(EVENT_TYPES), description="Event types that are written.")
    community_id_seed: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Seed of `community_id`. Tools recognise a flow by it only where all of them have the same seed.",
    )
    community_id_turned: bool = Field(
        False,
        description="Order the ports of a flow whose two addresses are the same by their bytes turned round, as"
        " Suricata does on most machines, not as the specification of Community IDs says; a suricata.yaml has it so.",
    )
    full_ipv6: bool = Field(
        False,
        description="Spell IPv6 addresses with all their zeros, as Suricata does; a suricata.yaml has it so.",
    )
    dns: list[Literal["query", "answer"]] = Field(
        ["query", "answer"], description="Which `dns` events are written: of queries, of answers."
    )
    anomalies: list[Literal["stream", "applayer"]] = Field(
        ["stream", "applayer"],
        description="Which `anomaly` events are written besides those of packets: of TCP connections, of what is said"
        " in them. Of a suricata.yaml, those of its `types`; `applayer` where it says nothing.",
    )
    anomaly_of_receiver: bool = Field(
        False,
        description="Name as source of an `anomaly` of what is said over TCP who received it: Suricata reads it once"
        " that is acknowledged, unless packets are dropped (`respond.drop_packets`). A suricata.yaml has it so.",
    )
    packet_anomalies: int = Field(
        10,
        ge=0,
        le=1_000_000,
        description="`anomaly` events of type `decode`, of each kind in one second of traffic; what is more is counted"
        " (`decode.anomalies_not_written`). Some networks are full of odd packets, and Suricata writes none unless it"
        " is told to: 0. A suricata.yaml with `decode: yes` among the types of its anomaly output means all.",
    )
    payload: bool = Field(
        False,
        description="Write what an alert was raised for: `payload` (Base64) has the packet's payload, or what its side"
        " of the stream said up to there, and `stream` which of the two it is. Costs memory: `payload_bytes` of each"
        " side of each connection are kept.",
    )
    payload_printable: bool = Field(
        False, description="Write the same as text, `payload_printable`; what is not printable is a dot."
    )
    payload_bytes: int = Field(
        4096, ge=64, le=65_536, description="The most that is written of a stream: its last so many bytes."
    )
    packet: bool = Field(
        False, description="Write the frame of each alert as it was captured, in Base64: `packet`, `packet_info`."
    )
    ethernet: bool = Field(False, description="Write `ether`, the addresses of the frame, in alerts and `drop` events.")
    guess_exchange: bool = Field(
        False,
        description="Show in alerts of rules on single packets the exchange that goes on in their flow. Those of rules"
        " on bytes of a stream, or on datagrams of a protocol, do so anyway. Suricata's `detect.guess-applayer-tx`.",
    )
    verdict: bool = Field(False, description="Write `verdict` in alerts and `drop` events: what became of the packet.")
    xff: Literal["off", "extra", "overwrite"] = Field(
        "off",
        description="Show in alerts on HTTP whom a proxy says that it speaks for: as `alert.xff` (`extra`), or in the"
        " place of the sender's address (`overwrite`). Anybody can write such a header; nothing is decided by it.",
    )
    xff_deployment: Literal["reverse", "forward"] = Field(
        "reverse", description="Which address of the header that is: the last one (`reverse`), or the first."
    )
    xff_header: str = Field("X-Forwarded-For", min_length=1, max_length=64, description="The header that names it.")
    tagged_packets: bool = Field(
        False,
        description="Write the packets that rules ask for with `tag` as `packet` events: those of the session or host"
        " that follow on an alert.",
    )
    drop_alert: bool = Field(False, description="Write the `alert` that was the reason in `drop` events.")
    drop_flows: Literal["match", "start", "all"] = Field(
        "match",
        description="Which packets of a dropped flow have a `drop` event: the one that `match`ed; also the first that"
        " follows each way (`start`); or `all`. What the kernel drops is not seen, so the last two are for a replay.",
    )


class CapturesSettings(BaseModel):
    """A capture file for each alert: the packets of its flow around the match."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    dir: str | None = Field(
        None,
        description="Directory for the files (0700), which alerts name as `capture_file`; without it there are none."
        " `--pcap-out` of `ids replay` and `ids run` sets it.",
    )
    packets: int = Field(64, ge=1, le=4096, description="Packets of a file, at most.")
    packets_before: int = Field(
        32, ge=1, le=4096, description="Of these, before the match and with it: as far as they came a moment before."
    )
    file_bytes: int = Field(1 << 18, ge=2048, le=1 << 26, description="Bytes of a file, at most.")
    wait_s: float = Field(10.0, gt=0, le=3600, description="Seconds after which a file ends, though it has room.")
    files: int = Field(1000, ge=1, le=100_000, description="Files in the directory; the oldest give way.")
    total_bytes: int = Field(1 << 28, ge=1 << 16, description="Bytes of all files; the oldest give way.")
