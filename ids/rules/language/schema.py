"""What a YAML rule file may contain: Sigma's metadata, Suricata's identity, Falco's lists and exceptions."""

from __future__ import annotations

import base64
import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from ids.rules.language.schema_memory import (
    AfterSchema,
    CounterChangeSchema,
    CountSchema,
    LogPacketsSchema,
    SetSchema,
    WhenSchema,
)
from ids.rules.language.schema_parts import Form, Kind, Name, Schema, Seconds, refuse_empty
from ids.rules.model.rule import RuleTest
from ids.types import BlockMode, BlockRequest, Stores

Level = Literal["informational", "low", "medium", "high", "critical"]

SEVERITY: dict[str, int] = {"critical": 1, "high": 1, "medium": 2, "low": 3, "informational": 4}
"""EVE's severity of each level, as Suricata's users read it: 1 high, 3 low. The level itself is in the metadata."""

MAX_TEXT = 4096
"""Characters of one text; a longer description belongs into the references."""

MAX_STATE = 64
"""Bits and counters that one rule asks for, or changes, in one place."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]


class ListSchema(Schema):
    """A named list: its items, the file beside the rules that has them, one a line, or what rules put in."""

    name: Name
    items: list[str | int] = Field([], max_length=100_000)
    file: Text | None = None
    kind: Kind = "string"
    format: Form = "plain"
    learned: StrictBool = False

    @model_validator(mode="after")
    def _one_source(self) -> ListSchema:
        if bool(self.items) + (self.file is not None) + self.learned != 1:
            if "items" in self.model_fields_set and not (self.items or self.file or self.learned):
                raise ValueError("the list has no items: give it some, or name a file, or say learned: true")
            raise ValueError("give a list either items or a file, or say learned: true")
        if self.learned and self.kind == "ip":
            raise ValueError("addresses cannot be learned; set a bit of the host instead")
        return self


class ThresholdSchema(Schema):
    """How often the rule may alert."""

    type: Literal["limit", "threshold", "both", "filter"]
    track: Literal["by_src", "by_dst", "by_both", "by_rule", "by_flow"] = "by_src"
    count: StrictInt = Field(ge=1)
    seconds: Seconds


class BlockSchema(Schema):
    """What the rule wants blocked when it matches."""

    target: Literal["src_ip", "dst_ip", "outer_src_ip", "outer_dst_ip"] = "src_ip"
    for_: Seconds = Field(3600, alias="for")
    mode: Literal["enforce", "shadow"] = "enforce"
    require: Literal["proven", "any"] = "proven"
    home: StrictBool = False

    def request(self) -> BlockRequest:
        """Return it as what the rule asks for."""
        proven = self.require == "proven"
        return BlockRequest(self.target, self.for_, BlockMode(self.mode), proven, self.home)


def _hexadecimal(text: str) -> str:
    try:
        bytes.fromhex(text)
    except ValueError:
        raise ValueError("write two hexadecimal digits a byte, such as 4d 5a 90") from None
    return text


Hex = Annotated[str, AfterValidator(_hexadecimal)]
"""Bytes in hexadecimal."""

MAX_TURNS = 200
"""Of a test: a session longer than that is a capture."""


class HttpTest(Schema):
    """An HTTP exchange, the response only where ``status`` is given."""

    method: Text = "GET"
    uri: Text = "/"
    version: Literal["1.0", "1.1"] = "1.1"
    headers: dict[str, str] = Field({})
    body: str = ""
    status: StrictInt | None = Field(None, ge=100, le=999)
    response_headers: dict[str, str] = Field({})
    response_body: str = ""


def _base64(text: str) -> str:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError("write base64, such as TVqQAA==") from None
    return text


Base64 = Annotated[str, AfterValidator(_base64)]
"""Bytes in base64; blanks between its letters do not count."""


class TurnTest(Schema):
    """What one side says in one go: text, hexadecimal or base64."""

    client: str = ""
    client_hex: Hex = ""
    client_base64: Base64 = ""
    server: str = ""
    server_hex: Hex = ""
    server_base64: Base64 = ""

    @model_validator(mode="after")
    def _one_side(self) -> TurnTest:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of client, server, and these with _hex or _base64")
        return self


class PayloadTest(Schema):
    """Bytes sent over TCP or in one UDP datagram each way; ``hex`` keys spell them in hexadecimal.

    ``turns``: what both sides say, in order, in place of that. ``times``: as many connections, each from another port,
    ten a second.
    """

    proto: Literal["tcp", "udp", "icmp"] = "tcp"
    port: StrictInt = Field(0, ge=0, le=65535)
    to_server: str = ""
    to_server_hex: Hex = ""
    to_client: str = ""
    to_client_hex: Hex = ""
    turns: list[TurnTest] = Field([], max_length=MAX_TURNS)
    times: StrictInt = Field(1, ge=1, le=200)

    @model_validator(mode="after")
    def _one_way(self) -> PayloadTest:
        if self.turns and (self.to_server or self.to_server_hex or self.to_client or self.to_client_hex):
            raise ValueError("give turns, or what is sent each way")
        return self


class ProbesTest(Schema):
    """Single packets from one source, to each port of each host in turn, and never answered."""

    proto: Literal["tcp", "udp", "icmp"] = "tcp"
    flags: list[Literal["fin", "syn", "rst", "psh", "ack", "urg"]] = Field(["syn"])
    first_port: StrictInt = Field(1, ge=1, le=65_535)
    ports: StrictInt = Field(1, ge=1, le=2000)
    hosts: StrictInt = Field(1, ge=1, le=200)
    every_ms: StrictInt = Field(10, ge=1, le=3_600_000)

    @model_validator(mode="after")
    def _in_range(self) -> ProbesTest:
        if self.first_port + self.ports > 65_536:
            raise ValueError("there are no ports above 65535")
        return self


class PacketTest(Schema):
    """One packet, header by header. What is not said is as a host would send it."""

    proto: Literal["tcp", "udp", "icmp"] = "tcp"
    sender: Literal["client", "server"] = "client"
    port: StrictInt = Field(0, ge=0, le=65_535)
    same_address: StrictBool = False
    ttl: StrictInt = Field(64, ge=0, le=255)
    tos: StrictInt = Field(0, ge=0, le=255)
    id: StrictInt = Field(1, ge=0, le=65_535)
    fragbits: list[Literal["more_fragments", "dont_fragment", "reserved"]] = Field([])
    fragoffset: StrictInt = Field(0, ge=0, le=8191)
    ip_options_hex: Hex = Field("", max_length=80)
    flags: list[Literal["fin", "syn", "rst", "psh", "ack", "urg"]] = Field(["syn"])
    seq: StrictInt = Field(1000, ge=0, le=0xFFFFFFFF)
    ack: StrictInt = Field(0, ge=0, le=0xFFFFFFFF)
    window: StrictInt = Field(64_240, ge=0, le=65_535)
    tcp_options_hex: Hex = Field("", max_length=80)
    type: StrictInt | None = Field(None, ge=0, le=255)
    code: StrictInt = Field(0, ge=0, le=255)
    echo_id: StrictInt = Field(1, ge=0, le=65_535)
    echo_seq: StrictInt = Field(1, ge=0, le=65_535)
    data: str = Field("", max_length=1400)
    data_hex: Hex = Field("", max_length=2800)
    wrong_checksum: list[Literal["ip", "transport"]] = Field([])


class DnsTest(Schema):
    """A question over UDP, and with ``answers`` or an ``rcode`` its answer: addresses of A and AAAA, else names."""

    query: Text
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "TXT"] = "A"
    answers: list[Text] = Field([])
    rcode: StrictInt | None = Field(None, ge=0, le=15)


class TlsTest(Schema):
    """A client's first message."""

    sni: str = Field("", max_length=255)
    alpn: list[Text] = Field([])


