"""What to do about a name that no rule knows: the nearest one, or what stands in its place here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ids.rules.model import buffers

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
    return refused[0], remedy_for(name, [*buffers.CATALOGUE, *others])
