"""Loads files of Suricata's rules. A bad rule is left out, and the rest of its file loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ids.cache import Cache
from ids.errors import Location, RuleError, RuleLeftOut
from ids.garbage import collected_later
from ids.rules.language.suricata.builder import AtPlace, Builder
from ids.rules.language.suricata.faults import Malformed, NotMeant
from ids.rules.language.suricata.files import ConfigFiles, ConfigPaths, read_config_files, read_text
from ids.rules.language.suricata.kept import CACHE_SUFFIX, Loaded, keep, key_of, load
from ids.rules.language.suricata.lua import scripts_in
from ids.rules.language.suricata.source import MAX_RULE_BYTES, RawRule, raw_rules
from ids.rules.language.suricata.thresholds import apply, read_thresholds
from ids.rules.language.variables import Variables
from ids.rules.model.chain import Chain, Listed
from ids.rules.model.header import AddressIn
from ids.rules.model.rule import Rule, leaves
from ids.rules.settings import DEFAULT_VARIABLES

MAX_FILE_BYTES = 256 << 20
"""Of one file: ten times the largest public rule set."""

MAX_RULES = 1_000_000
"""Of one load."""


class SuricataLoader:
    """Reads rule files into one pool of rules, in which of two revisions of a rule the newer one stays."""

    def __init__(self, variables: Variables, files: ConfigFiles | None = None) -> None:
        self.errors: list[RuleError] = []
        """Files that cannot be read."""
        self.left_out: list[RuleLeftOut] = []
        """Rules that could not be loaded."""
        self.skipped = 0
        """Rules that say themselves that they are for another version."""
        self._builder = Builder(variables, files or ConfigFiles())
        self._rules: dict[tuple[int, int], Rule] = {}

    def open(self, path: str) -> None:
        """Load the rules of a file."""
        self.take(path, read_text(path, self.errors, MAX_FILE_BYTES))

    def take(self, path: str, text: str) -> None:
        """Load the rules in the text of a file, which was read as Latin-1."""
        for raw in raw_rules(text):
            if len(self._rules) >= MAX_RULES:
                place = Location(path, raw.line, 1)
                self.errors.append(RuleError(f"more than {MAX_RULES:,} rules", place, "load fewer"))
                return
            self._load(raw, path)

    def restrict(self, path: str, text: str, variables: Variables) -> None:
        """Do what a threshold.config says to the rules that were loaded."""
        apply(read_thresholds(path, text, variables, self.errors), self._rules)

    @property
    def looks_up(self) -> bool:
        """Some rule looks things up in a list, which another file may fill."""
        return any(_looks_up(leaf) for rule in self._rules.values() for leaf in leaves(rule.condition))

    def rules(self) -> list[Rule]:
        """Return what was loaded."""
        return list(self._rules.values())

    def _load(self, raw: RawRule, path: str) -> None:
        if len(raw.text) > MAX_RULE_BYTES:
            fault = Malformed(f"the rule is longer than {MAX_RULE_BYTES:,} bytes", "make two rules of it")
            self._leave_out(AtPlace(fault, 0), raw, path)
            return
        try:
            rule = self._builder.build(raw, path)
        except AtPlace as at:
            if isinstance(at.fault, NotMeant):
                self.skipped += 1
            else:
                self._leave_out(at, raw, path)
            return
        self._keep(rule)

    def _keep(self, rule: Rule) -> None:
        """Take a rule in; of two with the same gid and sid, the one of the newer revision."""
        signature = rule.signature
        key = (signature.gid, signature.sid)
        other = self._rules.get(key)
        if other is None or other.signature.rev < signature.rev:
            older = other
            self._rules[key] = rule
        else:
            older, other = rule, other
        if older is not None:
            newer = self._rules[key]
            self.left_out.append(
                RuleLeftOut(
                    f"sid {signature.sid} stands at {newer.source} as well, with revision {newer.signature.rev}",
                    older.source,
                    "give one of them another sid",
                    cause="duplicate sid",
                )
            )

    def _leave_out(self, at: AtPlace, raw: RawRule, path: str) -> None:
        line, column = raw.place(at.offset)
        message = f"{at.option}: {at.fault.message}" if at.option else at.fault.message
        self.left_out.append(RuleLeftOut(message, Location(path, line, column), at.fault.remedy, cause=at.fault.cause))


def _looks_up(leaf: object) -> bool:
    if isinstance(leaf, Chain):
        return any(isinstance(step, Listed) for step in leaf.steps)
    return isinstance(leaf, AddressIn)


def load_suricata(
    paths: Sequence[str],
    variables: Mapping[str, str | list[str]],
    beside: ConfigPaths | None,
    errors: list[RuleError],
    cache: Path | None = None,
) -> Loaded:
    """Load files in Suricata's language, or what is kept of them; files that cannot be read go to ``errors``."""
    if not paths:
        return Loaded()
    before = len(errors)
    beside = beside or ConfigPaths()
    files = read_config_files(beside, errors)
    texts = [(path, read_text(path, errors, MAX_FILE_BYTES)) for path in paths]
    known = {**DEFAULT_VARIABLES, **variables}
    kept = Cache(cache, CACHE_SUFFIX)
    limits = (beside.threshold, read_text(beside.threshold, errors)) if beside.threshold is not None else None
    key = key_of(texts, known, (files, limits, *scripts_in(texts)))
    loaded = load(kept, key) if cache is not None else None
    if loaded is not None:
        return loaded
    loaded = _built(texts, limits, Variables(known), files, errors)
    texts.clear()  # tens of megabytes, which keeping takes again
    if cache is not None and len(errors) == before and loaded.whole:
        keep(kept, key, loaded)
    return loaded


def _built(
    texts: Sequence[tuple[str, str]],
    limits: tuple[str, str] | None,
    variables: Variables,
    files: ConfigFiles,
    errors: list[RuleError],
) -> Loaded:
    """Build the rules of files and restrict them, each given as path and text."""
    loader = SuricataLoader(variables, files)
    with collected_later():
        for path, text in texts:
            loader.take(path, text)
    if limits is not None:
        loader.restrict(*limits, variables)
    errors += loader.errors
    return Loaded(tuple(loader.rules()), tuple(loader.left_out), loader.skipped, whole=not loader.looks_up)
