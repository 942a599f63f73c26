"""Loads YARA rules: compiled by yara-python, described by their ``meta``."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yara

from ids.cache import Cache, digest_of
from ids.errors import Location, RuleError
from ids.later import late_pattern
from ids.rules.language.blocking import REMEDY, blocks_server
from ids.rules.language.variables import Variables
from ids.rules.language.yara_cost import endless_strings
from ids.rules.language.yara_literals import covers
from ids.rules.language.yara_meta import Keys, meta_places, odd_keys
from ids.rules.language.yara_scope import Meta, MetaError, yara_rule
from ids.rules.model.buffers import CATALOGUE, wrong_way
from ids.rules.model.literals import weakest, worth
from ids.rules.model.rarity import WEAK_SCORE
from ids.rules.model.yara import STREAM, YaraRule, YaraSet
from ids.rules.settings import DEFAULT_VARIABLES
from ids.source import MAX_BYTES

_RULE = late_pattern(r"^[ \t]*(?:(?:private|global)\s+)*rule\s+(\w+)", re.MULTILINE)
_LINE = late_pattern(r"line (\d+): (.*)", re.DOTALL)
_POSITIONAL = late_pattern(r"\bat\b|\bin\s*\(|\bfilesize\b|\bentrypoint\b|\bu?int(?:8|16|32)(?:be)?\s*\(|[@!]\w+\s*\[")


def load_yara(
    paths: Iterable[str],
    variables: Mapping[str, str | list[str]] | None = None,
    taken: Mapping[int, Location] | None = None,
    cache: Path | None = None,
) -> YaraSet:
    """Load YARA files. A file that does not compile is refused whole, a rule with a bad ``meta`` by itself.

    ``taken`` has the sids of rules in other languages: an alert must say which rule it came from. ``cache`` is a
    directory that keeps compiled files.
    """
    kept = Cache(cache, "yarac")
    used = dict(taken or {})
    pool = Variables({**DEFAULT_VARIABLES, **(variables or {})})
    errors: list[RuleError] = []
    warnings: list[RuleError] = []
    rules: dict[int, YaraRule] = {}
    sources: dict[str, str] = {}
    for path in paths:
        text = _read(path, errors)
        compiled = _compile(path, text, kept, errors) if text is not None else None
        if text is None or compiled is None:
            continue
        sources[path] = text
        for rule in _described(path, text, compiled, pool, errors, warnings):
            sid = rule.signature.sid
            if sid in used:
                errors.append(
                    RuleError(f"sid {sid} is already used at {used[sid]}", rule.source, "give one of them another sid")
                )
                continue
            used[sid] = rule.source
            rules[sid] = rule
    scopes: dict[str, dict[str, str]] = {}
    for rule in rules.values():
        scopes.setdefault(rule.scope, {})[rule.namespace] = sources[rule.namespace]
    bundles = {scope: _compiled(files, kept) for scope, files in scopes.items()}
    return YaraSet(tuple(rules.values()), bundles, sources, tuple(errors), tuple(warnings))


def _read(path: str, errors: list[RuleError]) -> str | None:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            errors.append(RuleError(f"is larger than {MAX_BYTES >> 20} MiB", Location(path), "split it"))
            return None
        return raw.decode("utf-8-sig")
    except OSError as error:
        errors.append(RuleError(f"cannot be read: {error.strerror}", Location(path), "check the path and its rights"))
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = Location(path, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        errors.append(RuleError(f"is not UTF-8 at byte {error.start}", place, "save it as UTF-8"))
    return None


def _compiled(sources: Mapping[str, str], cache: Cache) -> Any:
    """Compile sources, each in a namespace, or load what came of them at an earlier start; raises `yara.Error`.

    What is compiled is loaded again as well: the compiler leaves some seven megabytes to each set of rules, however
    few there are, and a set that was loaded takes what it needs.
    """
    key = digest_of([yara.__version__, yara.YARA_VERSION, *(part for item in sources.items() for part in item)])
    kept = cache.get(key)
    if kept is not None:
        with contextlib.suppress(yara.Error):  # of another version
            return _loaded(kept)
    compiled = yara.compile(sources=dict(sources), includes=False)
    with contextlib.suppress(yara.Error):
        saved = io.BytesIO()
        compiled.save(file=saved)
        cache.put(key, saved.getvalue())
        return _loaded(saved.getvalue())
    return compiled


def _loaded(saved: bytes) -> Any:
    return yara.load(file=io.BytesIO(saved))


def _compile(path: str, text: str, cache: Cache, errors: list[RuleError]) -> Any | None:
    endless = list(endless_strings(path, text))
    if endless:
        errors += endless
        return None
    try:
        return _compiled({"": text}, cache)
    except yara.Error as error:
        found = _LINE.search(str(error))
        line, message = (int(found[1]), found[2]) if found else (0, str(error))
        if not line:  # a file that ends too early
            line = text.count("\n") + 1
        errors.append(RuleError(message, Location(path, line, 1), _remedy(message)))
        return None


_REMEDIES = (
    ("include", "put the included rules into a file of their own"),
    ("unreferenced string", "use it in the condition, or begin its name with an underscore: $_a"),
    ("undefined identifier", "there are no external variables; a module has to be imported"),
    ("unknown module", f"known are {', '.join(sorted(set(yara.modules) - {'tests'}))}"),
    ("duplicated", "give one of the two another name"),
    ("undefined string", "define it under strings:"),
    ("unexpected end of file", "close the rule with }"),
    ("unexpected identifier", "a file of YARA holds rules: rule name { ... }"),
)
"""What to do, by words in what YARA's compiler says."""


