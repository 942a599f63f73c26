"""A rule's text becomes a rule of the model, or a fault with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ids.errors import Location, RuleError
from ids.protocols import meant
from ids.rules.language.impossible import never_unlogged
from ids.rules.language.remedies import nearest
from ids.rules.language.suricata import lua, transfers
from ids.rules.language.suricata.addresses import BUFFERS
from ids.rules.language.suricata.dcerpc import in_either_order
from ids.rules.language.suricata.draft import Draft, Part, Piece
from ids.rules.language.suricata.faults import Fault, Malformed, Unsupported
from ids.rules.language.suricata.files import ConfigFiles
from ids.rules.language.suricata.header import ACTIONS, REJECTED, Headers, Misplaced
from ids.rules.language.suricata.keywords import IN_QUOTES, KEYWORDS, LATER, MAYBE_IN_QUOTES
from ids.rules.language.suricata.source import Header, RawRule, Unfinished, check_text, header_of, options_of
from ids.rules.language.variables import Variables
from ids.rules.model.buffers import CATALOGUE, PACKET_HEADERS, PARSED, PAYLOAD, comes_over, strangers, wrong_way
from ids.rules.model.geoip import Countries, countries_of
from ids.rules.model.header import (
    AddressIn,
    Checksum,
    HeaderBits,
    HeaderNumber,
    HeaderTest,
    IpOption,
    SameAddress,
    Spoken,
)
from ids.rules.model.lua import Trials
from ids.rules.model.rule import All, FlowOptions, Node, Rule, Traffic, base_of
from ids.types import Signature
from ids.types.state import STATELESS, State

LEVELS = {1: "high", 2: "medium", 3: "low"}
"""Our level of each of Suricata's priorities; beyond them it is informational."""

_WITH_FILES = ("http", "http1", "http2", "smtp", "ftp", "ftp-data", "smb", "imap", "pop3")

_OF_A_PACKET = (HeaderNumber, HeaderBits, SameAddress, IpOption, Checksum)
"""Tests that make Suricata look at single packets, not at streams."""


class AtPlace(Exception):
    """A fault, and the offset in the rule where it is."""

    def __init__(self, fault: Fault, offset: int, option: str = "") -> None:
        self.fault = fault
        self.offset = offset
        self.option = option
        super().__init__(str(fault))


@dataclass(slots=True)
class Builder:
    """Builds the rules of a load."""

    variables: Variables
    files: ConfigFiles
    _headers: Headers = field(init=False)
    _flows: dict[FlowOptions, FlowOptions] = field(default_factory=dict)
    _trials: Trials = field(default_factory=Trials)

    def __post_init__(self) -> None:
        self._headers = Headers(self.variables)

    def build(self, raw: RawRule, path: str) -> Rule:
        """Build one rule; raises `AtPlace`."""
        try:
            check_text(raw.text)
            header = header_of(raw.text)
        except Unfinished as fault:
            raise AtPlace(fault, fault.offset) from None
        except Malformed as fault:
            raise AtPlace(fault, len(raw.text) - len(raw.text.lstrip())) from None
        try:
            scope = self._headers.scope(header)
            draft = Draft(scope.action, scope.protocol)
            draft.directory = Path(path).parent
            draft.reputation = self.files.reputation
            draft.trials = self._trials
            if self.files.countries is not None:
                draft.countries = self._countries
            draft.payload_of = scope.payload_of
            if scope.number is not None:
                draft.header_tests.append(HeaderNumber("ip.proto", ((scope.number, scope.number),)))
            _take_options(draft, raw.text, header)
            return self._finished(draft, header, raw, path)
        except Misplaced as misplaced:
            raise AtPlace(misplaced.fault, header.offsets[misplaced.word]) from None

    def _countries(self) -> Countries:
        try:
            return countries_of(Path(self.files.countries or ""))
        except RuleError as error:
            raise Malformed(str(error)) from None

    def _finished(self, draft: Draft, header: Header, raw: RawRule, path: str) -> Rule:
        start = header.offsets[0]
        if not draft.sid:
            raise AtPlace(Malformed("it has no sid", "number it: sid:1000001;"), start)
        if draft.fresh:
            raise AtPlace(Malformed(f"{draft.sticky} is named, and nothing asked of it"), start)
        line, column = raw.place(start)
        transfers.ask_for_a_file(draft)
        severity = draft.priority if draft.priority is not None else self.files.priority(draft.classtype)
        try:
            lua.settle(draft, self.files.category(draft.classtype), severity)
        except Fault as wrong:
            raise AtPlace(wrong, start, "lua") from None
        traffic = self._headers.traffic(header, draft.protocol, draft.version)
        options = FlowOptions(draft.established, draft.direction, _payload_of(draft), draft.stateless)
        try:
            _check_sizes(draft)
            in_order = sorted(draft.parts, key=lambda part: bool(part.scripts))  # scripts cost most
            chains = in_either_order([*draft.conditions, *(part.finished() for part in in_order)])
            parts: list[Node] = [*draft.header_tests, *chains, *draft.scripts]
        except Malformed as wrong:
            raise AtPlace(wrong, start) from None
        recognised = _on_recognition(draft, parts)
        rule = Rule(
            signature=Signature(
                sid=draft.sid,
                title=draft.title,
                gid=draft.gid,
                rev=draft.rev,
                severity=severity,
                classtype=draft.classtype,
                category=self.files.category(draft.classtype),
                action=ACTIONS[draft.action],
                metadata=draft.metadata,
                references=tuple(self.files.reference(kind, text) for kind, text in draft.references),
                threshold=draft.threshold,
                state=_state(draft),
                attacked=draft.attacked,
                announced=draft.announced,
                bypass=draft.bypass,
                packet_wise=_is_packet_wise(draft, traffic),
                stores=draft.stores,
                unlogged=draft.unlogged,
                rejected=REJECTED.get(draft.action, ""),
                origin=f"{path}:{line}",
            ),
            traffic=traffic,
            flow=self._flows.setdefault(options, options),
            source=Location(path, line, column),
            condition=All(tuple(parts)),
            repeats=not recognised,
            apart=recognised,
            level=LEVELS.get(severity, "informational"),
        )
        fault = _never(rule, header.words[4]) or _idle(draft, rule)
        if fault is not None:
            raise AtPlace(fault, start)
        return rule


