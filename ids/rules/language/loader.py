"""Finds the rule files of the settings and loads them: every rule of every language, every error, every warning."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG

from ids.cache import Cache
from ids.errors import Location, RuleError, RuleLeftOut, SourceError
from ids.paths import rules_dir
from ids.rules.language.sequence import never_set, unfounded, with_memory
from ids.rules.language.suricata.files import ConfigPaths
from ids.rules.language.suricata.kept import CACHE_SUFFIX as KEPT_SUFFIX
from ids.rules.language.suricata.kept import Loaded, keep, key_of, load
from ids.rules.language.variables import Variables
from ids.rules.model.literals import cover, weakest, worth
from ids.rules.model.patterns import CACHE_SUFFIX, PatternError, Patterns, begin_lazy
from ids.rules.model.rarity import WEAK_SCORE
from ids.rules.model.rule import Rule, patterns_of
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.yara import YaraSet
from ids.rules.settings import DEFAULT_VARIABLES, RulesSettings
from ids.source import read_bytes
from ids.version import __version__

YAML_SUFFIXES = (".yaml", ".yml")
YARA_SUFFIXES = (".yar", ".yara")
SURICATA_SUFFIXES = (".rules",)
SUFFIXES = YAML_SUFFIXES + YARA_SUFFIXES + SURICATA_SUFFIXES
COMPANION_SUFFIX = ".tests.yaml"
"""Of a file with the tests of the rules of the file beside it, ``x.tests.yaml`` of ``x.rules``; it has no rules."""

_FIRST_WORDS = {
    **dict.fromkeys(YAML_SUFFIXES, "put rules under `rules:`"),
    **dict.fromkeys(YARA_SUFFIXES, "write `rule name { ... }`"),
    **dict.fromkeys(SURICATA_SUFFIXES, "write `alert http any any -> any any (...)`"),
}
"""What to write into a file without a rule, by its suffix."""

SHIPPED = ("base", "policy")
"""Rule sets that come with the engine, known by these names."""

MAX_FILES = 10_000
"""Rule files of one load; a directory with more is not a rule directory."""


def load_rules(
    paths: Iterable[str | Path],
    variables: Mapping[str, str | list[str]] | None = None,
    exclude: Sequence[str] = (),
    disabled_sids: Iterable[int] = (),
    engine_version: str = __version__,
    cache: Path | None = None,
    config: ConfigPaths | None = None,
) -> RuleSet:
    """Load every rule in ``paths`` (files, or directories searched recursively in order of name).

    ``variables`` are put over the built-in ones; ``cache`` is a directory that keeps compiled rules; ``config`` names
    the files beside rules in Suricata's language. A sid belongs to one rule of all languages. Nothing is raised for a
    bad rule or file: see ``RuleSet.errors`` and ``RuleSet.refused``.
    """
    errors: list[RuleError] = []
    paths = list(paths)
    files = find_files(paths, exclude, errors)
    of_yaml = [path for path in files if path.endswith(YAML_SUFFIXES)]
    written = _load_yaml(of_yaml, variables or {}, engine_version, errors, cache) if of_yaml else Loaded()
    rules = list(written.rules)
    sources = {rule.source.path for rule in rules} | written.with_lists
    rules = _unique(rules, errors)
    of_suricata = [path for path in files if path.endswith(SURICATA_SUFFIXES)]
    imported = _besides(_load_suricata(of_suricata, variables or {}, config, errors, cache), rules)
    begin_lazy(Cache(cache, CACHE_SUFFIX))
    taken = {rule.signature.sid: rule.source for rule in (*rules, *imported.rules)}
    yara = _load_yara([path for path in files if path.endswith(YARA_SUFFIXES)], variables, taken, cache)
    sources |= {rule.signature.origin.rpartition(":")[0] for rule in yara.rules}
    sources |= {rule.source.path for rule in imported.rules}
    sources |= {error.location.path for error in (*errors, *imported.left_out, *yara.errors)}
    empty = [*_empty_directories(paths, files), *_empty_files(files, sources)]
    off = set(disabled_sids)
    all_rules = (*rules, *imported.rules, *yara.rules)
    lost = list(unfounded(rules, {rule.signature.sid for rule in all_rules}, off))
    errors += lost
    left_out = {error.location for error in lost}
    kept = [rule for rule in (*rules, *imported.rules) if rule.signature.sid not in off and rule.source not in left_out]
    return RuleSet(
        rules=with_memory(kept, all_rules),
        yara=replace(
            yara, rules=with_memory([rule for rule in yara.rules if rule.signature.sid not in off], all_rules)
        ),
        errors=(*errors, *yara.errors),
        refused=imported.left_out,
        skipped=imported.skipped,
        warnings=(*written.warnings, *_costly(rules), *yara.warnings, *never_set(rules, all_rules), *empty),
        files=tuple(files),
    )


def _load_yaml(
    files: Sequence[str],
    variables: Mapping[str, str | list[str]],
    engine_version: str,
    errors: list[RuleError],
    cache: Path | None,
) -> Loaded:
    """Load YAML files, or what is kept of them; the loader is imported where that is needed: it takes a while.

    What has an error is not kept, so that it is reported at each start.
    """
    known = {**DEFAULT_VARIABLES, **variables}
    patterns = Patterns(Cache(cache, CACHE_SUFFIX))
    kept = Cache(cache, KEPT_SUFFIX)
    key = _key_of_yaml(files, known, engine_version) if cache is not None else None
    if key is not None and (loaded := load(kept, key)) is not None and _compiled(loaded.rules, patterns):
        return loaded
    from ids.rules.language.yaml_loader import YamlLoader

    loader = YamlLoader(Variables(known), engine_version, patterns)
    for path in files:
        loader.open(path)
    rules, warnings = tuple(loader.rules()), tuple(loader.warnings)
    loaded = Loaded(rules, whole=loader.whole, warnings=warnings, with_lists=frozenset(loader.with_lists))
    errors += loader.errors
    unchanged = key is not None and key == _key_of_yaml(files, known, engine_version)
    if key is not None and unchanged and loaded.whole and not loader.errors:
        keep(kept, key, loaded)
    return loaded


def _key_of_yaml(files: Sequence[str], variables: Mapping[str, str | list[str]], engine_version: str) -> str | None:
    """Return the key under which what comes of YAML files is kept; None where one cannot be read twice."""
    try:
        if not all(S_ISREG(os.stat(path).st_mode) for path in files):
            return None
        texts = [(path, read_bytes(path).decode("latin-1")) for path in files]
    except (OSError, SourceError):
        return None
    return key_of(texts, variables, ("yaml", engine_version))


def _compiled(rules: Iterable[Rule], patterns: Patterns) -> bool:
    """Compile the patterns of rules that were kept, as their loader does; False where one cannot be any more."""
    try:
        for rule in rules:
            for pattern in patterns_of(rule):
                pattern.compiled(patterns)
    except PatternError:
        return False
    return True


def _load_suricata(
    files: Sequence[str],
    variables: Mapping[str, str | list[str]],
    config: ConfigPaths | None,
    errors: list[RuleError],
    cache: Path | None,
) -> Loaded:
    """Load files in Suricata's language, where there are some."""
    if not files:
        return Loaded()
    from ids.rules.language.suricata.loader import load_suricata

    return load_suricata(files, variables, config, errors, cache)


