"""``rpc``: a call of Sun RPC, by its program, version and procedure (RFC 5531)."""

from __future__ import annotations

from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.flow import payload_of
from ids.rules.language.suricata.words import commas, number, required
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.chain import Chain, Compare, DataAt, Number, Step
from ids.rules.model.header import HeaderNumber
from ids.rules.model.rule import All, Any_, Node

_TCP, _UDP = 6, 17
_MARK = {_UDP: 0, _TCP: 4}
"""Bytes before a call, by IP protocol: over TCP the length of its record."""
_KIND, _NUMBERS, _BYTES = 4, 12, 24
"""Where the kind of a message is, its program, version and procedure, and where these end."""
_WANTED = 3


def rpc(draft: Draft, value: str | None) -> None:
    """``rpc:100000,2,*``: a packet begins with a call of this program, version and procedure."""
    words = commas(required(value))
    if len(words) > _WANTED:
        raise Malformed("it takes one to three numbers", "write program, version and procedure: 100000,2,*")
    wanted = [number(words[0]), *(None if word == "*" else number(word) for word in words[1:])]
    payload_of(draft, "packet")
    carriers = {"tcp": (_TCP,), "udp": (_UDP,), "ip": (_UDP, _TCP)}.get(draft.protocol)
    if carriers is None:
        raise Malformed(f"no call is made over {draft.protocol}", "write tcp, udp or ip")
    calls = [(proto, _call(wanted, _MARK[proto])) for proto in carriers]
    if len(calls) == 1:
        draft.conditions.append(calls[0][1])
        return
    either: list[Node] = [All((HeaderNumber("ip.proto", ((proto, proto),)), call)) for proto, call in calls]
    draft.conditions.append(Any_(tuple(either)))


def _call(wanted: list[int | None], mark: int) -> Chain:
    steps: list[Step] = [DataAt(mark + _BYTES - 1), Compare(Number(4, mark + _KIND), "=", 0)]
    for place, one in enumerate(wanted):
        if one is not None:
            steps.append(Compare(Number(4, mark + _NUMBERS + 4 * place), "=", one))
    return Chain(PAYLOAD, tuple(steps))
