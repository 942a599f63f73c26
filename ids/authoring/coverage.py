"""What a load of rules needs to be shown: buffers, protocols and transports, and what hides some of that from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ids.config import Config
from ids.kernel.fastpath import BEGINNING_BYTES
from ids.protocols import BY_NAME, meant
from ids.rules.model.buffers import CATALOGUE, PARSED, PAYLOAD
from ids.rules.model.chain import Chain, Content
from ids.rules.model.reach import TRANSPORT_NAMES, transports_of
from ids.rules.model.rule import Rule, Scoped
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.yara import STREAM, YaraRule

TRANSPORTS = ("tcp", "udp", "other")


@dataclass(slots=True)
class BufferNeed:
    """One buffer, and how many rules ask for it."""

    name: str
    protocol: str | None
    rules: int
    parsed: bool
    """Something here fills it."""


@dataclass(slots=True)
class Hidden:
    """What rules are not shown, why, and what to set."""

    what: str
    rules: int
    setting: str
    value: str
    sids: tuple[int, ...] = ()
    """Some of the rules."""


@dataclass(slots=True)
class Coverage:
    """What the rules of a load need."""

    rules: int = 0
    buffers: list[BufferNeed] = field(default_factory=list)
    protocols: dict[str, int] = field(default_factory=dict)
    """Rules by the protocol of their traffic."""
    unparsed: dict[str, int] = field(default_factory=dict)
    """Of these, the ones that are recognised, and not parsed: such rules see the payload alone."""
    transports: dict[str, int] = field(default_factory=dict)
    """Rules by what carries their traffic; one of several counts for each."""
    depths: dict[str, int] = field(default_factory=dict)
    """Bytes of each side of a flow that the fast path shows, by transport."""
    hidden: list[Hidden] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    """Rules that were not loaded, by cause."""


def coverage(loaded: RuleSet, config: Config) -> Coverage:
    """Return what the rules of a load need, under these settings."""
    rules: list[Scoped] = [*loaded.rules, *loaded.yara.rules]
    found = Coverage(len(rules), left_out=dict(Counter(error.cause for error in loaded.refused).most_common()))
    named = Counter(name for rule in rules for name in _buffers(rule))
    for name, count in sorted(named.items(), key=lambda item: (-item[1], item[0])):
        buffer = CATALOGUE.get(name)
        protocol = buffer.protocol if buffer is not None else None
        found.buffers.append(BufferNeed(name, protocol, count, protocol is None or protocol in PARSED))
    found.protocols = dict(Counter(rule.traffic.protocol for rule in rules).most_common())
    found.unparsed = {
        name: count for name, count in found.protocols.items() if name in BY_NAME and name not in PARSED
    }  # fmt: skip
    found.transports = {name: sum(name in _carriers(rule) for rule in rules) for name in TRANSPORTS}
    interest = {name for rule in rules for name in transports_of(rule) or TRANSPORTS}  # as `ids_interest` has it
    for name in TRANSPORTS:
        depth = int(getattr(config.fastpath, f"depth_{name}_bytes"))
        found.depths[name] = depth if name in interest else min(depth, BEGINNING_BYTES)
    found.hidden = [hidden for hidden in _hidden(rules, found, config) if hidden.rules]
    return found


def _carriers(rule: Scoped) -> frozenset[str]:
    """Return over which transports there is something for a rule: its protocol may be recognised over some alone."""
    over = transports_of(rule)
    protocol = BY_NAME.get(meant(rule.traffic.protocol)[0])
    if over is not None or protocol is None:
        return over if over is not None else frozenset(TRANSPORTS)
    return frozenset(name for number, name in TRANSPORT_NAMES.items() if protocol.recognised_over(number))


def _buffers(rule: Scoped) -> Iterable[str]:
    if isinstance(rule, YaraRule):
        return [PAYLOAD if rule.scope == STREAM else rule.scope]
    return rule.buffers if isinstance(rule, Rule) else ()


def _hidden(rules: list[Scoped], found: Coverage, config: Config) -> Iterator[Hidden]:
    """Yield what the fast path and the bounds of matching keep from rules."""
    for name in TRANSPORTS:
        setting = f"fastpath.depth_{name}_bytes"
        of_transport = [rule for rule in rules if name in _carriers(rule)]
        what = f"bytes of a {name} flow's side behind {found.depths[name]:,}"
        yield Hidden(what, len(of_transport), setting, str(found.depths[name]))
        deep = [rule for rule in of_transport if _least_place(rule) >= found.depths[name]]
        yield _some(f"all that they look for in {name}: it begins behind that depth", deep, setting, found.depths[name])
    opaque = [rule for rule in rules if rule.traffic.app_proto in config.engine.bypass or _sees_opaque(rule, config)]
    names = ", ".join(config.engine.bypass)
    yield _some(
        f"what {names} flows carry behind their first {config.engine.bypass_after_bytes:,} bytes a side", opaque,
        "engine.bypass", names,
    )  # fmt: skip
    window = config.rules.window_bytes
    far = [rule for rule in rules if PAYLOAD in _buffers(rule) and _least_place(rule) >= window]
    yield _some(
        f"all that they look for: it begins behind the window of {window:,} bytes", far, "rules.window_bytes", window
    )


def _sees_opaque(rule: Scoped, config: Config) -> bool:
    """Return whether a rule looks into streams of any protocol, so into encrypted ones too."""
    return bool(config.engine.bypass) and rule.traffic.protocol in ("ip", "tcp") and PAYLOAD in _buffers(rule)


def _some(what: str, rules: list[Scoped], setting: str, value: object) -> Hidden:
    return Hidden(what, len(rules), setting, str(value), tuple(rule.signature.sid for rule in rules[:20]))


def _least_place(rule: Scoped) -> int:
    """Return before which byte of a stream a rule cannot hold, as far as its fixed places say."""
    if not isinstance(rule, Rule):
        return 0
    chains = [part for part in rule.condition.parts if isinstance(part, Chain) and part.buffer == PAYLOAD]
    steps = [step for chain in chains for step in chain.steps if isinstance(step, Content) and not step.negated]
    return max((step.offset for step in steps if isinstance(step.offset, int)), default=0)
