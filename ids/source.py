"""YAML that people write, with the place of every node, so that an error can say path:line:column and the remedy.

Settings and rules are read here. Reading is bounded (`MAX_BYTES`) and refuses what YAML would silently accept to the
writer's surprise: a key given twice, and aliases (which can grow a small file into gigabytes).
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ids.errors import IdsError, Location, SourceError
from ids.later import late_pattern
from ids.literal import cut, excerpt

MAX_BYTES = 16 << 20
"""A rule file of 16 MiB holds tens of thousands of rules; more is a mistake, or an attack on whoever loads it."""

MAX_DEPTH = 64
"""Nesting beyond this is no rule and no setting, and would exhaust the parser's stack."""

MAX_DIGITS = 64
"""Characters of a number: reading one takes time that grows with the square of its length."""

MAX_PROBLEMS = 200
"""Of one document that are reported: the nearest known word is looked for of each, and nobody reads more."""
MAX_MERGED = 10_000
"""Of one document among which several of one value are taken for one."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

_Loader: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml, ten times faster, where PyYAML was built with it

_PLAIN_TAGS = frozenset(
    (None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")))
)
"""Tags that say no more than the value does."""

_UNPRINTABLE = late_pattern("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What YAML takes nowhere, not even in a comment."""

_TAB = late_pattern(r" *\t")
"""Before whatever a line says."""

Key: TypeAlias = str | int
Fault: TypeAlias = tuple[tuple[Key, ...], SourceError]
"""The path of keys of a node, and what is wrong with it."""
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, and where each node of it stands."""

    path: str
    data: Any
    places: Mapping[tuple[Key, ...], Location] = field(repr=False)
    faults: Sequence[Fault] = ()
    """What single nodes of it are not, where whoever reads it goes on without these (`read_yaml`)."""

    def locate(self, at: Iterable[Key] = ()) -> Location:
        """Return the place of the node at this path of keys, or of its nearest parent that exists."""
        keys = tuple(at)
        while keys not in self.places and keys:
            keys = keys[:-1]
        return self.places.get(keys, Location(self.path))


class InvalidDocument(IdsError):
    """A file does not fit its schema; ``errors`` holds every place, ``paths`` the keys that lead to each."""

    def __init__(self, errors: list[SourceError], paths: Sequence[tuple[Key, ...]] = ()) -> None:
        self.errors = errors
        self.paths = paths
        super().__init__("\n".join(str(error) for error in errors))


def read_yaml(path: str | Path, *, collect: bool = False) -> Document:
    """Read one YAML file; raises `SourceError` where it cannot be read or is not plain YAML.

    ``collect``: a key given twice, or a value that is none, is left out and becomes one of the document's ``faults``,
    so that whoever reads on finds the others.
    """
    return parse_yaml(read_bytes(path), str(path), collect=collect)


def read_bytes(path: str | Path) -> bytes:
    """Read a file that people wrote; raises `SourceError` where it cannot be read or is too large."""
    name = str(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(
            f"cannot be read: {error.strerror}", Location(name), "check the path and its rights"
        ) from error
    if len(raw) > MAX_BYTES:
        raise SourceError(f"is larger than {MAX_BYTES >> 20} MiB", Location(name), "split it into several files")
    return raw


def parse_yaml(raw: bytes | str, name: str, *, collect: bool = False) -> Document:
    """Parse the text of one YAML document called ``name``; raises `SourceError` with line and column.

    ``collect``: as in `read_yaml`.
    """
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
        _refuse_surprises(text, name)
        loader = _Loader(text)
        try:
            places: dict[tuple[Key, ...], Location] = {}
            node = loader.get_single_node()
            if node is None:
                return Document(name, None, {})
            built = _Built(loader, name, places)
            data = built.node(node, ())
            if built.faults and not collect:
                raise built.faults[0][1]
            return Document(name, data, places, tuple(built.faults))
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        place = Location(name, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise SourceError(f"is not UTF-8 at byte {error.start}", place, "save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        place = Location(name, mark.line + 1, mark.column + 1) if mark else Location(name)
        remedy = "check the indentation and quotes"
        if mark and _TAB.match(text.split("\n")[mark.line] if mark.line <= text.count("\n") else ""):
            remedy = "indent with blanks: YAML takes no tabs there"
        raise SourceError(f"is not valid YAML: {error.problem or error.context}", place, remedy) from error
    except yaml.YAMLError as error:
        raise _unreadable(text, name, str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise SourceError("is nested too deeply", Location(name)) from error


def _unreadable(text: str, name: str, why: str) -> SourceError:
    """Return what is wrong with a text that YAML's reader refuses, which has no place for it."""
    found = _UNPRINTABLE.search(text)
    if found is None:
        return SourceError(f"is not valid YAML: {why}", Location(name))
    lines = re.split("\r\n|[\r\n]", text[: found.start()])
    place = Location(name, len(lines), len(lines[-1]) + 1)
    code = ord(found[0])
    remedy = "save it as UTF-8" if code == 0 else f'in double quotes, write it as "\\x{code:02x}"'
    return SourceError(f"is not valid YAML: it has the control character U+{code:04X}", place, remedy)