STIMULI = ("http", "payload", "dns", "tls", "probes", "packets", "pcap")


class ProofSchema(Schema):
    """One proof of the rule: exactly one stimulus, and what must come of it."""

    name: Text
    http: HttpTest | None = None
    payload: PayloadTest | None = None
    dns: DnsTest | None = None
    tls: TlsTest | None = None
    probes: ProbesTest | None = None
    packets: list[PacketTest] | None = Field(None, min_length=1, max_length=200)
    pcap: Text | None = None
    alerts: StrictInt = Field(1, ge=0)
    evade: Literal["all", "none"] | list[Name] = "none"
    blocked_from_packet: StrictInt | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_stimulus(self) -> ProofSchema:
        if sum(getattr(self, name) is not None for name in STIMULI) != 1:
            raise ValueError(f"give exactly one of {', '.join(STIMULI[:-1])} and {STIMULI[-1]}")
        return self

    def proof(self) -> RuleTest:
        """Return it as rules have it."""
        evade = self.evade if isinstance(self.evade, str) else tuple(self.evade)
        kind = next(name for name in STIMULI if getattr(self, name) is not None)
        given = getattr(self, kind)
        if isinstance(given, list):
            stimulus = {"packets": [packet.model_dump() for packet in given], "port": given[0].port}
        else:
            stimulus = {"path": given} if isinstance(given, str) else given.model_dump()
        return RuleTest(self.name, kind, stimulus, self.alerts, evade, self.blocked_from_packet)


