"""What rules remember: bits and counters of flows and hosts; and how often they alert."""

from __future__ import annotations

from collections.abc import Callable

from ids.later import late_pattern
from ids.rules.language.suricata.content import literal_bytes
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, number, refuse_value, required, unquoted
from ids.types import Threshold
from ids.types.state import BitChange, BitTest, CounterChange, CounterTest, Tagged, TextTest

MAX_NAMES = 64
"""Of one test on bits."""

XBITS_EXPIRE_S = 30
HOSTBITS_EXPIRE_S = 300
TAG_PACKETS = 256
"""Packets that are tagged where the rule does not say how many."""

TRACKS = {"ip_src": "src", "ip_dst": "dst", "ip_pair": "pair"}
THRESHOLD_TRACKS = ("by_src", "by_dst", "by_both", "by_rule", "by_flow")
METRICS = ("packets", "bytes", "seconds")

_NAME = late_pattern(r"[^\s,|;\"]{1,256}")
_COMPARISONS = ("<", "<=", "==", "!=", ">=", ">")


def _name(text: str) -> str:
    text = text.strip()
    if _NAME.fullmatch(text) is None:
        raise Malformed(f"{text[:40]!r} is no name", "names have no blanks, commas and quotes")
    return text


def _bits(draft: Draft, scope: str, action: str, names: str, expires_s: int) -> None:
    """Add a test or a change of bits; raises `Malformed`."""
    found = tuple(_name(one) for one in names.split("|"))
    if len(found) > MAX_NAMES:
        raise Malformed(f"it names more than {MAX_NAMES} bits")
    if action in ("isset", "isnotset"):
        draft.state_tests.append(BitTest(scope, found, action == "isnotset"))
    elif action not in ("set", "unset", "toggle"):
        raise Malformed(f"unknown word {action[:40]!r}", "known are set, unset, toggle, isset and isnotset")
    elif len(found) > 1:
        raise Malformed(f"{action} takes one bit", "write an option for each")
    else:
        draft.state_changes.append(BitChange(scope, action, found[0], expires_s))


def flowbits(draft: Draft, value: str | None) -> None:
    """``flowbits:isset,a|b``: bits of the flow."""
    words = commas(unquoted(required(value)))
    if words == ["noalert"]:
        draft.silent = True
        return
    if len(words) != 2:
        raise Malformed("it is no action and name", "such as flowbits:set,name")
    _bits(draft, "flow", words[0].lower(), words[1], 3600)


def hostbits(draft: Draft, value: str | None) -> None:
    """``hostbits:set,a,dst``: bits of the sender or the receiver."""
    words = commas(unquoted(required(value)))
    if words == ["noalert"]:
        draft.silent = True
        return
    if not 2 <= len(words) <= 3:
        raise Malformed("it is no action and name", "such as hostbits:set,name,src")
    scope = words[2].lower() if len(words) == 3 else "src"
    if scope == "both":
        raise Unsupported("hostbits both", "bits of both hosts at once are not supported", "use xbits with ip_pair")
    if scope not in ("src", "dst"):
        raise Malformed(f"unknown host {scope[:40]!r}", "known are src and dst")
    _bits(draft, scope, words[0].lower(), words[1], HOSTBITS_EXPIRE_S)


def xbits(draft: Draft, value: str | None) -> None:
    """``xbits:set,a,track ip_src,expire 10``: bits of a host or a pair of hosts."""
    words = commas(unquoted(required(value)))
    if words == ["noalert"]:
        draft.silent = True
        return
    if not 3 <= len(words) <= 4:
        raise Malformed("it is no action, name and track", "such as xbits:set,name,track ip_src,expire 60")
    key, _, track = words[2].partition(" ")
    track = track.strip().lower()
    if key != "track" or (track not in TRACKS and track != "tx"):
        raise Malformed(f"{words[2][:40]!r} is no track", f"known are {', '.join(TRACKS)}")
    if track == "tx":
        raise Unsupported("xbits tx", "bits of a transaction are not supported")
    expires_s = XBITS_EXPIRE_S
    if len(words) == 4:
        key, _, seconds = words[3].partition(" ")
        if key != "expire":
            raise Malformed(f"unknown word {words[3][:40]!r}", "write expire and seconds")
        expires_s = number(seconds, 1)
    _bits(draft, TRACKS[track], words[0].lower(), words[1], expires_s)


def flowint(draft: Draft, value: str | None) -> None:
    """``flowint:a,+,1``: a counter of the flow."""
    words = commas(unquoted(required(value)))
    if len(words) == 2 and words[1].lower() in ("isset", "isnotset", "notset"):
        draft.state_tests.append(CounterTest(_name(words[0]), "isset" if words[1].lower() == "isset" else "notset"))
        return
    if len(words) != 3:
        raise Malformed("it is no name, operator and value", "such as flowint:name,+,1")
    name, operator = _name(words[0]), words[1]
    other = number(words[2]) if words[2][:1].isdigit() else _name(words[2])
    if operator in _COMPARISONS:
        draft.state_tests.append(CounterTest(name, operator, other))
    elif operator in ("+", "-", "="):
        draft.state_changes.append(CounterChange(name, operator, other))
    else:
        raise Malformed(
            f"unknown operator {operator[:40]!r}", f"known are + - = {' '.join(_COMPARISONS)} isset isnotset"
        )