def _check_sizes(draft: Draft) -> None:
    """Raise `Malformed` where contents of the payload do not fit into the size that is asked of it."""
    for test in draft.header_tests:
        if isinstance(test, HeaderNumber) and test.field == "payload.size" and not test.negated:
            for part in draft.parts:
                if part.buffer == PAYLOAD:
                    part.check_room(test.intervals[-1][1])


def _take_options(draft: Draft, text: str, header: Header) -> None:
    """Let each option do to the draft what it says; raises `AtPlace`."""
    try:
        for name, value, offset in options_of(text, header.end):
            option = KEYWORDS.get(name)
            try:
                if option is None:
                    option = KEYWORDS.get(name.lower())
                    if option is None:
                        raise _unknown(name)
                _check_quotes(name.lower(), value)
                option(draft, value)
            except Fault as fault:
                raise AtPlace(fault, offset, name) from None
    except Unfinished as fault:
        raise AtPlace(fault, fault.offset) from None


def _check_quotes(name: str, value: str | None) -> None:
    """Raise `Malformed` where a value stands in quotes that must not, or stands in none."""
    if value is None or not (text := value.strip()):
        return
    if text[0] == '"' and name not in MAYBE_IN_QUOTES:
        raise Malformed(f"{text[:40]} stands in quotes", f"write it as `{name}:value;`")
    if name in IN_QUOTES and not text.removeprefix("!").lstrip().startswith('"'):
        raise Malformed(f"{text[:40]!r} does not stand in quotes", f'write it as `{name}:"value";`')


def _unknown(name: str) -> Unsupported:
    if name.lower() in LATER:
        return Unsupported(f"keyword {name.lower()}", "it is not supported", "leave it out, or use another rule")
    return Unsupported(f"keyword {name[:40]}", "no such option is known", nearest(name, KEYWORDS))


def _on_recognition(draft: Draft, parts: list[Node]) -> bool:
    """Return whether a rule asks for the recognised protocol, and at most a side: Suricata judges it once a side, when
    the protocol is found."""
    if draft.established is not None or draft.stateless or _state(draft).tests:
        return False
    return bool(parts) and all(isinstance(part, Spoken) for part in parts)


def _state(draft: Draft) -> State:
    if not (draft.silent or draft.state_tests or draft.state_changes):
        return STATELESS
    return State(tuple(draft.state_tests), tuple(draft.state_changes), draft.silent)


