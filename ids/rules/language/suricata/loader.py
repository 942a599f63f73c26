"""Loads files of Suricata's rules. A bad rule is left out, and the rest of its file loads."""

from __future__ import annotations

from ids.errors import Location, RuleError, RuleLeftOut
from ids.rules.language.suricata.builder import AtPlace, Builder
from ids.rules.language.suricata.faults import Malformed, NotMeant
from ids.rules.language.suricata.files import ConfigFiles, read_text
from ids.rules.language.suricata.source import MAX_RULE_BYTES, RawRule, raw_rules
from ids.rules.language.variables import Variables
from ids.rules.model.rule import Rule

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
        for raw in raw_rules(read_text(path, self.errors, MAX_FILE_BYTES)):
            if len(self._rules) >= MAX_RULES:
                place = Location(path, raw.line, 1)
                self.errors.append(RuleError(f"more than {MAX_RULES:,} rules", place, "load fewer"))
                return
            self._load(raw, path)

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
