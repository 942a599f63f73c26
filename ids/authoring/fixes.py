"""Mends rule files where that changes nothing of what they mean: a missing revision, the order of keys, old words."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ids.authoring.likeness import differences
from ids.errors import IdsError
from ids.rules.language.loader import SURICATA_SUFFIXES, YAML_SUFFIXES, load_rules
from ids.rules.language.schema import RuleSchema
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.source import header_of, options_of
from ids.rules.model.ruleset import RuleSet
from ids.source import read_yaml
from ids.whole import write_whole

ORDER = tuple(RuleSchema.model_fields)
"""Keys of a rule, in the order in which the schema and the documentation have them."""

_OLD_WORDS = (("from_client", "to_server"), ("from_server", "to_client"))
_FLOW = re.compile(r"^(\s+flow:.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What was done to a file."""

    path: str
    changes: tuple[str, ...]


def fix_files(files: Sequence[str]) -> list[Fixed]:
    """Mend files in place; return what was done. A file whose rules would not stay what they are is left alone."""
    return [done for path in files if (done := fix_file(path)) is not None]


def fix_file(path: str) -> Fixed | None:
    """Mend one file; None where there is nothing to do."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig" if path.endswith(YAML_SUFFIXES) else "latin-1")
    except (OSError, UnicodeDecodeError):
        return None
    changes: list[str] = []
    if path.endswith(YAML_SUFFIXES):
        mended = _yaml(path, text, changes)
    elif path.endswith(SURICATA_SUFFIXES):
        mended = _suricata(text, changes)
    else:
        return None
    if mended == text or not _means_the_same(path, mended):
        return None
    data = mended.encode("utf-8" if path.endswith(YAML_SUFFIXES) else "latin-1")
    write_whole(Path(path), data, Path(path).stat().st_mode & 0o777)
    return Fixed(path, tuple(dict.fromkeys(changes)))


def _suricata(text: str, changes: list[str]) -> str:
    """Mend rules of one line each; the others stay as they are."""
    lines = []
    for line in text.split("\n"):
        try:
            lines.append(
                _rule_of_suricata(line, changes) if line.strip() and not line.lstrip().startswith("#") else line
            )
        except Malformed:
            lines.append(line)
    return "\n".join(lines)


def _rule_of_suricata(line: str, changes: list[str]) -> str:
    """Mend one rule; raises `Malformed`."""
    options = list(options_of(line, header_of(line).end))
    added = not any(name == "rev" for name, _, _ in options)
    for name, value, offset in reversed(options):
        if name == "flow" and value is not None and (renewed := _renewed(value)) != value:
            at = line.index(value, offset)
            line = line[:at] + renewed + line[at + len(value) :]
            changes.append("write to_server and to_client")
        if name == "sid" and added:
            at = line.index(";", offset) + 1
            line = f"{line[:at]} rev:1;{line[at:]}"
            changes.append("add rev")
    return line


def _renewed(words: str) -> str:
    for old, new in _OLD_WORDS:
        words = words.replace(old, new)
    return words


def _yaml(path: str, text: str, changes: list[str]) -> str:
    renewed = _FLOW.sub(lambda found: _renewed(found[0]), text)
    if renewed != text:
        changes.append("write to_server and to_client")
    blocks = _blocks(path, text)
    if blocks is None:
        return renewed
    lines = renewed.split("\n")
    for first, end, keys in reversed(blocks):
        lines[first:end] = _ordered(lines[first:end], [(key, at - first) for key, at in keys], changes)
    return "\n".join(lines)


def _blocks(path: str, text: str) -> list[tuple[int, int, list[tuple[str, int]]]] | None:
    """Return for each rule its lines, and on which of them each key stands; None where that cannot be told."""
    try:
        document = read_yaml(path)
    except IdsError:
        return None
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get("rules"), list):
        return None
    lines = text.split("\n")
    found = []
    for number, rule in enumerate(data["rules"]):
        if not isinstance(rule, dict) or not rule:
            continue
        dash = document.locate(("rules", number)).line - 1
        body = len(lines[dash]) - len(lines[dash].lstrip())
        end = dash + 1
        while end < len(lines) and (not lines[end].strip() or len(lines[end]) - len(lines[end].lstrip()) > body):
            end += 1
        while end > dash + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        indent = re.match(r"\s*-\s+", lines[dash])
        if indent is None:
            continue
        keys = [(str(key), _line_of(lines, dash, end, str(key), len(indent[0]))) for key in rule]
        if all(at is not None for _, at in keys):
            found.append((dash, end, [(key, at) for key, at in keys if at is not None]))
    return found


def _line_of(lines: list[str], first: int, end: int, key: str, column: int) -> int | None:
    """Return on which line a rule's key begins."""
    for at in range(first, end):
        line = lines[at]
        if line[column:].startswith(f"{key}:") and (at == first or not line[:column].strip()):
            return at
    return None


def _ordered(lines: list[str], keys: list[tuple[str, int]], changes: list[str]) -> list[str]:
    """Return a rule's lines with its keys in order, and with a revision; comments go with what follows them."""
    column = len(re.match(r"\s*-\s+", lines[0])[0])  # type: ignore[index]  # it was looked for before
    dash, blank = lines[0][:column], " " * column
    lines = [blank + lines[0][column:], *lines[1:]]
    starts = sorted(at for _, at in keys)
    parts: dict[str, list[str]] = {}
    for key, at in keys:
        begin = at
        while begin > 0 and begin - 1 not in starts and lines[begin - 1].lstrip().startswith("#"):
            begin -= 1
        following = [other for other in starts if other > at]
        end = following[0] if following else len(lines)
        while end - 1 > at and end < len(lines) and lines[end - 1].lstrip().startswith("#"):
            end -= 1
        parts[key] = lines[begin:end]
    if "rev" not in parts and "sid" in parts:
        parts["rev"] = [f"{blank}rev: 1"]
        changes.append("add rev")
    order = sorted(parts, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER))
    if [key for key in parts if key != "rev"] != [key for key in order if key != "rev"]:
        changes.append("sort keys")
    ordered = [line for key in order for line in parts[key]]
    first = next(at for at, line in enumerate(ordered) if not line.lstrip().startswith("#"))
    return [*ordered[:first], dash + ordered[first][column:], *ordered[first + 1 :]]


def _means_the_same(path: str, text: str) -> bool:
    """Return whether a file's rules are the same under another text."""
    suffix = Path(path).suffix
    encoding = "utf-8" if path.endswith(YAML_SUFFIXES) else "latin-1"
    with tempfile.NamedTemporaryFile(suffix=suffix, dir=Path(path).parent, prefix=".ids-fix-") as other:
        other.write(text.encode(encoding))
        other.flush()
        return _same(load_rules([path]), load_rules([other.name]))


def _same(one: RuleSet, other: RuleSet) -> bool:
    """Return whether two loads have the same rules, but for revisions: one that is missing is 0 to Suricata."""
    counts = [(len(each.rules), len(each.errors), len(each.refused)) for each in (one, other)]
    return counts[0] == counts[1] and not any(
        set(differences(mine, theirs)) - {"rev"} for mine, theirs in zip(one.rules, other.rules, strict=True)
    )