def validate(model: type[Model], document: Document, at: Iterable[Key] = (), data: Any = None) -> Model:
    """Return ``data`` (the document's node at ``at`` when None) as an instance of ``model``.

    Raises `InvalidDocument` with one `SourceError` for each thing that does not fit.
    """
    prefix = tuple(at)
    if data is None:
        data = document.data
        for key in prefix:
            data = data[key]
    try:
        return model.model_validate({} if data is None else data)
    except ValidationError as error:
        problems: list[Any] = list(error.errors(include_url=False))
        merged = _of_alternatives(problems[:MAX_MERGED], {} if data is None else data)
        problems = [*merged, *problems[MAX_MERGED:]]
        found = [_explain(model, document, prefix, problem) for problem in problems[:MAX_PROBLEMS]]
        if len(problems) > len(found):
            more = len(problems) - len(found)
            found.append(SourceError(f"{more} more faults are not listed", document.locate(prefix)))
        raise InvalidDocument(found, [(*prefix, *problem["loc"]) for problem in problems]) from error


def _of_alternatives(problems: Sequence[Any], data: Any) -> list[dict[str, Any]]:
    """Return pydantic's errors by the keys of the data alone, one for a value that fits none of several types.

    Pydantic has an error for each of the types, with the type's name among the keys.
    """
    found: dict[tuple[Key, ...], dict[str, Any]] = {}
    of_union: set[tuple[Key, ...]] = set()
    for problem in problems:
        loc = _keys_within(data, problem)
        if len(loc) < len(problem["loc"]):
            of_union.add(loc)
        other = found.get(loc)
        if other is None or problem["type"] in ("missing", "extra_forbidden"):
            found[loc] = problem
            problem["loc"] = loc
        else:
            said = problem["msg"].removeprefix("Input should be ")
            other["msg"], other["type"] = f"{other['msg']}, or {said}", "union"
    deeper = {prefix for loc in found for size in range(len(loc)) if (prefix := loc[:size]) in of_union}
    return [problem for loc, problem in found.items() if loc not in deeper]


def _has(data: Any, key: Key) -> bool:
    if isinstance(data, dict):
        return key in data
    return isinstance(data, list) and isinstance(key, int) and key < len(data)


def _keys_within(data: Any, problem: Any) -> tuple[Key, ...]:
    """Return where an error is, without what pydantic adds to it."""
    keys: list[Key] = []
    last = len(problem["loc"]) - 1
    for place, key in enumerate(problem["loc"]):
        if _has(data, key):
            data = data[key]
        elif not (place == last and problem["type"] == "missing"):
            continue
        keys.append(key)
    return tuple(keys)


