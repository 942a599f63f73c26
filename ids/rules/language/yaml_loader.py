"""Loads rules from YAML. Every error of every file is collected; a bad rule refuses itself and no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ids.errors import Location, RuleError, SourceError
from ids.later import late_pattern
from ids.literal import cut
from ids.rules.language.blocking import PROOF, PROOF_REMEDY, REMEDY, blocks_server, never_proven
from ids.rules.language.impossible import never_unlogged
from ids.rules.language.remedies import remedy_for
from ids.rules.language.scalars import Scalars
from ids.rules.language.schema import SEVERITY, FileSchema, ListSchema, RuleSchema, StoreSchema
from ids.rules.language.traffic import parse_flow, parse_traffic
from ids.rules.language.variables import GroupError, Variables
from ids.rules.language.yaml_match import MatchReader
from ids.rules.language.yaml_memory import after_of, distinct_of, state_of
from ids.rules.language.yaml_reading import NamedList, Reading
from ids.rules.model.buffers import PACKET_HEADERS, PAYLOAD, comes_over, strangers, wrong_way
from ids.rules.model.chain import DECODED
from ids.rules.model.patterns import Patterns
from ids.rules.model.rule import All, FlowOptions, Rule, Traffic, patterns_of
from ids.source import Document, InvalidDocument, read_yaml, validate
from ids.types import Action, Signature, Stores, Threshold

_SELECTIVE = ("match", "when", "after", "count")
"""Keys that keep a rule from matching every flow of its traffic."""

_UNKNOWN = late_pattern("unknown key '(.*)'")


class YamlLoader:
    """Reads rule files into one pool of lists and rules.

    All files are opened first and converted afterwards, so that a rule may use a list of another file.
    """

    def __init__(self, variables: Variables, engine_version: str, patterns: Patterns | None = None) -> None:
        """``patterns`` compiles the regexes of the load."""
        self.errors: list[RuleError] = []
        self.warnings: list[RuleError] = []
        self._variables = variables
        self._engine_version = engine_version
        self._patterns = patterns or Patterns()
        self._files: list[tuple[Document, FileSchema, Scalars]] = []
        self._lists: dict[str, NamedList] = {}
        self._list_places: dict[str, Location] = {}
        self._faulty: set[Location] = set()
        """Places of which an error is known: what is left out there is no error of its own."""
        self.with_lists: set[str] = set()
        """Files that define lists."""
        self.whole = True
        """Nothing of the rules is of other files, or of traffic: no list is used."""

    def open(self, path: str) -> None:
        """Read a file and its lists; its errors are collected."""
        try:
            document = read_yaml(path, collect=True)
            self._take([fault for _, fault in document.faults])
            self._faulty |= {fault.location for _, fault in document.faults}
            if document.data is not None and not isinstance(document.data, dict):
                raise SourceError("a rule file is a mapping", document.locate(), "put the rules under `rules:`")
            file = validate(FileSchema, document)
        except InvalidDocument as invalid:
            self._take(invalid.errors)
            return
        except SourceError as error:
            self._take([error])
            return
        if self._too_new(file.required_engine_version, document):
            return
        scalars = Scalars(path)
        if file.lists:
            self.with_lists.add(path)
        for i, named in enumerate(file.lists):
            self._check_items(document, scalars, i)
            self._add_list(named, document.locate(("lists", i)))
        self._files.append((document, file, scalars))

    def rules(self) -> list[Rule]:
        """Convert the rules of all files that were opened."""
        converted = (
            self._rule(document, scalars, raw, i)
            for document, file, scalars in self._files
            for i, raw in enumerate(file.rules)
        )
        return [rule for rule in converted if rule is not None]

    def _too_new(self, required: str | None, document: Document) -> bool:
        if required is None:
            return False
        place = document.locate(("required_engine_version",))
        try:
            if _version(required) <= _version(self._engine_version):
                return False
        except ValueError:
            self._refuse(f"{required!r} is no version", place, "write it as 0.1.0")
            return True
        self._refuse(f"needs engine {required}, this is {self._engine_version}", place, "upgrade, or use older rules")
        return True

    def _check_items(self, document: Document, scalars: Scalars, index: int) -> None:
        for i, item in enumerate(document.data["lists"][index].get("items") or ()):
            place = document.locate(("lists", index, "items", i))
            if (refused := scalars.refusal(item, place)) is not None:
                self._refuse(refused[0], place, refused[1])

    def _add_list(self, named: ListSchema, place: Location) -> None:
        if named.name in self._lists:
            other = self._list_places[named.name]
            self._refuse(f"list {named.name!r} is already defined at {other}", place, "rename one of the two")
            return
        file = None if named.file is None else Path(place.path).parent / named.file
        self._lists[named.name] = NamedList(tuple(map(str, named.items)), file, named.kind, named.format, named.learned)
        self._list_places[named.name] = place

    def _rule(self, document: Document, scalars: Scalars, raw: Any, index: int) -> Rule | None:
        at = ("rules", index)
        place = document.locate(at)
        if not isinstance(raw, dict):
            self._refuse("a rule is a mapping", place, "start with `- title: ...`")
            return None
        if any(where[:2] == at for where, _ in document.faults):
            before = -1  # a part of it is missing
        else:
            before = len(self.errors)
        reading = Reading(document, self._lists, self._variables, self._patterns, scalars)
        reader = MatchReader(reading)
        condition = reader.match(raw.get("match") or [], (*at, "match"))
        condition += reader.exceptions(raw.get("exceptions") or [], (*at, "exceptions"))
        self.whole &= not (reading.listed or self._lists)
        schema = None
        try:
            schema = validate(RuleSchema, document, at)
        except InvalidDocument as invalid:
            self._take(invalid.errors)
        self.errors += reading.errors
        fields = RuleSchema.model_fields
        traffic = self._traffic(raw.get("traffic", fields["traffic"].default), document, at)
        options = self._options(raw.get("flow", fields["flow"].default), document, at)
        if schema is None or traffic is None or options is None:
            return None
        rule = Rule(
            signature=_signature(schema, place),
            traffic=traffic,
            flow=options,
            condition=All(tuple(condition)),
            repeats=schema.repeats or bool(schema.when) or schema.after is not None,
            source=place,
            level=schema.level,
            tests=tuple(test.proof() for test in schema.tests),
        )
        self.warnings += [RuleError(f"sid {schema.sid}: {w.message}", w.location, w.remedy) for w in reading.warnings]
        self._check(rule, document, at)
        self._check_reach(rule, document, at, any(raw.get(key) for key in _SELECTIVE))
        return rule if len(self.errors) == before else None

    def _traffic(self, written: Any, document: Document, at: tuple[str | int, ...]) -> Traffic | None:
        """Read what a rule looks at; None where it is no text, which the schema refuses, or has a fault."""
        if not isinstance(written, str):
            return None
        try:
            return parse_traffic(written, self._variables)
        except GroupError as error:
            self._refuse(str(error), document.locate((*at, "traffic")), error.remedy)
            return None

    def _options(self, written: Any, document: Document, at: tuple[str | int, ...]) -> FlowOptions | None:
        """Read what a rule asks of the flow; None where it has a fault."""
        try:
            return parse_flow(_flow_words(written))
        except GroupError as error:
            self._refuse(str(error), document.locate((*at, "flow")), error.remedy)
            return None

    def _check(self, rule: Rule, document: Document, at: tuple[str | int, ...]) -> None:
        """Refuse combinations that could never match, and warn of costly ones."""
        place = document.locate((*at, "match"))
        others = rule.buffers - PACKET_HEADERS.keys() - {PAYLOAD, DECODED}
        if rule.signature.unlogged and (why := never_unlogged(rule)):
            self._refuse(why, document.locate((*at, "unlogged")), "ask for a buffer of a protocol, and for no state")
        if PAYLOAD in rule.buffers and others:
            self._refuse(
                f"payload cannot be tested together with {sorted(others)[0]}: a stream is no part of a transaction",
                place,
                "make two rules of it",
            )
        of_packets = rule.buffers & PACKET_HEADERS.keys()
        if of_packets and others:
            self._refuse(
                f"{min(of_packets)} is of one packet, and {min(others)} is not",
                place,
                "make two rules of it",
            )
        if apart := strangers(others, rule.traffic.app_proto):
            self._refuse(f"buffers and traffic of different protocols ({', '.join(apart)}) never meet", place)
        transport = rule.traffic.protocol
        for name in sorted(others):
            if not comes_over(name, transport):
                self._refuse(
                    f"{name} never comes over {transport}",
                    document.locate((*at, "traffic")),
                    "write the protocol of the buffer",
                )
                break
        for pattern in patterns_of(rule):
            if pattern.slow:
                self.warnings.append(
                    RuleError(
                        f"sid {rule.signature.sid}: slow regex {cut(pattern.text)}: {pattern.slow}",
                        place,
                        "it runs on PCRE under a match limit; avoid look-around and back-references if you can",
                    )
                )

    def _check_reach(self, rule: Rule, document: Document, at: tuple[str | int, ...], selective: bool) -> None:
        """Warn of rules that match nothing or all of their traffic, or block their server; refuse a block of all."""
        sid = rule.signature.sid
        if not selective:
            if rule.signature.block is not None:
                self._refuse(
                    "a rule without match: would block the source of every flow of its traffic",
                    document.locate((*at, "block")),
                    "add a match:, or block addresses by `ids block add`",
                )
            else:
                self.warnings.append(
                    RuleError(
                        f"sid {sid}: without match: it alerts on every flow of its traffic",
                        rule.source,
                        "add a match: unless that is what you want",
                    )
                )
        if never_proven(rule.signature.block, rule.traffic):
            self.warnings.append(RuleError(f"sid {sid}: {PROOF}", document.locate((*at, "block")), PROOF_REMEDY))
        if (why := wrong_way(rule.buffers, rule.flow.direction)) is not None:
            place = document.locate((*at, "flow"))
            self.warnings.append(RuleError(f"sid {sid}: {why}", place, "turn the direction round, or leave it out"))
            return
        why = blocks_server(rule.signature.block, rule.traffic, rule.flow.direction, rule.sides, self._variables)
        if why is not None:
            self.warnings.append(RuleError(f"sid {sid}: {why}", document.locate((*at, "block")), REMEDY))

    def _take(self, errors: list[SourceError]) -> None:
        for error in errors:
            if error.location in self._faulty:
                continue
            unknown = _UNKNOWN.fullmatch(error.message)
            remedy = remedy_for(unknown[1], ()) if unknown else ""
            self.errors.append(RuleError(error.message, error.location, remedy or error.remedy))

    def _refuse(self, message: str, place: Location, remedy: str = "") -> None:
        self.errors.append(RuleError(message, place, remedy))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _flow_words(value: Any) -> list[str]:
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise GroupError(f"flow is a list of words, not {value!r}", "such as [established, to_server]")


def _signature(schema: RuleSchema, place: Location) -> Signature:
    block = schema.block
    threshold = schema.threshold
    return Signature(
        sid=schema.sid,
        title=schema.title,
        gid=schema.gid,
        rev=schema.rev,
        severity=SEVERITY[schema.level],
        classtype=schema.classtype,
        action=Action(schema.then),
        metadata=_metadata(schema),
        references=tuple(schema.references),
        block=None if block is None else block.request(),
        threshold=None
        if threshold is None
        else Threshold(threshold.type, threshold.track, threshold.count, threshold.seconds),
        state=state_of(schema),
        distinct=distinct_of(schema),
        after=after_of(schema),
        stores=_stores(schema.filestore),
        unlogged=schema.unlogged,
        origin=f"{place.path}:{place.line}",
    )


def _stores(asked: bool | StoreSchema) -> Stores | None:
    if isinstance(asked, StoreSchema):
        return asked.asked()
    return Stores() if asked else None


def _metadata(schema: RuleSchema) -> Mapping[str, list[str]]:
    """What an event shows of the rule beyond its identity: values are lists of text, as in EVE."""
    values: dict[str, list[str]] = {"level": [schema.level], "status": [schema.status]}
    if schema.id:
        values["id"] = [schema.id]
    if schema.tags:
        values["tags"] = list(schema.tags)
    if schema.author:
        values["author"] = [schema.author]
    if schema.date:
        values["created_at"] = [schema.date.isoformat()]
    if schema.modified:
        values["updated_at"] = [schema.modified.isoformat()]
    for key, value in schema.metadata.items():
        values[key] = [value] if isinstance(value, str) else list(value)
    return values
