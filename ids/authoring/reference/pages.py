"""Writes the reference: docs/keywords.md and docs/buffers.md, and one entry for `ids rules keyword`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ids.authoring.reference.entries import Entry, Keyword, entries
from ids.authoring.reference.rules import (
    Example,
    buffer_examples,
    in_suricatas,
    keyword_example,
    older_names,
)
from ids.rules.language.suricata.buffers import MODIFIERS, OLD_NAMES, SURICATAS, TRANSFORMS, TRANSFORMS_WITH_VALUE
from ids.rules.language.suricata.keywords import KEYWORDS, LATER
from ids.rules.model.buffers import CATALOGUE, refusal
from ids.types import Direction

WRITTEN = "<!-- Written by scripts/docs.py from ids/authoring/reference/*.yaml; change it there. -->"

KEYWORDS_HEAD = f"""\
# Keywords of Suricata's language

{WRITTEN}

What each keyword does here, the forms of its values, and a rule that finds one thing and leaves another alone: the
tests of this project run each, and hold it against Suricata itself where that is installed. `ids rules keyword NAME`
prints one. How rules are loaded, and where they may find more than Suricata does, is in
[rules](rules.md#rules-in-suricatas-language); the names of buffers are in [buffers](buffers.md).

What is sent is spelt as in [tests of rules](authors.md#tests): write the rule to `x.rules`, and under its sid in
`x.tests.yaml` what fires and what stays silent.
"""

BUFFERS_HEAD = f"""\
# Buffers

{WRITTEN}

What rules can look at, each with a rule in every language that finds something there. What is special about some of
them is in [rules](rules.md#buffers). `ids rules keyword NAME` prints one. The tests of this project run each example.
"""

_SENDERS = {Direction.TO_SERVER: "client", Direction.TO_CLIENT: "server", None: "both sides"}
_FENCES = {".rules": "text", ".yaml": "yaml", ".yar": "yara"}


def keywords_page() -> str:
    """Return docs/keywords.md."""
    every = entries()
    parts = [KEYWORDS_HEAD]
    for group in every.groups:
        parts.append(f"\n## {group.title}\n" + (f"\n{group.about}\n" if group.about else ""))
        parts += [f"\n### {name}\n\n{keyword_text(name, keyword)}" for name, keyword in group.keywords.items()]
    parts.append("\n## Shared sessions\n\nStimuli that several examples name.\n")
    parts += [f"\n### session {name}\n\n```yaml\n{_flow(one)}\n```\n" for name, one in sorted(every.sessions.items())]
    if every.awaited:
        waiting = ", ".join(f"`{name}`" for name in sorted(every.awaited))
        parts.append(f"\n## Without an example yet\n\n{waiting}\n")
    parts.append("\n## Older names of buffers\n\nModifiers stand behind the content that they are about.\n\n")
    parts.append(_table(("keyword", "buffer", "example"), _older_rows()))
    parts.append("\n## What is left out\n\nA rule with one of these is left out by itself; the load says so.\n\n")
    parts.append(_table(("keyword", "why"), [(f"`{name}`", why) for name, why in sorted(every.refused.items())]))
    parts.append("\nThese buffers are known by name; no parser here gives them:\n")
    parts.append(", ".join(f"`{name}`" for name in unfilled()) + ".\n")
    return "".join(parts)


def buffers_page() -> str:
    """Return docs/buffers.md."""
    every = entries()
    parts = [BUFFERS_HEAD]
    parts += [f"\n## {name}\n\n{buffer_text(name)}" for name in CATALOGUE if name in every.buffers]
    return "".join(parts)


def about(name: str) -> str | None:
    """Return what there is to say of a keyword or a buffer, as Markdown; None: there is nothing of that name."""
    every = entries()
    older = {**OLD_NAMES, **MODIFIERS}
    found = []
    if name in every.buffers:
        found.append(buffer_text(name))
    keyword = every.keywords().get(name)
    if keyword is not None:
        found.append(keyword_text(name, keyword))
    if name in older and older[name] in every.buffers:
        found.append(f"{_older(name)}\n\n{_fenced(in_suricatas(older[name], every.buffers[older[name]], name))}")
    if name in every.refused:
        found.append(f"Rules with it are left out: {every.refused[name]}.\n")
    if not found and older.get(name, name) in unfilled():
        found.append("Rules with it are left out: no parser here gives this buffer.\n")
    if not found and (name in every.awaited or older.get(name, name) in every.awaited):
        buffer = CATALOGUE.get(older.get(name, name))
        found.append(f"{buffer.text if buffer is not None else 'Taken'}; there is no example yet.\n")
    return "\n".join(found) or None


def names() -> list[str]:
    """Return every name that `about` knows."""
    every = entries()
    return sorted({*KEYWORDS, *LATER, *every.buffers, *every.refused, *unfilled()})


def unfilled() -> list[str]:
    """Return the buffers that are known by name, and that nothing fills."""
    return [name for name in sorted(SURICATAS | CATALOGUE.keys()) if refusal(name, []) is not None]


def unwritten() -> list[str]:
    """Return the names that lack an entry, and those of entries that nothing stands for any more."""
    every = entries()
    written = every.keywords()
    older = {**OLD_NAMES, **MODIFIERS}
    buffers = {name for name in CATALOGUE if refusal(name, []) is None}
    awaited = set(every.awaited)
    known = {*every.buffers, *written, *unfilled(), *awaited}
    lacking = {name for name in KEYWORDS if older.get(name, name) not in known}
    return [
        *(f"{name} has an entry, and is awaited" for name in sorted(awaited & {*every.buffers, *written})),
        *(f"the buffer {name} has no example" for name in sorted(buffers - every.buffers.keys() - awaited)),
        *(f"nothing fills the buffer {name}" for name in sorted(every.buffers.keys() - buffers)),
        *(f"the keyword {name} has no entry" for name in sorted(lacking)),
        *(f"there is no keyword {name}" for name in sorted(written.keys() - KEYWORDS.keys())),
        *(f"it is not said why {name} is refused" for name in sorted(LATER - every.refused.keys())),
        *(f"{name} is not refused" for name in sorted(every.refused.keys() - LATER)),
    ]


def keyword_text(name: str, entry: Keyword) -> str:
    """Return the text on a keyword."""
    forms = ", ".join(f"`{form}`" for form in entry.forms)
    kind = " A transform." if name in (*TRANSFORMS, *TRANSFORMS_WITH_VALUE) else ""
    files = "".join(_file(file, text.strip()) for file, text in entry.files.items())
    files += "".join(f"Its file `{file}` is, in base64, `{text}`.\n\n" for file, text in entry.binary.items())
    files += "".join(f"It takes `rules.{key}: {_flow(value)}`.\n\n" for key, value in entry.settings.items())
    body = _fenced(keyword_example(name, entry))
    return f"{entry.does}{kind}{_whose(entry)}\n\nForms: {forms}\n\n{body}\n{files}{_what_is_sent(entry)}"


def _file(name: str, text: str) -> str:
    if "\n" in text:
        return f"Its file `{name}` holds\n\n```{name.rpartition('.')[2]}\n{text}\n```\n\n"
    return f"Its file `{name}` holds `{text}`.\n\n"


def buffer_text(name: str) -> str:
    """Return the text on a buffer that has an example."""
    buffer, entry = CATALOGUE[name], entries().buffers[name]
    several = " It may occur several times in one exchange." if buffer.several else ""
    head = f"{buffer.text[0].upper()}{buffer.text[1:]}; sent by {_sender(name)}.{several}{_whose(entry)}\n\n"
    forms = f"Also: {', '.join(f'`{form}`' for form in entry.forms)}\n\n" if entry.forms else ""
    return head + "\n".join(map(_fenced, buffer_examples(name, entry))) + "\n" + forms + _what_is_sent(entry)


def _whose(entry: Entry) -> str:
    if entry.ours:
        return " Suricata does not know it."
    return " Suricata knows it from a later version on." if entry.newer else ""


def _sender(name: str) -> str:
    side = CATALOGUE[name].side
    return _SENDERS[side] if side is None else f"the {_SENDERS[side]}"


def _fenced(example: Example) -> str:
    return f"```{_FENCES[example.suffix]}\n{example.text}```\n"


def _what_is_sent(entry: Entry) -> str:
    many = "" if entry.alerts == 1 else f" ({entry.alerts} alerts)"
    return f"Fires on{many} {_sent(entry.fires)}; stays silent on {_sent(entry.silent)}.\n"


def _sent(of: str | Mapping[str, object]) -> str:
    return f"the session `{of}`" if isinstance(of, str) else f"`{_flow(of)}`"


def _flow(value: object) -> str:
    """Return YAML of a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        plain = value.replace("_", "").isalpha() and value.lower() not in ("true", "false", "yes", "no", "on", "off")
        return value if plain else json.dumps(value)
    return json.dumps(value)


def _older(name: str) -> str:
    if name in MODIFIERS:
        return f"Behind a content: it is about `{MODIFIERS[name]}`."
    return f"An older name of `{OLD_NAMES[name]}`."


def _older_rows() -> Iterable[tuple[str, ...]]:
    every = entries()
    for name, buffer in older_names().items():
        options = in_suricatas(buffer, every.buffers[buffer], name).text.partition('"; ')[2].partition(" sid:")[0]
        yield f"`{name}`", f"`{buffer}`", f"`{options}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [*head]
    lines = ["| " + " | ".join(row).replace("\n", " ") + " |" for row in [cells, ["---"] * len(cells), *rows]]
    return "\n".join(lines) + "\n"
