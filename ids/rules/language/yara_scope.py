"""What the ``meta`` of a YARA rule says to this engine: identity, where to look, and what to do.

    scope     stream (default), or the name of any buffer, such as http.request_body or file.data
    traffic   as in YAML: "http $EXTERNAL_NET any -> $HOME_NET any"
    flow      as in YAML: "established, to_server"
    sid, rev, level, classtype, description, reference, author, date
    then      alert (default), drop, reject, pass
    block     "src_ip 1h shadow proven": the target, then in any order how long, in which mode, for which sources

Other keys stay what they are, and go into the metadata of alerts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ids.errors import Location
from ids.rules.language.remedies import refusal
from ids.rules.language.schema import SEVERITY, BlockSchema, Level
from ids.rules.language.traffic import parse_flow, parse_traffic
from ids.rules.language.variables import GroupError, Variables
from ids.rules.model.buffers import PACKET_HEADERS, PAYLOAD, TRANSPORT_PROTOCOLS, comes_over, strangers
from ids.rules.model.literals import Needle, needle
from ids.rules.model.rule import ENDS
from ids.rules.model.yara import STREAM, YaraRule
from ids.types import Action, BlockRequest, Signature

_TCP = 6

DERIVED_SIDS = range(900_000_000, 1_000_000_000)
"""Where the sids of YARA rules without one lie; outside every published range."""


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is expected")
    return value


Number = Annotated[int, BeforeValidator(_no_boolean)]
"""A number, also in quotes; true is none."""


class Meta(BaseModel):
    """The keys of ``meta`` that this engine understands."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    sid: Number | None = Field(None, ge=1, le=2**31 - 1)
    rev: Number = Field(1, ge=1)
    level: Level = "medium"
    severity: Number | None = Field(None, ge=1, le=4)
    scope: str = STREAM
    traffic: str = "ip any any -> any any"
    flow: str = ""
    classtype: str = ""
    then: Literal["alert", "drop", "reject", "pass"] = "alert"
    block: str = ""
    title: str = ""
    description: str = ""
    reference: str = ""


class MetaError(ValueError):
    """The meta of a rule cannot be understood; ``remedy`` says what to do, ``key`` is the one at fault."""

    def __init__(self, message: str, remedy: str = "", key: str = "") -> None:
        self.remedy = remedy
        self.key = key
        super().__init__(message)


def read_meta(meta: Mapping[str, Any]) -> Meta:
    """Check the keys that this engine understands; raises `MetaError`."""
    try:
        parsed = Meta.model_validate(dict(meta))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        message = first["msg"].removeprefix("Value error, ")
        raise MetaError(f"meta {key}: {message[:1].lower()}{message[1:]}, not {first['input']!r}", key=key) from None
    refused = None if parsed.scope == STREAM else refusal(parsed.scope, [STREAM])
    if refused is not None:
        raise MetaError(f"meta scope: {refused[0]}", refused[1], "scope")
    return parsed


def yara_rule(
    name: str,
    namespace: str,
    tags: Iterable[str],
    raw: Mapping[str, Any],
    variables: Variables,
    source: Location,
    positional: bool,
    needles: frozenset[tuple[bytes, bool]] | None = None,
) -> YaraRule:
    """Build the rule that ``meta`` describes; raises `MetaError`."""
    meta = read_meta(raw)
    try:
        key = "traffic"
        traffic = parse_traffic(meta.traffic, variables, _TCP if meta.scope in (STREAM, PAYLOAD) else None)
        key = "flow"
        flow = parse_flow([word.strip() for word in meta.flow.split(",") if word.strip()])
    except GroupError as error:
        raise MetaError(f"meta {key}: {error}", error.remedy, key) from None
    _check_reach(meta.scope, traffic.protocol)
    if apart := strangers([meta.scope], traffic.app_proto):
        raise MetaError(
            f"meta: scope and traffic of different protocols ({', '.join(apart)}) never meet", "correct one", "scope"
        )
    known = set(Meta.model_fields)
    metadata: dict[str, list[str]] = {"level": [meta.level], "yara": [name]}
    metadata.update({key: [str(value)] for key, value in raw.items() if key not in known})
    if names := list(tags):
        metadata["tags"] = names
    signature = Signature(
        sid=meta.sid if meta.sid is not None else derived_sid(name),
        title=meta.title or meta.description or name,
        rev=meta.rev,
        severity=meta.severity or SEVERITY[meta.level],
        classtype=meta.classtype,
        action=Action(meta.then),
        metadata=metadata,
        references=(meta.reference,) if meta.reference else (),
        block=_block(meta.block) if meta.block else None,
        origin=f"{source.path}:{source.line}",
    )
    scope = STREAM if meta.scope == "payload" else meta.scope
    return YaraRule(
        signature, traffic, flow, source, name=name, namespace=namespace, scope=scope, level=meta.level,
        positional=positional, needles=_needles(scope, needles),
    )  # fmt: skip


def derived_sid(name: str) -> int:
    """Return the sid of a rule that has none: the same for the same name, always."""
    digest = hashlib.sha256(name.encode()).digest()
    return DERIVED_SIDS[int.from_bytes(digest[:8], "big") % len(DERIVED_SIDS)]


def _check_reach(scope: str, transport: str) -> None:
    """Raise `MetaError` where nothing of this transport ever gives the scope, so that the rule could never match."""
    if scope in PACKET_HEADERS:
        raise MetaError(
            f"meta scope: YARA sees no {scope}, the header of one packet", "test it in a YAML rule", "scope"
        )
    if scope not in (STREAM, PAYLOAD):
        if not comes_over(scope, transport):
            raise MetaError(
                f"meta traffic: {scope} never comes over {transport}", "write the protocol of the buffer", "traffic"
            )
    elif _TCP not in (TRANSPORT_PROTOCOLS.get(transport) or {_TCP}):
        raise MetaError(
            f"meta traffic: YARA sees streams of TCP and buffers of protocols, and no datagrams of {transport}",
            "write tcp or ip, or test payload in a YAML rule",
            "traffic",
        )


def _needles(scope: str, literals: frozenset[tuple[bytes, bool]] | None) -> frozenset[Needle] | None:
    if literals is None or not all(value for value, _ in literals):
        return None
    buffer = PAYLOAD if scope == STREAM else scope
    return frozenset(needle(buffer, value, nocase) for value, nocase in literals)


def _block(text: str) -> BlockRequest:
    words: dict[str, str | bool] = {}
    for word in text.split():
        if word in ENDS:
            words["target"] = word
        elif word in ("enforce", "shadow"):
            words["mode"] = word
        elif word in ("proven", "any"):
            words["require"] = word
        elif word == "home":
            words["home"] = True
        else:
            words["for"] = word
    try:
        block = BlockSchema.model_validate(words)
    except ValidationError:
        remedy = 'write it as "src_ip 1h shadow proven"'
        raise MetaError(f"meta block: {text!r} is not understood", remedy, "block") from None
    return block.request()
