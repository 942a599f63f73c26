"""Random chains through import and reload: does the YAML mean what Suricata's spelling of it meant?

``python -m tests.authoring.import_reference --cases 100000 --seed 1`` runs as many cases as you have time for; the
suite runs a few hundred. Each chain is spelt as a rule in Suricata's language, imported, and the YAML loaded. What is
loaded is held against the rule part by part (`differences`), and against the chain as it was made on data that nearly
fit: a mistake that is made alike on both ways shows there. What does not come through is counted by its reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ids.authoring.importing import import_rules
from ids.authoring.likeness import differences
from ids.rules.language.loader import load_rules
from ids.rules.match.chains import judge
from ids.rules.match.reading import Variables
from ids.rules.model.chain import Chain, Content, DataAt, Step
from ids.rules.model.rule import Rule
from tests.rules.chains_oracle import spell
from tests.rules.chains_reference import Maker

BATCH = 500
"""Rules of one file."""
DATA = 6
"""Buffers that each chain is judged on."""


@dataclass
class Compared:
    """What came of some chains."""

    cases: int = 0
    same: int = 0
    judged: int = 0
    held: int = 0
    stayed: Counter[str] = field(default_factory=Counter)
    """Those that did not come through, by the reason given."""
    wrong: list[str] = field(default_factory=list)


def compare(maker: Maker, count: int, folder: Path, into: Compared) -> None:
    """Compare so many chains, in files in a folder."""
    chains = {sid: maker.case() for sid in range(1, count + 1)}
    rules, yaml = folder / "r.rules", folder / "r.yaml"
    rules.write_text("".join(spell(steps, sid) + "\n" for sid, (steps, _) in chains.items()))
    found = import_rules(str(rules))
    yaml.write_text("".join(found.document()))
    loaded = load_rules([yaml])
    into.wrong += [f"refused what was written: {error}" for error in loaded.errors]
    after = {rule.signature.sid: rule for rule in loaded.rules}
    into.cases += count
    into.stayed.update(str(left) for left in found.left_out)
    into.stayed.update(entry.reason for entry in found.not_converted)
    for rule in found.converted:
        sid = rule.signature.sid
        steps, near = chains[sid]
        unlike = differences(rule, after[sid]) if sid in after else ["it is not there"]
        if unlike:
            into.wrong.append(f"{spell(steps, sid)}: {', '.join(unlike)}")
            continue
        into.same += 1
        if _says_otherwise(steps):
            continue
        for data in (near, *(maker.case()[1] for _ in range(DATA - 1))):
            made, read = _holds(steps, data), _holds(_steps(after[sid]), data)
            into.judged += 1
            into.held += made
            if made is not read:
                into.wrong.append(f"{spell(steps, sid)} on {data!r}: {read} instead of {made}")


def _says_otherwise(steps: tuple[Step, ...]) -> bool:
    """Whether a chain is spelt as one that means another: ``isdataat:!1,relative`` behind a literal is ``endswith``.

    That is the same but for a negated literal.
    """
    last = DataAt(1, negated=True, relative=True)
    return any(isinstance(one, Content) and one.negated and two == last for one, two in pairwise(steps))


def _holds(steps: tuple[Step, ...], data: bytes) -> bool:
    return judge(Chain("payload", steps), data, data.lower, Variables()).held is not None


def _steps(rule: Rule) -> tuple[Step, ...]:
    (chain,) = rule.condition.parts
    assert isinstance(chain, Chain)
    return chain.steps


def main() -> int:
    """Run many cases; print what came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    maker, found = Maker(options.seed, loadable=True), Compared()
    with tempfile.TemporaryDirectory() as folder:
        while found.cases < options.cases and len(found.wrong) < 10:
            compare(maker, min(BATCH, options.cases - found.cases), Path(folder), found)
    print("".join(f"{reason}\n" for reason in found.wrong[:10]), end="")
    for reason, count in found.stayed.most_common(20):
        print(f"{count:7,}  did not come through: {reason}")
    print(
        f"{found.cases:,} cases: {found.same:,} came out the same, judged alike on {found.judged:,} buffers "
        f"({found.held:,} hold); {found.stayed.total():,} did not come through, {len(found.wrong)} came out otherwise"
    )
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