def _load_yara(
    files: Sequence[str],
    variables: Mapping[str, str | list[str]] | None,
    taken: Mapping[int, Location],
    cache: Path | None,
) -> YaraSet:
    """Load YARA files, where there are some."""
    if not files:
        return YaraSet()
    from ids.rules.language.yara_loader import load_yara

    return load_yara(files, variables, taken, cache)


def load_configured(
    settings: RulesSettings, variables: Mapping[str, str | list[str]] | None = None, cache: Path | None = None
) -> RuleSet:
    """Load the rules of the settings as `load_rules` does; with ``strict``, what is refused is an error as well."""
    beside = ConfigPaths.of(settings)
    loaded = load_rules(settings.paths, variables, settings.exclude, settings.disabled_sids, cache=cache, config=beside)
    return replace(loaded, errors=(*loaded.errors, *loaded.refused)) if settings.strict else loaded


def _besides(imported: Loaded, others: Iterable[Rule]) -> Loaded:
    """Leave out what has the gid and sid of a rule in another language."""
    taken = {(rule.signature.gid, rule.signature.sid): rule for rule in others}
    clashes = [rule for rule in imported.rules if (rule.signature.gid, rule.signature.sid) in taken] if taken else []
    if not clashes:
        return imported
    left_out = []
    for rule in clashes:
        other = taken[rule.signature.gid, rule.signature.sid]
        why = f"sid {rule.signature.sid} is already used by {other.signature.title!r} at {other.source}"
        left_out.append(RuleLeftOut(why, rule.source, "give one of them another sid", cause="duplicate sid"))
    clashing = set(map(id, clashes))
    rules = tuple(rule for rule in imported.rules if id(rule) not in clashing)
    return replace(imported, rules=rules, left_out=(*imported.left_out, *left_out))