def _remedy(message: str) -> str:
    return next((remedy for words, remedy in _REMEDIES if words in message), "")


def _described(
    path: str, text: str, compiled: Any, variables: Variables, errors: list[RuleError], warnings: list[RuleError]
) -> Iterable[YaraRule]:
    """Yield the rules of a file that can match by themselves."""
    places = _places(text)
    needles = covers(text)
    metas = meta_places(text)
    for rule in compiled:
        if rule.is_private:
            continue
        line, positional = places.get(rule.identifier, (0, True))
        place = Location(path, line, 1 if line else 0)
        keys = metas.get(rule.identifier, {})
        try:
            described = yara_rule(
                rule.identifier, path, rule.tags, rule.meta, variables, place, positional, needles.get(rule.identifier)
            )
        except MetaError as error:
            errors.append(RuleError(f"rule {rule.identifier}: {error}", _place(place, keys, error.key), error.remedy))
            continue
        for key, odd, remedy in odd_keys(rule.meta, keys, Meta.model_fields):
            warnings.append(RuleError(f"rule {rule.identifier}: {odd}", _place(place, keys, key), remedy))
        if "sid" not in rule.meta:
            warnings.append(
                RuleError(
                    f"rule {rule.identifier} has no sid; it gets {described.signature.sid}, derived from its name",
                    place,
                    f"add `sid = {described.signature.sid}` to its meta to keep it when the name changes",
                )
            )
        if (costly := _costly(described)) is not None:
            warnings.append(RuleError(f"sid {described.signature.sid}: {costly[0]}", place, costly[1]))
        direction, block = described.flow.direction, described.signature.block
        buffer = CATALOGUE.get(described.scope)
        sides = [buffer.side] if buffer is not None and buffer.side is not None else []
        if (why := wrong_way([described.scope], direction)) is not None:
            warnings.append(RuleError(f"rule {rule.identifier}: {why}", place, "turn the direction round in its meta"))
        elif (why := blocks_server(block, described.traffic, direction, sides, variables)) is not None:
            warnings.append(RuleError(f"rule {rule.identifier}: {why}", place, REMEDY))
        yield described


def _place(of_rule: Location, keys: Keys, key: str) -> Location:
    """Return where a key of a rule's meta stands, or the rule."""
    return Location(of_rule.path, *keys[key][-1]) if key in keys else of_rule


def _costly(rule: YaraRule) -> tuple[str, str] | None:
    """Return what makes a rule run on much or all of its traffic, and what to do; None where nothing does."""
    if rule.needles is None:
        what = "every stream" if rule.scope == STREAM else f"every {rule.scope}"
        return f"no literal to look for, so YARA runs on {what}", "have the condition require a string of its own"
    if rule.needles and worth(rule.needles) < WEAK_SCORE:
        return (
            f"its best literal {weakest(rule.needles).value!r} is common, so YARA runs often",
            "have the condition require a longer string",
        )
    return None


def _places(text: str) -> dict[str, tuple[int, bool]]:
    """Return for each rule its line, and whether its condition may speak of positions or sizes."""
    found = list(_RULE.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)] * bool(found)
    places: dict[str, tuple[int, bool]] = {}
    for match, end in zip(found, ends, strict=True):
        body = text[match.end() : end]
        condition = body[body.rfind("condition") :]
        line = text.count("\n", 0, match.start(1)) + 1
        places.setdefault(match[1], (line, _POSITIONAL.search(condition) is not None))
    return places
