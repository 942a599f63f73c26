"""Mutated rules, loaded by the engine and by Suricata itself where it is installed: what is a rule to whom.

``python -m tests.rules.suricata.refusals_oracle --cases 100000 --seed 1`` changes rules of the public set as the fuzzer
does, and prints, grouped by reason, what loads here although Suricata refuses it (``MORE``), and the other way round
(``LESS``). Each rule must be accounted for: loaded, left out with a reason, or said to be for another version.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ids.rules.language.suricata.files import ConfigFiles
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.settings import DEFAULT_VARIABLES
from tests.fuzz.mutate import respelt
from tests.fuzz.seeds import seeds

WORDS = {
    "both": "load in both", "neither": "are refused by both", "MORE": "load here alone", "LESS": "load there alone",
}  # fmt: skip
BATCH = 5000
LONGEST = 8000
"""Suricata cuts lines of 8,192 bytes and more."""
_UNLIKE = re.compile(rb"[\n\r\0]|\\\s*$|^\s")
"""What ends or joins a line for one of the two is no difference of rules; Suricata takes no notice of lines that begin
with white space."""
_SID = re.compile(rb"\bsid:\s*\d+\s*;")
_PLACE = re.compile(r'^error parsing signature ".*" from file .* at line (\d+)$', re.S)
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d+\b")


@dataclass(slots=True)
class Verdicts:
    """What one loader makes of numbered rules."""

    refused: dict[int, str] = field(default_factory=dict)
    """By line, the reason."""
    other: set[int] = field(default_factory=set)
    """Lines that are neither loaded nor refused: a sid that stands twice, rules for another version."""


def mutants(rules: Sequence[bytes], count: int, rng: np.random.Generator) -> list[bytes]:
    """Return changed rules, each a line with a sid of its own where one is left."""
    made: list[bytes] = []
    while len(made) < count:
        one, other = (rules[int(rng.integers(0, len(rules)))] for _ in range(2))
        line = respelt(_SID.sub(b"sid:%d;" % (len(made) + 1), one), other, rng)
        if len(line) < LONGEST and not _UNLIKE.search(line) and line[:1] not in (b"#", b""):
            made.append(line)
    return made


def ours(rules: Sequence[bytes]) -> Verdicts:
    """Return what the engine makes of rules, one a line; raise AssertionError where one is lost."""
    text = b"\n".join(rules).decode("latin-1")
    loader = SuricataLoader(Variables(DEFAULT_VARIABLES), ConfigFiles())
    loader.take("r.rules", text)
    found = Verdicts()
    for fault in loader.left_out:
        if fault.cause == "duplicate sid":
            found.other.add(fault.location.line)
        else:
            found.refused[fault.location.line] = fault.message
    loaded = {rule.source.line for rule in loader.rules()}
    missing = set(range(1, len(rules) + 1)) - loaded - found.refused.keys() - found.other
    assert len(missing) == loader.skipped, f"lost: {[rules[line - 1] for line in sorted(missing)][:3]}"
    found.other |= missing
    return found


def theirs(rules: Sequence[bytes]) -> Verdicts:
    """Return what Suricata makes of rules, one a line."""
    found = Verdicts()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "r.rules")
        broken = b"alert nonsense\n"  # with a bad rule at least, it stops behind reading them
        path.write_bytes(b"\n".join(rules) + b"\n" + broken)
        subprocess.run(["suricata", "-T", "-S", path, "-l", name], capture_output=True, timeout=600)
        log = Path(name, "suricata.log").read_bytes().decode("latin-1")
    before: list[str] = []
    for entry in re.split(r"^\[\d+ - Suricata-Main\] \S+ \S+ ", log, flags=re.M)[1:]:
        kind, _, rest = entry.rstrip("\n").partition(": ")
        what = rest.partition(": ")[2]
        if kind == "Error" and (place := _PLACE.match(what)):
            line = int(place[1])
            reason = " / ".join(before) or "(no reason given)"
            if "Duplicate signature" in reason:
                found.other.add(line)
            else:
                found.refused[line] = reason
            before = []
        elif kind == "Error":
            before.append(what[:200])
    return found


def compare(rules: Sequence[bytes]) -> Iterable[tuple[str, str, bytes]]:
    """Yield for each rule who loads it, the reason of who does not, and the rule."""
    here, there = ours(rules), theirs(rules)
    for number, rule in enumerate(rules, 1):
        if number in here.other or number in there.other:
            continue
        if number not in here.refused and number in there.refused:
            yield "MORE", there.refused[number], rule
        elif number in here.refused and number not in there.refused:
            yield "LESS", here.refused[number], rule
        else:
            yield ("neither" if number in here.refused else "both"), "", b""


def main() -> int:
    """Compare; print each kind of disagreement with its number and an example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=1)
    options = parser.parse_args()
    if shutil.which("suricata") is None:
        print("suricata is not installed")
        return 2
    rng = np.random.default_rng(options.seed)
    known = seeds().rules
    numbers: Counter[str] = Counter()
    kinds: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for first in range(0, options.cases, BATCH):
        for word, reason, rule in compare(mutants(known, min(BATCH, options.cases - first), rng)):
            numbers[word] += 1
            if rule:
                kinds[word, _VALUE.sub("…", reason)[:160]].append(rule)
    for (word, reason), rules in sorted(kinds.items(), key=lambda item: (item[0][0], -len(item[1]))):
        print(f"{word} {len(rules):6,}  {reason}")
        for rule in rules[: options.examples]:
            print(f"               {rule.decode('latin-1')}")
    print(f"{options.cases:,} rules:", ", ".join(f"{numbers[word]:,} {what}" for word, what in WORDS.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
