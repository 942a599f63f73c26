"""The JSON Schema of rule files, by which editors complete words and mark mistakes: `ids rules schema`.

It is made of the models that the loader checks rules with, and of the catalogue of buffers. It knows less than the
loader: names of lists and variables, regexes and addresses are text to it.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from ids.rules.language import yaml_headers
from ids.rules.language.schema import FileSchema, RuleSchema
from ids.rules.language.schema_headers import BitsSchema, RangeSchema
from ids.rules.language.schema_steps import MODIFIERS, SIZE_SCHEMA, TEXT_SCHEMA, InListSchema, StepSchema
from ids.rules.language.traffic import FLOW_WORDS
from ids.rules.language.yaml_match import ANCHORS, GROUPS
from ids.rules.model.buffers import CATALOGUE, PARSED
from ids.rules.model.chain import DECODED
from ids.rules.model.rule import ENDS
from ids.rules.model.transforms import NAMES

Json: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ADDRESSES: Json = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {
            "type": "object", "properties": {"in_list": {"$ref": "#/$defs/InList"}}, "required": ["in_list"],
            "additionalProperties": False,
        },
    ]
}  # fmt: skip


def rule_file_schema() -> Json:
    """Return the schema of a rule file."""
    schema = FileSchema.model_json_schema(ref_template="#/$defs/{model}")
    definitions: Json = {}
    for model in (RuleSchema, StepSchema, RangeSchema, BitsSchema):
        _take(model.model_json_schema(ref_template="#/$defs/{model}"), model.__name__, definitions)
    definitions |= schema.pop("$defs", {})
    step = definitions.pop("StepSchema")["properties"]
    step["in_list"] = {"$ref": "#/$defs/InList"}
    definitions |= {
        "InList": {"anyOf": [{"type": "string"}, InListSchema.model_json_schema()]},
        "Step": {"anyOf": [_variant(test, step) for test in MODIFIERS]},
        "Test": _test(),
        "Conditions": {"type": "array", "items": {"$ref": "#/$defs/Condition"}},
        "Condition": _condition(),
        "Exception": _exception(),
    }
    definitions["BoundsSchema"] = {"anyOf": [{"type": "integer"}, definitions["BoundsSchema"]]}
    rule = definitions["RuleSchema"]["properties"]
    rule["match"] = {"$ref": "#/$defs/Conditions"}
    rule["exceptions"] = {"type": "array", "items": {"$ref": "#/$defs/Exception"}}
    rule["flow"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"enum": list(FLOW_WORDS)}}]}
    schema["properties"]["rules"]["items"] = {"$ref": "#/$defs/RuleSchema"}
    schema |= {"$schema": DIALECT, "title": "Rules", "$defs": definitions}
    filled: Json = _without_null(schema)
    return filled


def _take(schema: Json, name: str, definitions: Json) -> None:
    definitions |= schema.pop("$defs", {})
    definitions[name] = schema


def _variant(test: str, words: Json) -> Json:
    """Return the schema of a step with one of the tests, and with what may join it."""
    properties = {word: words[word] for word in sorted({test, *MODIFIERS[test]})}
    return {"type": "object", "properties": properties, "required": [test], "additionalProperties": False}


def _test() -> Json:
    """Return the schema of what stands under a buffer."""
    text_or_texts = {"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "minItems": 1}]}
    pattern = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    several = {
        "type": "object",
        "properties": {
            **dict.fromkeys(ANCHORS, text_or_texts),
            "regex": pattern, "size": SIZE_SCHEMA, "nocase": {"type": "boolean"},
        },
        "anyOf": [{"required": [word]} for word in (*ANCHORS, "regex", "size")],
        "additionalProperties": False,
    }  # fmt: skip
    chain = {"type": "array", "items": {"$ref": "#/$defs/Step"}, "minItems": 1}
    return {"anyOf": [several, {"$ref": "#/$defs/Step"}, chain, text_or_texts]}


def _buffers() -> tuple[Json, Json]:
    """Return the buffers as properties, and those under transforms as patterns."""
    known = {name: buffer for name, buffer in CATALOGUE.items() if buffer.protocol is None or buffer.protocol in PARSED}
    test = {"$ref": "#/$defs/Test"}
    plain: Json = {name: {**test, "description": buffer.text} for name, buffer in known.items()}
    plain[DECODED] = {**test, "description": "what decode_base64 has decoded, in a chain before it"}
    names = "|".join(re.escape(name) for name in plain)
    transforms = "|".join(sorted(NAMES))
    return plain, {rf"^({names})(\|({transforms})(:[^|]*)?)+$": test}


def _condition() -> Json:
    plain, patterns = _buffers()
    groups = {group: {"$ref": "#/$defs/Conditions", "minItems": 1} for group in GROUPS}
    numbers: Json = {"type": "integer", "minimum": 0}
    number = {"anyOf": [numbers, {"type": "array", "items": numbers, "minItems": 1}, {"$ref": "#/$defs/RangeSchema"}]}
    headers: Json = dict.fromkeys((*yaml_headers.NUMBERS, *yaml_headers.STREAM_SIZES), number)
    for name, bits in yaml_headers.BITS.items():
        words = _words(list(bits))
        modes = dict.fromkeys(("exactly", "all", "any", "none", "not_all", "ignoring"), words)
        headers[name] = {
            "anyOf": [words, {"type": "object", "properties": modes, "additionalProperties": False, "minProperties": 1}]
        }
    headers |= {name: _words(list(events)) for name, events in yaml_headers.EVENTS.items()}
    headers["ip.option"] = _words(list(yaml_headers.IP_OPTIONS))
    headers["bad_checksum"] = _words(list(yaml_headers.CHECKSUMS))
    protocols = _words(list(yaml_headers.PROTOCOLS))
    headers["app_protocol"] = {
        "anyOf": [
            *protocols["anyOf"],
            {
                "type": "object", "properties": {"not": protocols["anyOf"][0]}, "required": ["not"],
                "additionalProperties": False,
            },
        ]
    }  # fmt: skip
    headers["same_address"] = {"const": True}
    scapy = {r"^scapy\.[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$": {"type": ["string", "integer"]}}
    return {
        "type": "object",
        "properties": {**groups, **dict.fromkeys(ENDS, _ADDRESSES), **headers, **plain},
        "patternProperties": {**patterns, **scapy},
        "additionalProperties": False,
        "minProperties": 1,
    }


def _exception() -> Json:
    plain, patterns = _buffers()
    items = {"anyOf": [_ADDRESSES, {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1}]}
    return {
        "type": "object",
        "properties": {
            "name": {"type": "string"}, **dict.fromkeys(ENDS, _ADDRESSES), **dict.fromkeys(plain, items)
        },
        "patternProperties": dict.fromkeys(patterns, items),
        "required": ["name"],
        "minProperties": 2,
        "additionalProperties": False,
    }  # fmt: skip


def _words(words: list[str]) -> Json:
    """Return the schema of one of some words, or of a list of them."""
    return {"anyOf": [{"enum": words}, {"type": "array", "items": {"enum": words}}]}


def _without_null(value: Any) -> Any:
    """Leave out that a word may be given without a value; models need not have one, files do."""
    if isinstance(value, list):
        return [_without_null(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _without_null(one) for key, one in value.items() if not (key == "default" and one is None)}
    choices = made.get("anyOf")
    if choices is not None and {"type": "null"} in choices:
        left = [choice for choice in choices if choice != {"type": "null"}]
        del made["anyOf"]
        made |= left[0] if len(left) == 1 else {"anyOf": left}
    return made
