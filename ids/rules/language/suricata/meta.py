"""Identity and description of a rule."""

from __future__ import annotations

from collections.abc import Container
from sys import intern

from ids.later import late_pattern
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, NotMeant, Unsupported
from ids.rules.language.suricata.words import commas, number, refuse_value, required, unquoted

SURICATA_VERSION = (7, 0, 10)
"""The version whose language is read, for rules that say which one they need."""

MAX_SID = 0xFFFFFFFF
MAX_TITLE = 4096

_ESCAPED = late_pattern(r'\\([";:\\])')
_VERSION = late_pattern(r"(>=|>|<=|<)\s*([0-9]{1,4})(?:\.([0-9]{1,4}))?(?:\.([0-9]{1,4}))?")
_KIND = late_pattern(r"[A-Za-z0-9_\-]{1,64}")
_CLASS = late_pattern(r"[A-Za-z0-9_\-]{1,64}")
FEATURES = frozenset({"tls", "ja3", "ja4"})


def readable(text: str) -> str:
    """Return text of a file, which was read as Latin-1, as the UTF-8 that it mostly is."""
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")


def msg(draft: Draft, value: str | None) -> None:
    """``msg:"..."``: the title."""
    draft.once("msg")
    text = required(value)
    if text[0] != '"' or text[-1] != '"' or len(text) < 2:
        raise Malformed(f"{text[:40]!r} does not stand in quotes", 'write it as "..."')
    text = text[1:-1]
    if "\\" in text:
        text = _ESCAPED.sub(r"\1", text)
    draft.title = readable(text)[:MAX_TITLE]


def sid(draft: Draft, value: str | None) -> None:
    """``sid:1``: the number."""
    draft.once("sid")
    draft.sid = number(unquoted(required(value)), 1, MAX_SID)


def rev(draft: Draft, value: str | None) -> None:
    """``rev:1``: the revision."""
    draft.once("rev")
    draft.rev = number(unquoted(required(value)))


def gid(draft: Draft, value: str | None) -> None:
    """``gid:1``: the group."""
    draft.once("gid")
    draft.gid = number(unquoted(required(value)))


def priority(draft: Draft, value: str | None) -> None:
    """``priority:1``: 1 is the most severe; it goes before that of the class."""
    draft.priority = number(unquoted(required(value)))


def classtype(draft: Draft, value: str | None) -> None:
    """``classtype:trojan-activity``: the class."""
    text = unquoted(required(value))
    if _CLASS.fullmatch(text) is None:
        raise Malformed(f"{text[:40]!r} is no class")
    draft.classtype = intern(text)


def reference(draft: Draft, value: str | None) -> None:
    """``reference:cve,2014-0160``: where to read on."""
    kind, comma, text = unquoted(required(value)).partition(",")
    if not comma or not text.strip(" ,") or text.lstrip().startswith(",") or _KIND.fullmatch(kind.strip()) is None:
        raise Malformed("it is no kind and text", "such as reference:url,example.com")
    draft.references.append((kind.strip().lower(), readable(text.strip().replace("\\;", ";"))))


def metadata(draft: Draft, value: str | None) -> None:
    """``metadata:key value, key value``: shown in alerts."""
    if (value or "").lstrip().startswith('"'):
        raise Malformed("metadata stands in no quotes", "write metadata:key value, key value")
    for word in commas(readable(value or "")):
        key, _, text = word.partition(" ")
        if key:
            draft.metadata.setdefault(intern(key), []).append(intern(text.strip()))


def target(draft: Draft, value: str | None) -> None:
    """``target:dest_ip``: which end is attacked; without effect on matching."""
    text = unquoted(required(value)).lower()
    if text not in ("src_ip", "dest_ip"):
        raise Malformed(f"unknown end {text[:40]!r}", "known are src_ip and dest_ip")
    draft.attacked = text


def without_effect(draft: Draft, value: str | None) -> None:
    """Take an option that only says how to search (``prefilter``)."""
    refuse_value(value)


def requires(known: Container[str], draft: Draft, value: str | None) -> None:
    """``requires:version >= 7 < 8, keyword sid``: raises `NotMeant` where the rule is for another version.

    ``known`` has the options that there are.
    """
    for word in commas(required(value)):
        key, _, text = word.partition(" ")
        text = text.strip()
        if key == "version":
            if not any(_fits(part) for part in text.split("|")):
                raise NotMeant(f"it is for version {text}")
        elif key == "keyword":
            if text not in known:
                raise NotMeant(f"it needs the option {text}")
        elif key == "feature":
            if text.lower() not in FEATURES:
                raise NotMeant(f"it needs the feature {text}")
        else:
            raise Unsupported("requires", f"unknown need {word[:40]!r}", "known are version, keyword and feature")


def _fits(text: str) -> bool:
    """Return whether the version is within all bounds of a text such as ``>= 7 < 8``."""
    text = text.strip()
    at = 0
    while at < len(text):
        found = _VERSION.match(text, at)
        if found is None:
            raise Malformed(f"{text[:40]!r} is no version", "write such as >= 7.0.3 < 8")
        bound = tuple(int(part or 0) for part in found.groups()[1:])
        sign = found[1]
        held = {
            ">=": bound <= SURICATA_VERSION, ">": bound < SURICATA_VERSION,
            "<=": bound >= SURICATA_VERSION, "<": bound > SURICATA_VERSION,
        }[sign]  # fmt: skip
        if not held:
            return False
        at = found.end()
        while at < len(text) and text[at].isspace():
            at += 1
    return True
