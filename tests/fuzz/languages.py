"""The rule languages: each mutated rule loads, or is refused with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

import ids.rules.language
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.language.yaml_loader import YamlLoader
from ids.rules.model.literals import cover
from ids.rules.settings import DEFAULT_VARIABLES
from tests.fuzz.cases import Case, Step, changed
from tests.fuzz.mutate import respelt
from tests.fuzz.subjects import PromiseBroken, Subject
from tests.shared import ROOT

_LANGUAGE = Path(ids.rules.language.__file__).parent
MOST_RULES = 1000
"""Of all rules that are here."""
_VARIABLES = Variables(DEFAULT_VARIABLES)


class SuricataRules(Subject):
    """Rules in Suricata's language."""

    long = False
    code = sorted((_LANGUAGE / "suricata").glob("*.py"))

    def __init__(self, rules: Sequence[bytes]) -> None:
        chosen = rules if len(rules) <= MOST_RULES else Random(1).sample(list(rules), MOST_RULES)
        super().__init__([((0, rule),) for rule in chosen])

    def vary(self, case: Case, other: Case, rng: Random) -> list[Step]:
        return [Step(0, respelt(case[0][1], other[0][1], np.random.default_rng(rng.getrandbits(64))))]

    def execute(self, steps: Sequence[Step]) -> int:
        text = b"\n".join(step.data for step in steps).decode("latin-1")
        loader = SuricataLoader(_VARIABLES)
        loader.take("r.rules", text)
        lines = text.count("\n") + 1
        for fault in loader.left_out:
            if not fault.message or not 1 <= fault.location.line <= lines or fault.location.column < 1:
                raise PromiseBroken(f"a fault without its place: {fault}")
        made = 0
        for rule in loader.rules():
            cover(rule.condition)
            made += 1
        return made


class YamlRules(Subject):
    """Rule files in YAML."""

    long = False
    code = sorted(_LANGUAGE.glob("yaml_*.py")) + sorted(_LANGUAGE.glob("schema*.py"))

    def __init__(self) -> None:
        super().__init__([((0, part),) for path in sorted(ROOT.glob("rules/*/*.yaml")) for part in _parts(path)])
        self._folder = TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self._path = Path(self._folder.name) / "mutated.yaml"

    def close(self) -> None:
        self._folder.cleanup()

    def vary(self, case: Case, other: Case, rng: Random) -> list[Step]:
        text = case[0][1]
        if rng.random() < 0.7:
            text = _respelt(text, other[0][1], rng)
        return [Step(0, changed(text, other[0][1], rng) if rng.random() < 0.5 else text)]

    def execute(self, steps: Sequence[Step]) -> int:
        self._path.write_bytes(b"".join(step.data for step in steps))
        loader = YamlLoader(_VARIABLES, "1.0")
        loader.open(str(self._path))
        made = len(loader.rules())
        for fault in loader.errors:
            if not fault.message or fault.location is None:
                raise PromiseBroken(f"a fault without its place: {fault}")
        return made


def _parts(path: Path) -> list[bytes]:
    """Return each rule of a file as a file of its own: small ones are read faster."""
    _, found, rules = path.read_bytes().partition(b"\nrules:\n")
    if not found:
        return []
    return [b"rules:\n" + b"  - " + one for one in (b"\n" + rules).split(b"\n  - ")[1:]]


def _respelt(text: bytes, other: bytes, rng: Random) -> bytes:
    """Return a text with lines left out, repeated, turned, indented, or taken from another."""
    draw = rng.random
    lines = text.split(b"\n")
    for _ in range(1 + int(draw() * 3)):
        at, kind = int(draw() * len(lines)), int(draw() * 5)
        if kind == 0:
            del lines[at]
            lines = lines or [b""]
        elif kind == 1:
            lines.insert(at, lines[int(draw() * len(lines))])
        elif kind == 2:
            lent = other.split(b"\n")
            lines.insert(at, lent[int(draw() * len(lent))])
        elif kind == 3:
            lines[at] = b" " * int(draw() * 8) + lines[at].lstrip()
        else:
            key, colon, _ = lines[at].partition(b": ")
            value = _VALUES[int(draw() * len(_VALUES))]
            lines[at] = key + colon + value if colon else lines[at] + value
    return b"\n".join(lines)


_VALUES = (
    b"", b"0", b"-1", b"99999999999999999999", b"null", b"true", b"[]", b"{}", b"[a, 1]", b"{a: 1}", b'"\\x00"',
    b"1e400",
    b"'|41|'", b"!!binary QQ==", b"&a [*a]", b"0x10", b"2026-01-01", b"/((a+)+)+$/", b".nan", b"\xc3\xa9", b"any",
)  # fmt: skip
