"""One message of LDAP (RFC 4511 section 4): an operation, or an answer to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ids.protocols import der
from ids.protocols.der import Element, Malformed

START_TLS = "1.3.6.1.4.1.1466.20037"
_OPERATIONS = {
    0x60: "bind_request", 0x61: "bind_response", 0x42: "unbind_request", 0x63: "search_request",
    0x64: "search_result_entry", 0x65: "search_result_done", 0x66: "modify_request", 0x67: "modify_response",
    0x68: "add_request", 0x69: "add_response", 0x4A: "del_request", 0x6B: "del_response", 0x6C: "mod_dn_request",
    0x6D: "mod_dn_response", 0x6E: "compare_request", 0x6F: "compare_response", 0x50: "abandon_request",
    0x73: "search_result_reference", 0x77: "extended_request", 0x78: "extended_response",
    0x79: "intermediate_response",
}  # fmt: skip
"""What EVE calls operations, by their tags."""
_RESULTS = {
    0: "success", 1: "operations_error", 2: "protocol_error", 3: "time_limit_exceeded", 4: "size_limit_exceeded",
    5: "compare_false", 6: "compare_true", 7: "auth_method_not_supported", 8: "stronger_auth_required", 10: "referral",
    11: "admin_limit_exceeded", 12: "unavailable_critical_extension", 13: "confidentiality_required",
    14: "sasl_bind_in_progress", 16: "no_such_attribute", 17: "undefined_attribute_type", 18: "inappropriate_matching",
    19: "constraint_violation", 20: "attribute_or_value_exists", 21: "invalid_attribute_syntax", 32: "no_such_object",
    33: "alias_problem", 34: "invalid_dns_syntax", 36: "alias_dereferencing_problem",
    48: "inappropriate_authentication", 49: "invalid_credentials", 50: "insufficient_access_rights", 51: "busy",
    52: "unavailable", 53: "unwilling_to_perform", 54: "loop_detect", 64: "naming_violation",
    65: "object_class_violation", 66: "not_allowed_on_non_leaf", 67: "not_allowed_on_rdn", 68: "entry_already_exists",
    69: "object_class_mods_prohibited", 71: "affects_multiple_dsas", 80: "other",
}  # fmt: skip
_CHANGES = {0: "add", 1: "delete", 2: "replace", 3: "increment"}
GOES_ON = frozenset(("search_result_entry", "search_result_reference", "intermediate_response"))
"""Answers behind which more come."""
UNANSWERED = frozenset(("unbind_request", "abandon_request"))
_SIMPLE, _SASL = 0x80, 0xA3


class Message(NamedTuple):
    """What a message says."""

    number: int
    operation: str
    said: dict[str, Any]
    """What EVE has of it."""
    dn: str | None
    attributes: tuple[str, ...]
    """Types of attributes that it names."""
    credentials: bytes = b""
    """A token of SASL."""
    malformed: bool = False
    """A part of it cannot be read."""

    @property
    def asks(self) -> bool:
        """It is an operation, not an answer."""
        return self.operation.endswith("_request")


def is_message(data: bytes) -> bool:
    """Return whether bytes begin as a message does."""
    return _parts(data, len(data)) is not None


def read(data: bytes) -> Message | None:
    """Return what a message says, as far as it can be read; None where it is none."""
    parts = _parts(data, len(data))
    if parts is None:
        return None
    number, of = parts
    operation = _OPERATIONS[of.tag]
    reader = _READERS.get(operation, _result if operation.endswith("_response") else None)
    if reader is None:
        return Message(number, operation, {}, None, ())
    try:
        said, dn, attributes, token = reader(data, of)
    except (ValueError, IndexError):  # an element is none, or there are fewer than there have to be
        return Message(number, operation, {}, None, (), malformed=True)
    return Message(number, operation, said, dn, attributes, token)


_Read = tuple[dict[str, Any], "str | None", tuple[str, ...], bytes]


def _parts(data: bytes, end: int) -> tuple[int, Element] | None:
    """Return number and operation of a message."""
    try:
        outer = der.element(data, 0, end)
        number = der.element(data, outer.start, outer.end)
        operation = der.element(data, number.end, outer.end)
        if outer.tag != der.SEQUENCE or number.tag != der.INTEGER or operation.tag not in _OPERATIONS:
            return None
        return der.integer(data, number), operation
    except Malformed:
        return None


def _text(data: bytes, of: Element) -> str:
    return data[of.start : of.end].decode("utf-8", "replace")


def _list(data: bytes, of: Element) -> list[Element]:
    return list(der.children(data, of))


def _bind(data: bytes, of: Element) -> _Read:
    version, name, how = _list(data, of)[:3]
    said: dict[str, Any] = {"version": der.integer(data, version), "name": _text(data, name)}
    token = b""
    if how.tag == _SASL:
        mechanism, *credentials = _list(data, how)
        said["sasl"] = {"mechanism": _text(data, mechanism)}
        token = data[credentials[0].start : credentials[0].end] if credentials else b""
    elif how.tag != _SIMPLE:
        token = data[how.start : how.end]  # NTLM as Active Directory has it
    return said, said["name"], (), token


def _result(data: bytes, of: Element) -> _Read:
    code, matched, message, *_ = _list(data, of)
    number = der.integer(data, code)
    said = {
        "result_code": _RESULTS.get(number, f"unknown({number})"), "matched_dn": _text(data, matched),
        "message": _text(data, message),
    }  # fmt: skip
    return said, said["matched_dn"], (), b""


def _search(data: bytes, of: Element) -> _Read:
    base, scope, deref, size, time, only, _, attributes = _list(data, of)[:8]
    names = tuple([_text(data, one) for one in der.children(data, attributes)])
    said = {
        "base_object": _text(data, base), "scope": der.integer(data, scope), "deref_alias": der.integer(data, deref),
        "size_limit": der.integer(data, size), "time_limit": der.integer(data, time),
        "types_only": bool(der.integer(data, only)), "attributes": list(names),
    }  # fmt: skip
    return said, _text(data, base), names, b""


def _attributes(data: bytes, of: Element, key: str) -> list[dict[str, Any]]:
    found = []
    for one in der.children(data, of):
        kind, values = _list(data, one)[:2]
        found.append({key: _text(data, kind), "values": [_text(data, value) for value in der.children(data, values)]})
    return found


def _entry(data: bytes, of: Element) -> _Read:
    base, attributes = _list(data, of)[:2]
    found = _attributes(data, attributes, "type")
    said = {"base_object": _text(data, base), "attributes": found}
    return said, _text(data, base), tuple([one["type"] for one in found]), b""


def _add(data: bytes, of: Element) -> _Read:
    entry, attributes = _list(data, of)[:2]
    found = _attributes(data, attributes, "name")
    return {"entry": _text(data, entry), "attributes": found}, _text(data, entry), tuple(
        [one["name"] for one in found]
    ), b""  # fmt: skip


def _modify(data: bytes, of: Element) -> _Read:
    target, changes = _list(data, of)[:2]
    found: list[dict[str, Any]] = []
    for change in der.children(data, changes):
        kind, what = _list(data, change)[:2]
        attribute, values = _list(data, what)[:2]
        texts = [_text(data, value) for value in der.children(data, values)]
        modification = {"attribute_type": _text(data, attribute), "attribute_values": texts}
        number = der.integer(data, kind)
        found.append({"operation": _CHANGES.get(number, str(number)), "modification": modification})
    names = tuple([one["modification"]["attribute_type"] for one in found])
    return {"object": _text(data, target), "changes": found}, _text(data, target), names, b""


def _delete(data: bytes, of: Element) -> _Read:
    return {"dn": _text(data, of)}, _text(data, of), (), b""


def _move(data: bytes, of: Element) -> _Read:
    entry, new, old, *above = _list(data, of)
    said: dict[str, Any] = {
        "entry": _text(data, entry), "new_rdn": _text(data, new), "delete_old_rdn": bool(der.integer(data, old)),
    }  # fmt: skip
    if above:
        said["new_superior"] = _text(data, above[0])
    return said, said["entry"], (), b""


def _compare(data: bytes, of: Element) -> _Read:
    entry, assertion = _list(data, of)[:2]
    name, value = _list(data, assertion)[:2]
    said = {
        "entry": _text(data, entry),
        "attribute_value_assertion": {"description": _text(data, name), "value": _text(data, value)},
    }
    return said, _text(data, entry), (_text(data, name),), b""


def _abandon(data: bytes, of: Element) -> _Read:
    return {"message_id": der.integer(data, of)}, None, (), b""


def _extended(data: bytes, of: Element) -> _Read:
    parts = der.by_tag(data, of)
    said = {key: _text(data, parts[tag]) for tag, key in ((0x80, "name"), (0x81, "value")) if tag in parts}
    return said, None, (), b""


_READERS: dict[str, Callable[[bytes, Element], _Read]] = {
    "bind_request": _bind, "search_request": _search, "search_result_entry": _entry, "search_result_done": _result,
    "modify_request": _modify, "add_request": _add, "del_request": _delete, "mod_dn_request": _move,
    "compare_request": _compare, "abandon_request": _abandon, "extended_request": _extended,
    "intermediate_response": _extended,
}  # fmt: skip
