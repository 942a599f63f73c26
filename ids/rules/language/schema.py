"""What a YAML rule file may contain: Sigma's metadata, Suricata's identity, Falco's lists and exceptions."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from ids.rules.model.rule import RuleTest
from ids.types import BlockMode, BlockRequest

Level = Literal["informational", "low", "medium", "high", "critical"]

SEVERITY: dict[str, int] = {"critical": 1, "high": 1, "medium": 2, "low": 3, "informational": 4}
"""EVE's severity of each level, as Suricata's users read it: 1 high, 3 low. The level itself is in the metadata."""

MAX_TEXT = 4096
"""Characters of one text; a longer description belongs into the references."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,9})([smhdw])")


def _seconds(value: object) -> object:
    """Read ``1h30m`` or a number of seconds."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("expected a duration such as 30s, 10m, 1h, 7d")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[int, BeforeValidator(_seconds), Field(ge=1, le=31_536_000)]


class Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ListSchema(Schema):
    """A named list for exceptions."""

    name: Name
    items: list[str | int] = Field(min_length=1, max_length=100_000)


class ThresholdSchema(Schema):
    """How often the rule may alert."""

    type: Literal["limit", "threshold", "both"]
    track: Literal["by_src", "by_dst", "by_rule", "by_flow"] = "by_src"
    count: int = Field(ge=1)
    seconds: Seconds


class BlockSchema(Schema):
    """What the rule wants blocked when it matches."""

    target: Literal["src_ip", "dst_ip", "outer_src_ip", "outer_dst_ip"] = "src_ip"
    for_: Seconds = Field(3600, alias="for")
    mode: Literal["enforce", "shadow"] = "enforce"
    require: Literal["proven", "any"] = "proven"
    home: bool = False

    def request(self) -> BlockRequest:
        """Return it as what the rule asks for."""
        proven = self.require == "proven"
        return BlockRequest(self.target, self.for_, BlockMode(self.mode), proven, self.home)


class HttpTest(Schema):
    """An HTTP exchange, the response only where ``status`` is given."""

    method: Text = "GET"
    uri: Text = "/"
    version: Literal["1.0", "1.1"] = "1.1"
    headers: dict[str, str] = {}
    body: str = ""
    status: int | None = Field(None, ge=100, le=999)
    response_headers: dict[str, str] = {}
    response_body: str = ""


class PayloadTest(Schema):
    """Bytes sent over TCP or in one UDP datagram each way; ``hex`` keys spell them in hexadecimal."""

    proto: Literal["tcp", "udp", "icmp"] = "tcp"
    port: int = Field(0, ge=0, le=65535)
    to_server: str = ""
    to_server_hex: str = ""
    to_client: str = ""
    to_client_hex: str = ""


class DnsTest(Schema):
    """A question over UDP, and with ``answers`` or an ``rcode`` its answer: addresses of A and AAAA, else names."""

    query: Text
    type: Literal["A", "AAAA", "CNAME", "MX", "NS", "PTR", "TXT"] = "A"
    answers: list[Text] = []
    rcode: int | None = Field(None, ge=0, le=15)


class TlsTest(Schema):
    """A client's first message."""

    sni: str = Field("", max_length=255)
    alpn: list[Text] = []


class ProofSchema(Schema):
    """One proof of the rule: exactly one stimulus, and what must come of it."""

    name: Text
    http: HttpTest | None = None
    payload: PayloadTest | None = None
    dns: DnsTest | None = None
    tls: TlsTest | None = None
    pcap: Text | None = None
    alerts: int = Field(1, ge=0)
    evade: Literal["all", "none"] | list[Name] = "none"
    blocked_from_packet: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_stimulus(self) -> ProofSchema:
        if sum(value is not None for value in (self.http, self.payload, self.dns, self.tls, self.pcap)) != 1:
            raise ValueError("give exactly one of http, payload, dns, tls and pcap")
        return self

    def proof(self) -> RuleTest:
        """Return it as rules have it."""
        evade = self.evade if isinstance(self.evade, str) else tuple(self.evade)
        kind, stimulus = "pcap", {"path": self.pcap}
        for name in ("http", "payload", "dns", "tls"):
            if (given := getattr(self, name)) is not None:
                kind, stimulus = name, given.model_dump()
        return RuleTest(self.name, kind, stimulus, self.alerts, evade, self.blocked_from_packet)


class RuleSchema(Schema):
    """One rule."""

    title: Text
    sid: int = Field(ge=1, le=2**31 - 1)
    rev: int = Field(1, ge=1)
    gid: int = Field(1, ge=1)
    id: Text | None = None
    status: Literal["stable", "test", "experimental", "deprecated"] = "stable"
    level: Level = "medium"
    description: str = Field("", max_length=MAX_TEXT)
    author: str = ""
    date: datetime.date | None = None
    modified: datetime.date | None = None
    references: list[Text] = []
    tags: list[Text] = []
    falsepositives: list[Text] = []
    classtype: str = ""
    metadata: dict[str, str | list[str]] = {}
    traffic: Text = "ip any any -> any any"
    flow: Any = []
    match: Any = []
    exceptions: Any = []
    threshold: ThresholdSchema | None = None
    then: Literal["alert", "drop", "reject", "pass"] = "alert"
    block: BlockSchema | None = None
    tests: list[ProofSchema] = []


class FileSchema(Schema):
    """A rule file; each rule is checked by itself, so that a bad one does not take the others with it."""

    required_engine_version: Annotated[str, BeforeValidator(str)] | None = None
    lists: list[ListSchema] = []
    rules: list[Any] = []


class SizeSchema(Schema):
    """Bounds of a buffer's size in bytes: ``min``/``max`` inclusive, ``gt``/``lt`` exclusive."""

    min: int | None = Field(None, ge=0)
    max: int | None = Field(None, ge=0)
    gt: int | None = Field(None, ge=0)
    lt: int | None = Field(None, ge=1)

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Return the least and the greatest size allowed, None where there is no greatest."""
        least = max(self.min or 0, -1 if self.gt is None else self.gt + 1)
        most = [limit for limit in (self.max, None if self.lt is None else self.lt - 1) if limit is not None]
        return least, min(most) if most else None