def text_of(scope: str) -> Callable[[Draft, str | None], None]:
    """Return what ``flowvar:name,"text"`` and ``pktvar`` do: a text that a regex captured holds this one."""

    def option(draft: Draft, value: str | None) -> None:
        word, comma, text = required(value).partition(",")
        if not comma or text.strip().startswith("!"):
            raise Malformed("it is no name and text", 'such as flowvar:name,"text"')
        draft.state_tests.append(TextTest(scope, _name(word.strip()), literal_bytes(unquoted(text))))

    return option


def noalert(draft: Draft, value: str | None) -> None:
    """``noalert``: change state, and alert not."""
    refuse_value(value)
    draft.silent = True


def bypass(draft: Draft, value: str | None) -> None:
    """``bypass``: hear nothing more of the flow behind this packet."""
    refuse_value(value)
    draft.bypass = True


def config(draft: Draft, value: str | None) -> None:
    """``config: logging disable, type tx, scope tx``: the exchange has no event of its protocol."""
    words = [" ".join(word.split()) for word in commas(unquoted(required(value)).lower())]
    if not words[0].startswith("logging "):
        raise Malformed(f"{words[0][:40]!r} is nothing that is configured", "logging disable is")
    known = words[0] == "logging disable" and words[1:2] in (["type tx"], ["type flow"])
    if not known or words[2:] not in (["scope tx"], ["scope flow"]):
        raise Malformed("it does not say what of what", "write config: logging disable, type tx, scope tx;")
    draft.unlogged = True


def alert(draft: Draft, value: str | None) -> None:
    """``alert``: alert; which is what rules do, but those that let pass."""
    refuse_value(value)
    draft.silent = False
    draft.announced = True


def threshold(draft: Draft, value: str | None) -> None:
    """``threshold:type limit, track by_src, count 1, seconds 60``: how often the rule alerts."""
    given = _pairs(value, {"type", "track", "count", "seconds"})
    if given["type"] not in ("limit", "threshold", "both"):
        raise Malformed(f"unknown type {given['type'][:40]!r}", "known are limit, threshold and both")
    _set_threshold(draft, given["type"], given)


def detection_filter(draft: Draft, value: str | None) -> None:
    """``detection_filter:track by_src, count 5, seconds 60``: alert after so many matches."""
    _set_threshold(draft, "filter", _pairs(value, {"track", "count", "seconds"}))


def _pairs(value: str | None, keys: set[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in commas(unquoted(required(value)).lower()):
        key, _, text = word.partition(" ")
        if key not in keys or key in given:
            raise Malformed(f"{word[:40]!r} is not expected", f"it has {', '.join(sorted(keys))}, each once")
        given[key] = text.strip()
    missing = keys - given.keys()
    if missing:
        raise Malformed(f"it has no {' and no '.join(sorted(missing))}")
    return given


def _set_threshold(draft: Draft, kind: str, given: dict[str, str]) -> None:
    if draft.threshold is not None:
        raise Unsupported("two thresholds", "a rule has one threshold or one detection_filter", "keep one of the two")
    draft.threshold = threshold_of(kind, given)


def threshold_of(kind: str, given: dict[str, str]) -> Threshold:
    """Return the threshold that words stand for; raises `Malformed`."""
    if given["track"] not in THRESHOLD_TRACKS:
        raise Malformed(f"unknown track {given['track'][:40]!r}", f"known are {', '.join(THRESHOLD_TRACKS)}")
    return Threshold(kind, given["track"], number(given["count"]), number(given["seconds"]))


def tag(draft: Draft, value: str | None) -> None:
    """``tag:host,300,seconds,src``: log packets that follow."""
    words = commas(unquoted(required(value)).lower())
    kind = words[0]
    if kind not in ("session", "host") or len(words) not in (1, 3, 4):
        raise Malformed("it is no tag", "such as tag:session,10,packets or tag:host,60,seconds,src")
    count, metric = TAG_PACKETS, "packets"
    if len(words) >= 3:
        count, metric = number(words[1]), words[2]
    if metric not in METRICS:
        raise Malformed(f"unknown metric {metric[:40]!r}", f"known are {', '.join(METRICS)}")
    side = words[3] if len(words) == 4 else "dst"
    if side not in ("src", "dst"):
        raise Malformed(f"unknown host {side[:40]!r}", "known are src and dst")
    draft.state_changes.append(Tagged(kind, count, metric, side))
