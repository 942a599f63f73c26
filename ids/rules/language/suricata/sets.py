"""Options that look the whole buffer up in a list: ``dataset`` and ``datarep``."""

from __future__ import annotations

from ids.errors import RuleError
from ids.rules.language.suricata.addresses import BUFFERS
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, name, number, required
from ids.rules.model.chain import Listed
from ids.rules.model.header import AddressIn
from ids.rules.model.lists import Learned, ListedAddresses, Members, Reputation, learned_kind, learned_list, shared_list

_KINDS = {"string": "string", "md5": "md5", "sha256": "sha256", "ip": "ip", "ipv4": "ip"}
_CHANGES = {"set": "add", "unset": "remove"}
_SIZES = ("memcap", "hashsize")


def dataset(draft: Draft, value: str | None) -> None:
    """``dataset:isset,bad,type string,load bad.lst``: the buffer is in a list; ``set`` and ``unset`` change one.

    ``state`` names a file to begin with, where there is one. What rules learn is not written to it, nor by ``save``.
    """
    words = commas(required(value))
    command, title = words[0], name(words[1]) if len(words) > 1 else ""
    if command not in ("isset", "isnotset", *_CHANGES) or not title:
        raise Malformed(f"{', '.join(words[:2])[:40]!r} is not understood", "write isset, and the name of a list")
    options = _options(words[2:])
    kind = _kind(options, title)
    file = options.get("load") or options.get("state")
    loaded = None
    if file is not None:
        begun = "load" in options or (draft.directory / file).exists()
        loaded = load(draft, file, kind, "dataset") if begun else None
    members: Members | Learned | None = loaded
    if "load" not in options or command in _CHANGES:
        if kind == "ip":
            raise Unsupported("keyword dataset", "addresses cannot be learnt", "name a list of them: load FILE")
        try:
            members = learned_list(title, kind, loaded)
        except ValueError as error:
            raise Malformed(str(error)) from None
    _add(draft, Listed(title, kind, command == "isnotset", members, _CHANGES.get(command, "")))


def datarep(draft: Draft, value: str | None) -> None:
    """``datarep:bad,>,200,load bad.rep,type string``: the buffer is in a list with such a number beside it."""
    words = commas(required(value))
    if len(words) < 3:
        raise Malformed(f"it has {len(words)} values, and needs three", "write a name, a comparison and a number")
    title, comparison = name(words[0]), words[1]
    if comparison not in ("<", ">", "=="):
        raise Malformed(f"{comparison[:40]!r} is no comparison", "known are < > ==")
    options = _options(words[3:])
    if "load" not in options:
        raise Malformed("it names no file", "write load FILE")
    kind = _kind(options)
    members = load(draft, options["load"], kind, "reputation", (comparison, number(words[2], 0, 65_535)))
    _add(draft, Listed(title, kind, members=members))


def _options(words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for word in words:
        key, _, text = word.partition(" ")
        if key not in ("type", "load", "save", "state", "format", *_SIZES) or not text.strip():
            raise Malformed(f"unknown word {word[:40]!r}", "known are type, load, save, state, memcap and hashsize")
        if key in options:
            raise Malformed(f"{key} stands in it twice", "keep one of the two")
        options[key] = text.strip()
    if options.get("format", "csv") != "csv":
        raise Unsupported("dataset format", f"files of the format {options['format'][:40]!r} are not read")
    return options


def _kind(options: dict[str, str], title: str = "") -> str:
    """Return the kind of a list; one that was named before needs no type."""
    if "type" not in options:
        known = learned_kind(title)
        if known:
            return known
        raise Malformed("it has no type", f"write type and one of {', '.join(_KINDS)}")
    if options["type"] not in _KINDS:
        raise Malformed(f"unknown type {options['type'][:40]!r}", f"known are {', '.join(_KINDS)}")
    return _KINDS[options["type"]]


def load(draft: Draft, file: str, kind: str, form: str, keep: Reputation | None = None) -> Members:
    try:
        return shared_list(str(draft.directory / file), kind, form, keep)
    except RuleError as error:
        raise Malformed(str(error)) from None


def _add(draft: Draft, step: Listed) -> None:
    end = BUFFERS.get(draft.sticky or "")
    if end is not None:
        if not isinstance(step.members, Members) or step.members.kind != "ip":
            raise Malformed(f"{draft.sticky} asks for a list of addresses", "write type ip, and load FILE")
        members = ListedAddresses(step.name, step.members)
        draft.header_tests.append(AddressIn(end, f"list {step.name}", members, step.negated))
        draft.fresh = False
        return
    if draft.sticky is None:
        raise Malformed("it is about a sticky buffer", "name one before it, such as dns.query;")
    draft.add(step)