def _payload_of(draft: Draft) -> str | None:
    """Return where Suricata looks for payload: one that is bound to a place may be in a packet or in the stream."""
    if draft.payload_of is not None:
        return draft.payload_of
    if draft.protocol != "tcp":
        return None
    if any(isinstance(test, _OF_A_PACKET) for test in draft.header_tests):
        return "packet"
    payload = [part for part in draft.parts if part.buffer == PAYLOAD]
    both = any(not isinstance(test, Spoken) for test in draft.header_tests) or _positioned(payload)
    if not payload or both:
        return None
    return "stream"


def _is_packet_wise(draft: Draft, traffic: Traffic) -> bool:
    """Return whether Suricata, where the rule matches in single packets, applies its action to these alone.

    To the flow it applies what asks for addresses, ports and a protocol at most, and what looks into a protocol.
    """
    named = (CATALOGUE.get(base_of(part.buffer)) for part in draft.parts if part.buffer != PAYLOAD)
    of_protocol = any(buffer is not None and buffer.protocol is not None for buffer in named)
    of_protocol = of_protocol or any(script.protocol for script in draft.scripts)
    if traffic.app_proto or draft.conditions or of_protocol:
        return False
    tests = [test for test in draft.header_tests if not _is_of_flow(test)]
    asked = draft.established is not None or draft.direction is not None or draft.stateless
    return bool(tests or draft.parts or draft.scripts or draft.state_tests or draft.state_changes or asked)


def _is_of_flow(test: HeaderTest) -> bool:
    """Return whether a test holds for all packets of a flow alike."""
    if isinstance(test, AddressIn):
        return test.lasting
    return isinstance(test, Spoken) or (isinstance(test, HeaderNumber) and test.field == "ip.proto")


def _positioned(parts: Iterable[Part]) -> bool:
    pieces = [step for part in parts for step in part.steps if isinstance(step, Piece)]
    return any(piece.offset is not None or piece.depth is not None or piece.at_start for piece in pieces)


def _idle(draft: Draft, rule: Rule) -> Fault | None:
    """Return why a rule that configures would configure nothing."""
    if draft.action == "config" and not draft.unlogged:
        return Malformed("it configures nothing", "say what: config: logging disable, type tx, scope tx;")
    if draft.unlogged and (why := never_unlogged(rule)):
        return Unsupported("config", why, "ask for a buffer of a protocol, and for no state")
    return None


def _never(rule: Rule, arrow: str) -> Fault | None:
    """Return why a rule could never match, where Suricata refuses it as well."""
    alone = next((name for name in rule.buffers if name in BUFFERS), None)
    if alone is not None:
        return Unsupported(f"buffer {alone}", f"of {alone} only lists are asked", "write a dataset behind it")
    others = [name for name in rule.buffers if name in CATALOGUE and name != PAYLOAD]
    wanted = rule.traffic.app_proto
    of_a_packet = any(isinstance(part, _OF_A_PACKET) for part in rule.condition.parts)
    if of_a_packet and not PACKET_HEADERS.keys() >= set(others):
        return Malformed("it asks for one packet, and for what a protocol's parser gives", "leave one of them out")
    of_files = sorted(name for name in others if name.startswith("file."))
    if of_files and wanted == "nfs":
        return Unsupported(f"buffer {of_files[0]}", "what goes over NFS is not read as a file", "ask for nfs.filename")
    if of_files and wanted not in (None, *_WITH_FILES):
        return Malformed(f"{of_files[0]} never comes over {wanted}", "write the protocol that carries the file")
    protocols = {CATALOGUE[name].protocol for name in others} - {None}
    if wanted is not None and meant(wanted)[0] not in PARSED and protocols:
        return Unsupported(f"protocol {wanted}", f"there is no parser for {wanted}", "test the payload instead")
    if apart := strangers(others, wanted):
        return Malformed(f"buffers and traffic of different protocols ({', '.join(apart)}) never meet")
    for name in others:
        if name not in PACKET_HEADERS and not comes_over(name, rule.traffic.protocol):
            return Malformed(f"{name} never comes over {rule.traffic.protocol}", "write the protocol of the buffer")
    why = wrong_way(rule.buffers, rule.flow.direction)
    if why is not None:
        return Malformed(why, "turn the direction round, or leave it out")
    if len(rule.sides) > 1 and arrow != "=>":
        return Malformed("it asks for what a request and its response have, together", "write => for ->")
    return None
