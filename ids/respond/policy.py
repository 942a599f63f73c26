"""Whom a match may block: the checks between a rule's wish and the kernel's map, in one place and one order."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ids.counters import Counters
from ids.respond.gate import BlockOrder, Gate
from ids.respond.proxies import Proxies
from ids.rules.model.sets import AddressSet
from ids.settings.respond import RespondSettings
from ids.types import (
    BlockMode,
    BlockRequest,
    Direction,
    IPAddress,
    IPNetwork,
    Match,
    address_object,
)

MAX_REMEMBERED = 65536
"""Networks whose earlier blocks are remembered, for repeat offenders; the longest unused is forgotten first."""

MINUTE_NS = 60_000_000_000

Halves = tuple[int, int]
"""An address as two numbers of 64 bits, as flows have it."""
NOBODY = AddressSet(())


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a block was not ordered; ``reason`` is a word for a counter, ``detail`` for a person."""

    reason: str
    detail: str
    mode: BlockMode | None = None
    """Of the block that is in force already; None: there is none that we know of."""
    drop_flow: bool = False
    """The flow is to be dropped in place of the block."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """What is remembered of a network that was blocked by rules."""

    network: IPNetwork
    times: int
    """Blocks that count; the next one lasts `respond.repeat_factor` to this power as long."""
    until_ns: int
    """When the latest ends, or would have ended (UNIX)."""
    counted: bool
    """The latest one is among ``times``."""


@dataclass(slots=True)
class _Record:
    times: int = 0
    until_ns: int = 0
    counted: bool = False
    """The latest one is among ``times``."""


class BlockPolicy:
    """Decides block requests. Refusals are counted as ``respond.refused.<reason>``."""

    def __init__(
        self,
        settings: RespondSettings,
        gate: Gate,
        counters: Counters,
        veto: Callable[[str, Match], list[str]],
        own: frozenset[IPAddress] = frozenset(),
        home: AddressSet = NOBODY,
    ) -> None:
        """``home``: the addresses of `vars.HOME_NET`."""
        self.configure(settings, home)
        self._gate = gate
        self._counters = counters
        self._veto = veto
        self.own = own
        self._records: OrderedDict[IPNetwork, _Record] = OrderedDict()
        self._minute_ns = 0
        self._this_minute = 0
        self.moves = 0
        """Grows with each change of what is remembered."""

    def penalties(self) -> list[Penalty]:
        """Return what is remembered of those who were blocked, the longest unused first."""
        return [
            Penalty(network, record.times, record.until_ns, record.counted)
            for network, record in self._records.items()
            if record.times or record.until_ns
        ]

    def remember(self, penalties: Iterable[Penalty]) -> None:
        """Take what an engine before this one remembered, in that order."""
        for one in penalties:
            self._records[one.network] = _Record(one.times, one.until_ns, one.counted)

    def reset(self, networks: Collection[IPNetwork] | None) -> list[IPNetwork]:
        """Forget who was blocked before, of networks and what overlaps them, or all (None); return whose it was."""
        gone = [
            known
            for known in self._records
            if networks is None or any(known.version == net.version and known.overlaps(net) for net in networks)
        ]
        for network in gone:
            del self._records[network]
        self.moves += bool(gone)
        return gone

    def configure(self, settings: RespondSettings, home: AddressSet = NOBODY) -> None:
        """Decide by these settings from now on; what was decided stays."""
        self._settings = settings
        self._home = home
        self._allow: list[IPNetwork] = list(settings.allow)
        self._proxies = Proxies(settings)

    def decide(self, match: Match, request: BlockRequest) -> BlockOrder | Refusal:
        """Return the order that the request becomes, or why not."""
        target, other = _ends(match, request)
        address = address_object(target)
        decision = (
            self._refusal(address, target, match)
            or self._spared(target, other, request)
            or self._unjustified(address, match, request)
            or self._proxied(address, target, match, request)
            or self._order(address, match, request)
        )
        if isinstance(decision, Refusal):
            self._counters.add(f"respond.refused.{decision.reason}")
        return decision

    def allows(self, address: IPAddress) -> bool:
        """Return whether nothing that this address sends may be dropped; the kernel sees to it too."""
        listed = any(address in network for network in self._allow if network.version == address.version)
        return listed or self._gate.allows(address)

    def spares(self, match: Match) -> bool:
        """Return whether nothing may be dropped: the sender is allowed, or the client of a trusted proxy that sent
        it."""
        if self.allows(sender_of(match)):
            return True
        client = match.exhibit.client if match.exhibit is not None else None
        by_client = match.direction is Direction.TO_SERVER
        return client is not None and by_client and self.allows(address_object(client.address))

    def _refusal(self, address: IPAddress, target: Halves, match: Match) -> Refusal | None:
        if self._settings.mode == "off":
            return Refusal("off", "respond.mode is off")
        if self.allows(address):
            return Refusal("allowed", f"{address} is on the allow-list (respond.allow, `ids allow`)")
        if target in self._proxies:  # it is not blocked in any case; its flow may be dropped, also where it is our own
            if target == match.flow.src and self.spares(match):
                return Refusal("allowed", f"the client for whom {address} speaks is on the allow-list")
            return None
        if address in self.own:
            return Refusal("own", f"{address} belongs to this host, a gateway or a resolver")
        if address.is_multicast or address.is_unspecified or address.is_loopback or int(address) == 0xFFFFFFFF:
            return Refusal("special", f"{address} is no host's address")
        return None

    def _spared(self, target: Halves, other: Halves, request: BlockRequest) -> Refusal | None:
        """Spare who is inside and deals with somebody outside: more often a victim than an attacker.

        A browser that is made to follow a link sends the exploit in it; whoever made the link would have it cut off.
        """
        if self._settings.block_home or request.home or target not in self._home or other in self._home:
            return None
        if address_object(other) in self.own:  # this host is not outside, whether HOME_NET has its address or not
            return None
        return Refusal(
            "home",
            f"{address_object(target)} is inside vars.HOME_NET and {address_object(other)} is not: a host inside is"
            " more often made to attack than an attacker (respond.block_home, or `home: true` in the rule, blocks it)",
        )

    def _unjustified(self, address: IPAddress, match: Match, request: BlockRequest) -> Refusal | None:
        if request.require_proven and not match.flow.proven:
            return Refusal("unproven", f"{address} completed no handshake in this flow, so it may be forged")
        try:
            objections = self._veto(str(address), match)
        except Exception as error:
            return Refusal("veto", f"a veto failed: {error!r}")
        if objections:
            return Refusal("veto", objections[0])
        return None

    def _proxied(self, address: IPAddress, target: Halves, match: Match, request: BlockRequest) -> Refusal | None:
        """Spare a trusted proxy: with it, everybody would be cut off who comes through it."""
        if target not in self._proxies:
            return None
        client = match.exhibit.client if match.exhibit is not None else None
        whom = "a client that it does not name" if client is None else str(address_object(client.address))
        detail = f"{address} is a trusted proxy (respond.trusted_proxies) that speaks for {whom}"
        if request.mode is BlockMode.SHADOW:
            return Refusal("proxy", f"{detail}; the rule only counts")
        return Refusal("proxy", f"{detail}; its flow is dropped instead", drop_flow=True)

    def _order(self, address: IPAddress, match: Match, request: BlockRequest) -> BlockOrder | Refusal:
        network = self._network(address)
        now = match.ts_ns
        record = self._records.setdefault(network, _Record())
        self._records.move_to_end(network)
        if len(self._records) > MAX_REMEMBERED:
            self._records.popitem(last=False)
            self._counters.add("respond.records_evicted")
        shadow = self._settings.mode == "shadow" or request.mode is BlockMode.SHADOW
        mode = BlockMode.SHADOW if shadow else BlockMode.ENFORCE
        held = self._gate.holds(network)
        # An operator who lifted our block before its end gave another chance: that is no repetition.
        lifted = record.counted and held is None and record.until_ns > now
        before = record.times - lifted
        ttl_s = request.ttl_s * self._settings.repeat_factor ** min(before, 32)
        ttl = int(min(ttl_s, self._settings.max_ttl_s))
        until_ns = now + ttl * 1_000_000_000
        # What is ours is not prolonged by what it caught itself; an operator's block is not to be cut short.
        if held is not None and held.covers(mode, now, now if record.until_ns > now else until_ns):
            return Refusal("already_blocked", f"{network} is already blocked", held.mode)
        if now - self._minute_ns >= MINUTE_NS:
            self._minute_ns, self._this_minute = now, 0
        if self._this_minute >= self._settings.max_blocks_per_minute:
            return Refusal("rate", f"more than {self._settings.max_blocks_per_minute} blocks in a minute")
        self._this_minute += 1
        self.moves += 1
        record.counted = not shadow  # what is only counted is no offence
        record.times = before + record.counted
        record.until_ns = until_ns
        return BlockOrder(network, ttl, mode, match.signature.sid, "rule", now, match.number)

    def _network(self, address: IPAddress) -> IPNetwork:
        prefix = 32 if address.version == 4 else self._settings.ipv6_prefix
        network = ipaddress.ip_network((address, prefix), strict=False)
        # a proxy in the same network is not to be cut off with its neighbour
        return ipaddress.ip_network(address) if self._proxies.overlaps(network) else network

    def forget(self, network: IPNetwork) -> None:
        """Forget the latest order for a network: it could not be carried out."""
        record = self._records.get(network)
        if record is not None:
            self.moves += 1
            record.times -= record.counted
            record.until_ns = 0


def sender_of(match: Match) -> IPAddress:
    """Return who sent what matched."""
    return address_object(match.flow.src if match.direction is Direction.TO_SERVER else match.flow.dst)


def _ends(match: Match, request: BlockRequest) -> tuple[Halves, Halves]:
    """Return whom the request means, and who is at the other end."""
    flow = match.flow
    if request.target.startswith("outer_"):
        sender, receiver = flow.outer_ends(match.direction)
    else:
        sender, receiver = (flow.src, flow.dst) if match.direction is Direction.TO_SERVER else (flow.dst, flow.src)
    return (sender, receiver) if request.target.endswith("src_ip") else (receiver, sender)
