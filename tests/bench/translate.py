"""Our YAML rules in the peer's language, so that both engines look for the same.

Only what the starter rules use is known; YARA rules have no counterpart. An ``any`` of ours becomes several rules of
the peer, one for each combination.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Options: TypeAlias = tuple[tuple[str, str], ...]
"""Buffers of the peer, each with what has to hold in it."""

COMBINATIONS = 500
"""Rules of the peer for one of ours; what has more is left out and counted."""
MARK = "xbits:set,blocked,track ip_src,expire 3600; "
MARKED = (
    "drop ip any any -> any any "
    '(msg:"marked"; flow:to_server; xbits:isset,blocked,track ip_src; noalert; sid:9000003; rev:1;)'
)
"""Without `flow` it would be asked only of the first packets of a flow."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-.,=()<>{}[]@#%&*+!? '")


class Untranslatable(Exception):
    """A rule uses something that is not known here."""


class Beyond(Untranslatable):
    """A rule counts or looks at headers: the peer goes without it, which costs it less than us."""


def translate(folder: Path, inline: bool = False) -> tuple[list[str], int, int]:
    """Return the peer's rules, and how many of ours were translated and how many were not.

    ``inline``: a rule of ours that blocks drops there, and marks its source, whose packets are dropped from then on.
    """
    lines: list[str] = []
    done = left = 0
    for path in sorted(folder.glob("*.yaml")):
        for rule in yaml.safe_load(path.read_text()).get("rules", []):
            try:
                bodies = list(_bodies(rule))
            except Beyond:
                continue
            except Untranslatable:
                left += 1
                continue
            done += 1
            blocks = inline and "block" in rule
            action, mark = ("drop", MARK) if blocks else ("alert", "")
            flow = f"flow:{','.join(rule['flow'])}; " if "flow" in rule else ""
            for number, body in enumerate(bodies):
                sid = rule["sid"] * 1000 + number
                lines.append(f'{action} {rule["traffic"]} (msg:"{rule["sid"]}"; {flow}{body} {mark}sid:{sid}; rev:1;)')
    return [*lines, MARKED] if inline else lines, done, left


def _bodies(rule: dict[str, Any]) -> Iterator[str]:
    if not rule.keys().isdisjoint(("count", "after", "when", "set")):
        raise Beyond("what came before")
    alternatives = [list(_alternatives(condition)) for condition in rule.get("match", [])]
    count = 1
    for each in alternatives:
        count *= len(each)
    if count > COMBINATIONS:
        raise Untranslatable(f"{count} combinations")
    for combination in itertools.product(*alternatives):
        buffers: dict[str, list[str]] = {}
        for name, options in itertools.chain(*combination):
            buffers.setdefault(name, []).append(options)
        yield " ".join(f"{name}; {' '.join(options)}" for name, options in buffers.items())


def _alternatives(condition: dict[str, Any], negated: bool = False) -> Iterator[Options]:
    """Give the ways in which a condition can hold."""
    ((name, wanted),) = condition.items()
    if name == "any":
        for each in wanted:
            yield from _alternatives(each, negated)
    elif name == "none":
        yield tuple(itertools.chain(*(part for each in wanted for part in _alternatives(each, negated=True))))
    elif name == "all":
        for combination in itertools.product(*(list(_alternatives(each, negated)) for each in wanted)):
            yield tuple(itertools.chain(*combination))
    elif isinstance(wanted, list) and any(isinstance(each, dict) for each in wanted):
        raise Untranslatable("a chain")
    elif isinstance(wanted, str | list):
        yield from _on_buffer(name, {"equals": wanted}, negated)
    elif isinstance(wanted, dict):
        yield from _on_buffer(name, wanted, negated)
    else:
        raise Beyond("a test on headers")


def _on_buffer(name: str, wanted: dict[str, Any], negated: bool) -> Iterator[Options]:
    buffer, no = ("pkt_data" if name == "payload" else name), "!" * negated
    nocase = " nocase;" if wanted.get("nocase") else ""
    known = {"contains", "equals", "regex", "size", "nocase"}
    if name.partition(".")[0] in ("ip", "tcp", "icmp"):
        raise Beyond("a test on headers")
    if not wanted.keys() <= known:
        raise Untranslatable(f"{wanted.keys() - known}")
    if not all(isinstance(text, str) for word in ("contains", "equals") for text in _listed(wanted.get(word, []))):
        raise Beyond("values that are no text")
    for text in _listed(wanted.get("contains", [])):
        yield ((buffer, f'content:{no}"{_content(text)}";{nocase}'),)
    for text in _listed(wanted.get("equals", [])):
        yield ((buffer, f'content:{no}"{_content(text)}"; bsize:{len(text.encode())};'),)
    if "regex" in wanted:
        yield ((buffer, f'pcre:{no}"/{_pcre(wanted["regex"])}/";'),)
    if "size" in wanted:
        yield ((buffer, f"bsize:{int(wanted['size'])};"),)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _content(text: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"|{byte:02x}|" for byte in text.encode())


def _pcre(regex: str) -> str:
    """Escape what ends a pattern or an option in a rule of the peer."""
    escaped = regex.replace("\\/", "/").replace("/", "\\/")
    for character in ';"':
        escaped = escaped.replace("\\" + character, character).replace(character, f"\\x{ord(character):02x}")
    return escaped
