"""What to do about a name that no rule knows: the nearest one, or what stands in its place here."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from ids.rules.model import buffers
from ids.rules.model.transforms import KEYWORDS as TRANSFORMS

_NONE_OF = "negate with none:, such as `- none: [http.uri: {contains: abc}]`"
_STATE = "bits are asked for with when: and changed with set:, unset: and toggle:; counters with counters:"
_INSTEAD = {
    "not": _NONE_OF,
    "pcre": "use regex",
    "content": "test a buffer with contains",
    "bsize": "use size",
    "dsize": "use payload.size",
    "isdataat": "use data_at_least, or has_byte",
    "byte_test": "use bytes",
    "byte_jump": "use jump",
    "byte_extract": "use extract",
    "byte_math": "use compute",
    "base64_decode": "use decode_base64",
    "offset": "use from",
    "depth": "use within_first",
    "distance": "use after",
    "fast_pattern": "use rarest: true",
    "noalert": "use silent: true",
    "detection_filter": "use threshold: {type: filter, ...}",
    "sameip": "use same_address: true",
    "ttl": "use ip.ttl",
    "flags": "use tcp.flags",
    "itype": "use icmp.type",
    "icode": "use icmp.code",
    "fragbits": "use ip.fragbits",
    "ipopts": "use ip.option",
    "stream_size": "use stream.client_size, stream.server_size, stream.both_size or stream.either_size",
    "decode-event": "use decode.event",
    "stream-event": "use stream.event",
    "detection": "use match, a list of conditions",
    "logsource": "use traffic, such as traffic: http",
    **{
        word: f"use {name}"
        for name, words in {
            "http.uri": "c-uri cs-uri cs-uri-stem cs-uri-query c-uri-path url",
            "http.method": "cs-method",
            "http.user_agent": "c-useragent cs-user-agent",
            "http.host": "cs-host c-uri-host",
            "http.cookie": "cs-cookie",
            "http.referer": "cs-referrer",
            "http.stat_code": "sc-status",
            "dns.query": "queryname dns.question.name query",
            "src_ip": "src sourceip c-ip",
            "dst_ip": "dst destinationip dest_ip",
        }.items()
        for word in words.split()
    },
    **dict.fromkeys(("flowbits", "flowint", "xbits", "hostbits"), _STATE),
}
"""Words of Suricata and Sigma, of which the nearest name here would mean something else."""


def remedy_for(word: str, known: Iterable[str]) -> str:
    """Return what to do about an unknown operator, buffer or key; case does not count."""
    name = word.lower()
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name.startswith(("not_", "not-", "!")):
        return _NONE_OF
    return nearest(word, known)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the nearest of the known names, whatever the case, or all when they are few; see `buffers.nearest`."""
    spelled = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=1)
    return buffers.nearest(spelled[near[0]] if near else word, list(spelled.values()))


def refusal(name: str, others: list[str]) -> tuple[str, str] | None:
    """Return what `buffers.refusal` does, with the remedy of `remedy_for` for an unknown buffer."""
    refused = buffers.refusal(name, others)
    if refused is None or name in buffers.CATALOGUE:
        return refused
    return refused[0], remedy_for(name, [*buffers.CATALOGUE, *others]) or "`ids rules keyword` prints all names"


_TRANSFORMS = {"lowercase": "lower", "uppercase": "upper", "urldecode": "url_decode", "trim": "strip_whitespace"}
"""What others call a transform."""


def transform_remedy(word: str, buffer: str, operators: Collection[str], known: Iterable[str]) -> str:
    """Return what to write for an unknown word behind a buffer and a bar: there, Sigma has its operators."""
    name = word.lower()
    if name in operators or name == "re":
        return f"write {buffer}: {{{'regex' if name == 're' else name}: ...}}"
    other = _TRANSFORMS.get(name) or TRANSFORMS.get(name)
    return f"did you mean {other!r}?" if other is not None else nearest(word, known)
