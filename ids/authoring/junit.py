"""Verdicts of rules' tests as JUnit's XML, which continuous integration reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

from ids.authoring.proving import Verdict

_UNPRINTABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no place for (section 2.2)."""


def write_junit(path: str | Path, verdicts: Sequence[Verdict]) -> None:
    """Write verdicts, a suite for each rule file; raises `OSError`."""
    root = Xml.Element("testsuites", _counts(verdicts))
    files: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        files.setdefault(verdict.proof.rule.source.path, []).append(verdict)
    for name, some in files.items():
        suite = Xml.SubElement(root, "testsuite", {"name": _clean(name), **_counts(some)})
        for verdict in some:
            _case(suite, verdict)
    Xml.indent(root)
    Xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: Xml.Element, verdict: Verdict) -> None:
    rule = verdict.proof.rule
    name = verdict.proof.test.name + (f" [{verdict.evasion}]" if verdict.evasion else "")
    case = Xml.SubElement(
        suite, "testcase", {
            "name": _clean(name), "classname": f"sid {rule.signature.sid}", "file": _clean(rule.source.path),
            "line": str(rule.source.line), "time": f"{verdict.seconds:.4f}",
        },
    )  # fmt: skip
    if verdict.skipped:
        Xml.SubElement(case, "skipped", {"message": _clean(verdict.skipped)})
    if not verdict.held:
        message = f"expected {verdict.expected}, got {verdict.got}"
        failure = Xml.SubElement(case, "failure", {"message": _clean(message)})
        failure.text = _clean(f"{rule.source}: sid {rule.signature.sid}, {name}: {message}. {verdict.note}".strip())


def _counts(verdicts: Iterable[Verdict]) -> dict[str, str]:
    some = list(verdicts)
    failures = sum(not verdict.held for verdict in some)
    skipped = sum(bool(verdict.skipped) for verdict in some)
    seconds = sum(verdict.seconds for verdict in some)
    return {
        "tests": str(len(some)), "failures": str(failures), "errors": "0", "skipped": str(skipped),
        "time": f"{seconds:.4f}",
    }  # fmt: skip


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)