def _refuse_surprises(text: str, name: str) -> None:
    """Raise on aliases, tags and too deep nesting, seen in the parser's events before anything recursive runs."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        mark: Any = event.start_mark
        place = Location(name, mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            raise SourceError("YAML aliases (*name) are not supported", place, "write the value out, or use lists:")
        if (tag := getattr(event, "tag", None)) not in _PLAIN_TAGS:
            short = cut(str(tag).replace("tag:yaml.org,2002:", "!!"))
            raise SourceError(
                f"YAML tags ({short}) are not supported", place, "leave it out, or quote it if it is text"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise SourceError(f"is nested deeper than {MAX_DEPTH} levels", place)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Built:
    """Makes plain data of the nodes of a file; what is wrong with one is noted, and the node left out."""

    def __init__(self, loader: Any, name: str, places: dict[tuple[Key, ...], Location]) -> None:
        self.faults: list[Fault] = []
        """No more than `MAX_PROBLEMS`."""
        self._loader = loader
        self._name = name
        self._places = places

    def node(self, node: yaml.Node, at: tuple[Key, ...]) -> Any:
        """Return what a node says."""
        place = self._places[at] = self._place(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.node(item, (*at, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        try:
            return _scalar(self._loader, node, place)
        except SourceError as fault:
            self._note(at, fault)
            return None

    def _mapping(self, node: yaml.MappingNode, at: tuple[Key, ...]) -> dict[Key, Any]:
        result: dict[Key, Any] = {}
        for key_node, value_node in node.value:
            here = self._place(key_node)
            try:
                key = self._key(key_node, here)
                if key in result:
                    raise SourceError(f"key {cut(key)} is given twice", here, "keep one of the two")
            except SourceError as fault:
                self._note(at, fault)
                continue
            result[key] = self.node(value_node, (*at, key))
            if isinstance(value_node, yaml.CollectionNode):
                self._places[(*at, key)] = here  # a collection is best shown by its key, not by its first item
        return result

    def _key(self, node: yaml.Node, here: Location) -> Key:
        if node.tag == "tag:yaml.org,2002:merge":
            raise SourceError("YAML merge keys (<<) are not supported", here, "write the keys out")
        key = _scalar(self._loader, node, here)
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise SourceError(f"key {cut(key)} is neither text nor a number", here, "quote it")
        return key

    def _note(self, at: tuple[Key, ...], fault: SourceError) -> None:
        if len(self.faults) < MAX_PROBLEMS:
            self.faults.append((at, fault))

    def _place(self, node: yaml.Node) -> Location:
        return Location(self._name, node.start_mark.line + 1, node.start_mark.column + 1)


def _scalar(loader: Any, node: yaml.Node, place: Location) -> Any:
    """Return the value of a scalar, or of the collection that a key is; raises `SourceError`."""
    if node.tag in _NUMBERS and isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_DIGITS:
        raise SourceError(f"is a number of {len(node.value)} characters", place, "quote it if it is text")
    try:
        return loader.construct_object(node, deep=True)
    except yaml.constructor.ConstructorError as error:  # = alone, which YAML 1.1 keeps for itself
        raise SourceError(f"{cut(node.value)} without quotes is no text to YAML", place, "quote it") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # the date 2026-13-40; also what stands behind a tag such as !!timestamp and is none
        raise SourceError(f"is no valid value: {excerpt(str(error), 100)}", place, "quote it if it is text") from error


def _explain(model: type[BaseModel], document: Document, prefix: tuple[Key, ...], problem: Any) -> SourceError:
    """Turn one pydantic error into a message with a place and, for an unknown key, the nearest known one."""
    at = (*prefix, *(key for key in problem["loc"] if not isinstance(key, str) or not key.startswith("function-")))
    dotted = ".".join(str(key) for key in problem["loc"]) or ("" if prefix else "the document")
    if problem["type"] == "extra_forbidden":
        known = known_keys(model, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}" if known else ""
        return SourceError(f"unknown key {cut(problem['loc'][-1])}", document.locate(at), remedy)
    message = _INSTANCE.sub("a mapping (key: value)", problem["msg"].removeprefix("Value error, "))
    given = problem.get("input")
    shown = "" if problem["type"] == "missing" or isinstance(given, dict | list) else f", not {cut(given)}"
    remedy = _expected(problem["type"], given)
    what = f"{message[:1].lower()}{message[1:]}{shown}"
    return SourceError(f"{dotted}: {what}" if dotted else what, document.locate(at), remedy)


_INSTANCE = late_pattern("a valid dictionary(?: or instance of \\w+)?")
"""A mapping, in pydantic's words."""


def _expected(kind: str, given: Any) -> str:
    """Return what to write in place of a value, where its kind of fault says so."""
    if kind == "list_type" and isinstance(given, str | int | float):
        return f"write a list: [{given}]"
    if kind == "list_type" and isinstance(given, dict):
        return "write a list: begin each entry with `- `"
    if kind == "string_type" and isinstance(given, bool | int | float | datetime.date):
        return "quote it if it is text"
    if kind == "ip_any_network":
        try:
            return f"did you mean {ipaddress.ip_network(given, strict=False)}?"  # it has bits behind the prefix
        except ValueError:
            return "write an address or a prefix: 192.0.2.1, 192.0.2.0/24, 2001:db8::/32"
    return ""


def known_keys(model: type[BaseModel], path: Iterable[Key]) -> list[str]:
    """Return the keys that the (sub)model at ``path`` knows, as far as plain nesting shows."""
    current: Any = model
    for key in path:
        fields = getattr(current, "model_fields", {})
        by_alias = {info.alias or name: info for name, info in fields.items()}
        if isinstance(key, str) and key in by_alias:
            current = _model_in(by_alias[key].annotation)  # else it is a place in a list, or a name of a mapping
    fields = getattr(current, "model_fields", {})
    return [info.alias or name for name, info in fields.items()]


def _model_in(annotation: Any) -> Any:
    """Return the only model within a type, such as that of ``list[Model]`` or ``Model | None``; None without one."""
    if hasattr(annotation, "model_fields"):
        return annotation
    found = [model for part in get_args(annotation) if (model := _model_in(part)) is not None]
    return found[0] if len(found) == 1 else None