def find_files(paths: Iterable[str | Path], exclude: Sequence[str], errors: list[RuleError]) -> list[str]:
    """Return the rule files that ``paths`` name; what cannot be found becomes an error."""
    found: dict[str, None] = {}
    for path in map(_shipped, paths):
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                wanted = file.suffix in SUFFIXES and not file.name.endswith(COMPANION_SUFFIX) and file.is_file()
                if wanted and not any(fnmatch.fnmatch(file.name, pattern) for pattern in exclude):
                    found[str(file)] = None
        elif path.suffix in SUFFIXES:
            found[str(path)] = None
        elif path.exists():
            errors.append(
                RuleError(
                    "is no rule file", Location(str(path)), "rule files end in .yaml, .yml, .yar, .yara or .rules"
                )
            )
        else:
            errors.append(RuleError("does not exist", Location(str(path)), "correct rules.paths, or -S"))
    if len(found) > MAX_FILES:
        errors.append(
            RuleError(f"more than {MAX_FILES} rule files", Location(str(next(iter(found)))), "narrow the path")
        )
    return list(found)[:MAX_FILES]


def _empty_directories(paths: Iterable[str | Path], files: Sequence[str]) -> Iterable[RuleError]:
    """Warn of directories that bring nothing."""
    for path in map(_shipped, paths):
        if path.is_dir() and not any(Path(file).is_relative_to(path) for file in files):
            yield RuleError(
                "no rule file is in this directory", Location(str(path)), f"they end in {', '.join(SUFFIXES)}"
            )


def _empty_files(files: Sequence[str], sources: set[str]) -> Iterable[RuleError]:
    """Warn of files that bring neither rule nor list, and have no error that would explain it."""
    for file in files:
        if file not in sources:
            yield RuleError("holds no rule", Location(file), _FIRST_WORDS[Path(file).suffix])


def _shipped(path: str | Path) -> Path:
    """Return the path, or the directory of the set that ships under this bare name."""
    if str(path) in SHIPPED and not Path(path).exists():
        return rules_dir(str(path))
    return Path(path)


def _unique(rules: list[Rule], errors: list[RuleError]) -> list[Rule]:
    """Keep the first rule of each gid and sid; the others become errors."""
    first: dict[tuple[int, int], Rule] = {}
    for rule in rules:
        key = (rule.signature.gid, rule.signature.sid)
        other = first.setdefault(key, rule)
        if other is not rule:
            errors.append(
                RuleError(
                    f"sid {rule.signature.sid} is already used by {other.signature.title!r} at {other.source}",
                    rule.source,
                    "give one of them another sid",
                )
            )
    return list(first.values())


def _costly(rules: Iterable[Rule]) -> Iterable[RuleError]:
    """Warn of rules that the prefilter cannot pick, or picks too often."""
    for rule in rules:
        needles = cover(rule.condition)
        if rule.needs_scapy and not rule.buffers:
            yield RuleError(
                f"sid {rule.signature.sid}: nothing but Scapy fields, so packets of all of its traffic are dissected,"
                " at half a millisecond each",
                rule.source,
                "add a contains: that every match has",
            )
        if not rule.buffers:
            continue
        if needles is None:
            names = ", ".join(sorted(rule.buffers))
            yield RuleError(
                f"sid {rule.signature.sid}: no literal to look for, so it is evaluated on every {names}",
                rule.source,
                "add a contains: that every match has",
            )
        elif worth(needles) < WEAK_SCORE:
            common = weakest(needles).value
            yield RuleError(
                f"sid {rule.signature.sid}: its best literal {common!r} is common, so it is evaluated often",
                rule.source,
                "add a longer contains: that every match has",
            )
