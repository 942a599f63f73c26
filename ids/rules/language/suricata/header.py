"""The words before a rule's options: action, protocol, addresses and ports."""

from __future__ import annotations

from dataclasses import dataclass

from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.flow import OTHER_NAMES
from ids.rules.language.suricata.source import Header
from ids.rules.language.suricata.words import required
from ids.rules.language.variables import GroupError, Variables
from ids.rules.model.buffers import APP_PROTOCOLS, TRANSPORT_PROTOCOLS, unrecognised
from ids.rules.model.rule import Traffic
from ids.rules.model.sets import LAST_ADDRESS, AddressSet, Interval, intersection
from ids.types import IPV4_MAPPED_PREFIX, Action

ACTIONS = {
    "alert": Action.ALERT, "drop": Action.DROP, "pass": Action.PASS, "reject": Action.REJECT,
    "rejectsrc": Action.REJECT, "rejectdst": Action.REJECT, "rejectboth": Action.REJECT, "config": Action.ALERT,
}  # fmt: skip
"""A rejected flow is dropped both ways, whoever would be sent the reset. What only configures raises no alert."""

REJECTED = {"reject": "to_client", "rejectsrc": "to_client", "rejectdst": "to_server", "rejectboth": "both"}
"""Who would be sent the reset, in EVE's words."""

_IPV4: tuple[Interval, ...] = ((IPV4_MAPPED_PREFIX, IPV4_MAPPED_PREFIX | 0xFFFFFFFF),)
_IPV6: tuple[Interval, ...] = (
    (0, IPV4_MAPPED_PREFIX - 1), ((IPV4_MAPPED_PREFIX | 0xFFFFFFFF) + 1, LAST_ADDRESS),
)  # fmt: skip

FAMILIES: dict[str, tuple[Interval, ...]] = {
    "ipv4": _IPV4, "ip4": _IPV4, "icmpv4": _IPV4, "ipv6": _IPV6, "ip6": _IPV6, "icmpv6": _IPV6,
}  # fmt: skip
"""Addresses of the protocols that are of one version of IP."""

TRANSPORTS = {
    "tcp": "tcp", "tcp-pkt": "tcp", "tcp-stream": "tcp", "udp": "udp", "icmp": "icmp", "icmpv4": "icmp",
    "icmpv6": "icmp", "ip": "ip", "pkthdr": "ip", "ipv4": "ip", "ip4": "ip", "ipv6": "ip", "ip6": "ip",
    "sctp": "ip",
}  # fmt: skip
"""Protocols of headers, and which of the model's they are."""

PAYLOADS = {"tcp-pkt": "packet", "tcp-stream": "stream"}
NUMBERS = {"sctp": 132}
"""Protocols that the model tells by their number."""

_FOREIGN = """
    bittorrent-dht dcerpc dhcp dnp3 doh2 enip ftp-data http2 ike krb5 ldap mdns modbus mqtt nfs ntp pgsql pop3 quic
    rdp rfb sip snmp telnet template tftp websocket
"""

FOREIGN = frozenset(_FOREIGN.split())
"""Protocols that Suricata has a parser for, in one version or another."""

ARROWS = ("->", "<>", "=>")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a header says."""

    action: str
    protocol: str
    """As the model names it."""
    payload_of: str | None
    number: int | None
    """IP protocol number, where that is what tells."""


class Headers:
    """Reads headers; equal ones share what comes of them."""

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._traffic: dict[tuple[str, ...], Traffic] = {}

    def scope(self, header: Header) -> Scope:
        """Read action, protocol and arrow; raises `Misplaced`."""
        action, spelled, *_, arrow = header.words[:5]
        if action.lower() not in ACTIONS:
            raise Misplaced(0, Malformed(f"{action[:40]!r} is no action", nearest(action, list(ACTIONS))))
        if arrow not in ARROWS:
            remedy = "exchange source and destination and write ->" if arrow == "<-" else "write -> or <>"
            raise Misplaced(4, Malformed(f"{arrow[:40]!r} is no direction", remedy))
        protocol = spelled.lower()
        if protocol in TRANSPORTS:
            return Scope(action.lower(), TRANSPORTS[protocol], PAYLOADS.get(protocol), NUMBERS.get(protocol))
        return Scope(action.lower(), _application(protocol), None, None)

    def traffic(self, header: Header, protocol: str, version: str = "") -> Traffic:
        """Return the traffic of a header whose options left it with this protocol and ``version`` of IP; raises
        `Misplaced`."""
        spelled = header.words[1].lower()
        key = (protocol, spelled, version, *header.words[2:])
        known = self._traffic.get(key)
        if known is None:
            families = [FAMILIES[name] for name in (spelled, version) if name in FAMILIES]
            family = intersection(families[0], families[-1]) if families else None
            known = self._traffic[key] = self._read(header, protocol, family)
        return known

    def _read(self, header: Header, protocol: str, family: tuple[Interval, ...] | None) -> Traffic:
        words = header.words
        src, dst = self._addresses(header, 2, family), self._addresses(header, 5, family)
        try:
            place = 3
            sport = self._variables.ports(_group(words[3]))
            place = 6
            dport = self._variables.ports(_group(words[6]))
        except GroupError as error:
            raise Misplaced(place, Malformed(str(error), error.remedy)) from None
        excepts = any(self._variables.excepts(words[place]) for place in (2, 5))
        return Traffic(protocol, src, sport, dst, dport, words[4] == "<>", excepts)

    def _addresses(self, header: Header, place: int, family: tuple[Interval, ...] | None) -> AddressSet:
        try:
            found = self._variables.addresses(_group(header.words[place]))
        except GroupError as error:
            raise Misplaced(place, Malformed(str(error), error.remedy)) from None
        if family is None:
            return found
        both = intersection(found.intervals, family)
        if not both:
            raise Misplaced(place, Malformed("it has no address of the version of IP that the protocol asks for"))
        return AddressSet(both)


class Misplaced(Exception):
    """A word of a header is at fault; ``word`` is its number."""

    def __init__(self, word: int, fault: Malformed | Unsupported) -> None:
        self.word = word
        self.fault = fault
        super().__init__(str(fault))


def l3_proto(draft: Draft, value: str | None) -> None:
    """``l3_proto:ipv6``: the version of IP."""
    draft.once("l3_proto")
    version = required(value).lower()
    if version not in ("ipv4", "ip4", "ipv6", "ip6"):
        raise Malformed(f"{version[:40]!r} is no version of IP", "write ipv4 or ipv6")
    draft.version = version


def _group(word: str) -> str:
    """Return a group as the variables have it: Suricata takes a list without brackets, too."""
    return f"[{word}]" if "," in word and not word.startswith(("[", "![")) else word


def _application(protocol: str) -> str:
    protocol = OTHER_NAMES.get(protocol, protocol)
    if protocol in APP_PROTOCOLS:
        why = unrecognised(protocol)
        if why is None:
            return protocol
        raise Misplaced(1, Unsupported(f"protocol {protocol}", *why))
    if protocol in FOREIGN:
        raise Misplaced(
            1, Unsupported(f"protocol {protocol}", f"nothing here recognises {protocol}", "write tcp or udp with ports")
        )
    known = [*TRANSPORT_PROTOCOLS, *sorted(APP_PROTOCOLS)]
    raise Misplaced(1, Malformed(f"unknown protocol {protocol[:40]!r}", nearest(protocol, known)))
