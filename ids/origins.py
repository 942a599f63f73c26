"""The settings in force, one by one, each with where its value comes from; and their schema for editors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from ids.cache import cache_home
from ids.config import Config
from ids.errors import Location
from ids.rules.settings import DEFAULT_VARIABLES
from ids.source import Document

Json: TypeAlias = dict[str, Any]

DEFAULT = "default"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
GROUPED = r"^[0-9]+(_[0-9]+)+$"
"""A number such as ``1_048_576``: YAML 1.1, by which settings are read, has it so; editors read YAML 1.2, where it is
text."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is in force."""

    name: str
    """Dotted, as `--set` takes it."""
    value: Any
    """Plain data."""
    origin: Location | str
    """The place where it was written; or `DEFAULT`, or the environment variable that it follows."""
    default: Any

    @property
    def given(self) -> bool:
        """Whether somebody wrote it down."""
        return isinstance(self.origin, Location)

    def to_json(self) -> Json:
        """Return it as plain data."""
        where: Json = {"from": self.origin, "place": None}
        if isinstance(self.origin, Location):
            where = {"from": "--set" if self.origin.path.startswith("--set ") else "file", "place": str(self.origin)}
        return {"setting": self.name, "value": self.value, **where, "default": self.default}


def settings_in_force(config: Config, document: Document, environment: Mapping[str, str] = os.environ) -> list[Setting]:
    """Return every setting in the order of the documentation; ``document`` as `ids.config.load_document` returns it.

    Variables of rules come one by one, those that are built in too.
    """
    return list(_walk(config, Config(), document, (), environment))


def _walk(
    model: BaseModel, defaults: BaseModel, document: Document, path: tuple[str, ...], environment: Mapping[str, str]
) -> Iterator[Setting]:
    values, usual = model.model_dump(mode="json"), defaults.model_dump(mode="json")
    for name in type(model).model_fields:
        at = (*path, name)
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _walk(value, getattr(defaults, name), document, at, environment)
        elif at == ("vars",):
            for variable, group in {**DEFAULT_VARIABLES, **value}.items():
                here = (*at, variable)
                yield Setting(".".join(here), group, _origin(document, here), DEFAULT_VARIABLES.get(variable))
        elif at == ("rules", "cache_dir") and value is None:
            variable = "XDG_CACHE_HOME" if environment.get("XDG_CACHE_HOME", "").startswith("/") else "HOME"
            yield Setting(".".join(at), str(cache_home(environment)), f"${variable}", None)
        else:
            yield Setting(".".join(at), values[name], _origin(document, at), usual[name])


def _origin(document: Document, at: tuple[str, ...]) -> Location | str:
    node = document.data if isinstance(document.data, dict) else {}
    for key in at:
        if not isinstance(node, dict) or key not in node:
            return DEFAULT
        node = node[key]
    return document.locate(at)


def settings_schema() -> Json:
    """Return the JSON Schema of a file of settings, by which editors complete words and mark mistakes."""
    schema: Json = json.loads(json.dumps(Config.model_json_schema(), default=str))
    schema = _with_groups(schema)
    return {"$schema": DIALECT, **schema, "title": "Settings of ids"}


def _with_groups(node: Any) -> Any:
    """Let whole numbers be written in groups, wherever the schema has one."""
    if isinstance(node, list):
        return [_with_groups(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") != "integer":
        return {key: _with_groups(value) for key, value in node.items()}
    bounds = {key: node[key] for key in node if key in ("type", "minimum", "maximum", "exclusiveMinimum", "multipleOf")}
    about = {key: value for key, value in node.items() if key not in bounds}
    return about | {"anyOf": [bounds, {"type": "string", "pattern": GROUPED}]}