class StoreSchema(Schema):
    """Which files are stored when the rule matches."""

    scope: Literal["file", "tx", "flow"] = "file"
    side: Literal["request", "response", "both"] | None = None

    def asked(self) -> Stores:
        """Return it as rules have it."""
        return Stores(self.scope, self.side or "")


_FILLED = (
    "match", "exceptions", "when", "after", "count", "set", "unset", "toggle", "counters", "log_packets", "threshold",
    "block",
)  # fmt: skip
"""Keys of a rule that do something, and mean more or less than their writer thinks where nothing stands behind them."""


class RuleSchema(Schema):
    """One rule."""

    title: Text
    sid: StrictInt = Field(ge=1, le=2**31 - 1)
    rev: StrictInt = Field(1, ge=1)
    gid: StrictInt = Field(1, ge=1)
    id: Text | None = None
    status: Literal["stable", "test", "experimental", "deprecated"] = "stable"
    level: Level = "medium"
    description: str = Field("", max_length=MAX_TEXT)
    author: str = ""
    date: datetime.date | None = None
    modified: datetime.date | None = None
    references: list[Text] = Field([])
    tags: list[Text] = Field([])
    falsepositives: list[Text] = Field([])
    classtype: str = ""
    metadata: dict[str, str | list[str]] = Field({})
    traffic: Text = "ip any any -> any any"
    flow: Any = Field([])
    match: Any = Field([])
    exceptions: Any = Field([])
    when: list[WhenSchema] = Field([], max_length=MAX_STATE)
    after: AfterSchema | None = None
    count: CountSchema | None = None
    set: list[SetSchema] = Field([], max_length=MAX_STATE)
    unset: list[SetSchema] = Field([], max_length=MAX_STATE)
    toggle: list[SetSchema] = Field([], max_length=MAX_STATE)
    counters: dict[Name, CounterChangeSchema] = Field({}, max_length=MAX_STATE)
    log_packets: LogPacketsSchema | None = None
    silent: StrictBool = False
    unlogged: StrictBool = False
    repeats: StrictBool = False
    threshold: ThresholdSchema | None = None
    then: Literal["alert", "drop", "reject", "pass"] = "alert"
    block: BlockSchema | None = None
    filestore: StrictBool | StoreSchema = False
    tests: list[ProofSchema] = Field([])

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, value: Any) -> Any:
        refuse_empty(value, _FILLED)
        return value


Version = Annotated[str, BeforeValidator(str), WithJsonSchema({"type": ["string", "number"]})]
"""YAML makes a number of ``0.1``."""


class FileSchema(Schema):
    """A rule file; each rule is checked by itself, so that a bad one does not take the others with it."""

    required_engine_version: Version | None = None
    lists: list[ListSchema] = Field([])
    rules: list[Any] = Field([])
