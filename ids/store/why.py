"""The answer to "why is this address blocked?" as data: what stands in the kernel, what memory and state know.

Everything is read from where it lies, so an engine need not run, and one that hangs changes nothing. What cannot be
read is named in ``troubles``, and the rest is answered all the same.
"""

from __future__ import annotations

import ipaddress
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ids.errors import IdsError
from ids.events import Event
from ids.kernel import Allow, Block, Blocklist
from ids.settings.respond import RespondSettings
from ids.state.comments import Key
from ids.state.penalties import standing
from ids.store import queries
from ids.store.asked import Asked
from ids.store.imports import imports_behind
from ids.store.kept import evidence_of, network_of
from ids.store.places import Places
from ids.store.plain import block_data
from ids.store.queries import Alert, ChangeRow, Count, Filters
from ids.types import address_halves

OURS = ("rule", "operator", "")
"""Labels that are no feed's."""

MOST_WITHIN = 10
"""Entries inside a network that are named; `ids block list --match` has them all."""

ALERTS = 10
"""Alerts and changes that are shown, the latest."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of the things that keep an address from being blocked."""

    text: str
    holds: bool


@dataclass(slots=True)
class Answer:
    """All that is known; see `ids.cli.why` for how it is said."""

    asked: Asked
    blocks: list[Block] = field(default_factory=list)
    """Entries of the kernel that hold it, the narrowest first, each with its other claims."""
    comments: dict[Key, str] = field(default_factory=dict)
    cause: ChangeRow | None = None
    """The record of the block by a rule that is in force, or of the latest one: its title, place and evidence."""
    alert: Alert | None = None
    """The alert that came with it."""
    alerts: list[Alert] = field(default_factory=list)
    """The latest with it at either end."""
    counts: list[Count] = field(default_factory=list)
    """Of those that it sent, by rule."""
    history: list[ChangeRow] = field(default_factory=list)
    allowed: list[Allow] = field(default_factory=list)
    penalties: list[tuple[str, int, int]] = field(default_factory=list)
    """(network, blocks that count, end of the latest)."""
    within: list[str] = field(default_factory=list)
    """Entries of the kernel inside the network that was asked for, the first `MOST_WITHIN`."""
    within_count: int = 0
    own: bool = False
    home: bool = False
    proxy: bool = False
    """It is a trusted proxy, or has one in it."""
    conditions: list[Condition] = field(default_factory=list)
    undo: list[tuple[str, str]] = field(default_factory=list)
    """(command, what it does)."""
    troubles: list[str] = field(default_factory=list)
    unread: bool = False
    """The kernel's lists could not be read: nobody knows whether anything blocks it."""

    @property
    def dropped(self) -> bool:
        """Whether an entry drops what it sends, by itself; the allow-list and shadow mode win over it."""
        return any(block.mode.value == "enforce" for block in self.blocks)

    @property
    def passes(self) -> bool:
        """Whether what it sends passes, whatever entries there are."""
        return not self.dropped or bool(self.allowed) or any(one.holds for one in self.conditions[1:3])

    @property
    def evidence(self) -> list[Event]:
        """What the rule saw."""
        if self.cause is not None and (found := evidence_of(self.cause.detail)):
            return found
        return self.alert.evidence if self.alert is not None else []

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "network": str(self.asked.network),
            "about": self.asked.about,
            "blocks": [block_data(block, self.comments) for block in self.blocks],
            "cause": self.cause.to_json() if self.cause is not None else None,
            "evidence": self.evidence,
            "alert": self.alert.to_json() if self.alert is not None else None,
            "alerts": [alert.to_json() for alert in self.alerts],
            "counts": [asdict(count) for count in self.counts],
            "history": [row.to_json() for row in self.history],
            "allowed": [{"network": str(entry.network), "label": entry.label} for entry in self.allowed],
            "penalties": [
                {"network": net, "times": times, "expires_ns": until} for net, times, until in self.penalties
            ],
            "within": {"networks": self.within_count, "first": self.within},
            "own": self.own,
            "home": self.home,
            "proxy": self.proxy,
            "not_blocked_if": [asdict(condition) for condition in self.conditions],
            "undo": [{"command": command, "does": does} for command, does in self.undo],
            "troubles": self.troubles,
            "known": not self.unread,
        }


def why(asked: Asked, places: Places) -> Answer:
    """Collect the answer."""
    answer = Answer(asked, unread=places.unread)
    for part in (_from_kernel, _from_memory, _from_settings):
        _guarded(part, answer, places)
    _conclude(answer, places)
    return answer


def _guarded(part: Callable[[Answer, Places], None], answer: Answer, places: Places) -> None:
    try:
        part(answer, places)
    except (IdsError, OSError, sqlite3.Error) as error:
        answer.troubles.append(str(error))


def _from_kernel(answer: Answer, places: Places) -> None:
    network = answer.asked.network
    if places.blocks is not None:
        answer.blocks = list(places.blocks.covering(network))
        _look_within(answer, places.blocks)
        answer.comments = {key: text for key, text in places.comments.items() if key[0] in _names(answer.blocks)}
    if places.allowed is not None:
        answer.allowed = [
            entry
            for entry in places.allowed.list()
            if entry.network.version == network.version and entry.network.overlaps(network)
        ]


def _look_within(answer: Answer, blocks: Blocklist) -> None:
    """Find what is blocked of a network; nothing that holds all of it need be there."""
    network = answer.asked.network
    if network.prefixlen == network.max_prefixlen:
        return
    held, _ = blocks.columns()
    inside = held.chosen(held.near(network) & (held.networks["length"] > network.prefixlen))
    answer.within_count = len(inside)
    answer.within = inside.chosen(inside.by_network()[:MOST_WITHIN]).texts()


def _from_memory(answer: Answer, places: Places) -> None:
    if places.memory is None:
        return
    network = answer.asked.network
    held = [block.network for block in answer.blocks]
    near = next((block for block in held if block.prefixlen), network)  # a /64's alerts have addresses inside it
    answer.history = queries.history(places.memory, network, limit=ALERTS * 5)
    answer.history += imports_behind(places.memory, answer.blocks, answer.history)
    answer.history.sort(key=lambda row: (row.ts_ns, row.id), reverse=True)
    answer.alerts = queries.alerts(places.memory, Filters(address=near), limit=ALERTS, lines=True)
    answer.counts = queries.counts(places.memory, "rule", Filters(src=near), limit=ALERTS)
    sids = [claim.sid for block in answer.blocks for claim in (block, *block.others) if claim.sid]
    rows = [row for row in answer.history if row.kind == "block" and row.sid and not row.user]
    answer.cause = next((row for row in rows if not sids or row.sid in sids), None)
    answer.alert = answer.asked.alert or _alert_of(places.memory, answer.cause)


def _alert_of(memory: sqlite3.Connection, cause: ChangeRow | None) -> Alert | None:
    """Return the alert that came with a block; None where it was suppressed, or has been forgotten."""
    if cause is None or not cause.flow_id:
        return None
    found = queries.alerts(memory, Filters(flow_id=cause.flow_id, sid=cause.sid), limit=ALERTS, lines=True)
    return next((alert for alert in found if alert.ts_ns == cause.ts_ns), found[0] if found else None)


def _from_settings(answer: Answer, places: Places) -> None:
    network, settings = answer.asked.network, places.settings
    answer.proxy = any(net.version == network.version and net.overlaps(network) for net in settings.trusted_proxies)
    answer.own = any(address in network for address in places.own)
    answer.home = address_halves(network.network_address) in places.home and not places.home.everything
    near = [one for one in places.penalties if one.network.version == network.version and one.network.overlaps(network)]
    answer.penalties = [
        (str(one.network), one.times, one.until_ns) for one in standing(near, places.blocks, time.time_ns())
    ]


def _conclude(answer: Answer, places: Places) -> None:
    """Say what would have kept it from being blocked, and what undoes it."""
    network, settings = answer.asked.network, places.settings
    listed = any(net.version == network.version and net.overlaps(network) for net in settings.allow)
    by_rule = any(claim.sid for block in answer.blocks for claim in (block, *block.others))
    answer.conditions = [
        Condition("it is on the allow-list (`ids allow add`, respond.allow)", bool(answer.allowed) or listed),
        Condition("the gate is in shadow mode (respond.mode), and only counts", places.shadow),
        Condition("no interface has the program, so nothing is dropped", not (places.attached or places.unread)),
    ]
    if answer.proxy:
        text = "it is a trusted proxy (respond.trusted_proxies): rules drop the flow instead"
        answer.conditions.append(Condition(text, True))
    if by_rule or answer.cause is not None:
        answer.conditions += [
            Condition("it is an address of this host, a gateway or a resolver (respond.protect_own)", answer.own),
            Condition(
                "it is inside vars.HOME_NET, the other end is not, and the rule does not say `home: true`"
                " (respond.block_home)", answer.home and not settings.block_home,
            ),
            Condition("it did not complete a TCP handshake, and the rule does not say `require: any`", False),
            Condition(
                "the rule has an exception that fits (its own, or respond.exceptions), or is disabled"
                " (rules.disabled_sids)", _excepted(answer, settings),
            ),
        ]  # fmt: skip
    _undo(answer)


def _excepted(answer: Answer, settings: RespondSettings) -> bool:
    """Return whether the settings except it by now from the rule that blocked it."""
    sid = answer.cause.sid if answer.cause is not None else 0
    networks = (net for one in settings.exceptions if one.sid == sid for net in (*one.src_ip, *one.dst_ip))
    return any(net.version == answer.asked.network.version and net.overlaps(answer.asked.network) for net in networks)


def _undo(answer: Answer) -> None:
    network = answer.asked.network
    for block in answer.blocks:
        claims = (block, *block.others)
        feeds = sorted(
            {claim.label for claim in claims if claim.label not in ("rule", "operator", "") and not claim.sid}
        )
        back = f"; {', '.join(feeds)} brings it back with the next import, unless it is allowed" if feeds else ""
        answer.undo.append((f"ids block delete {block.network}", f"lifts the block now{back}"))
    if not answer.allowed:
        answer.undo.append((f"ids allow add {network}", "lets it in whatever blocks it, now and later"))
    else:
        answer.undo += [(f"ids allow delete {entry.network}", "lets blocks drop it again") for entry in answer.allowed]
    if answer.penalties:
        nets = " ".join(name for name, _, _ in answer.penalties[:5])
        answer.undo.append((f"ids penalties reset {nets}", "the next block is no longer than a first one"))


def exception_for(answer: Answer) -> tuple[int, str] | None:
    """Return the rule, and what excepts this address from it: YAML of `respond.exceptions`; None without a rule.

    That is said in the settings, for the rule's own file may be replaced by an upgrade or an update.
    """
    cause, alert = answer.cause, answer.alert
    if cause is not None:
        sid, network, gid = cause.sid, cause.network, cause.detail.get("gid")
        if not isinstance(gid, int):  # a record of an older version
            gid = alert.gid if alert is not None else 1
    elif alert is not None:
        sid, gid, network = alert.sid, alert.gid, str(answer.asked.network)
    else:
        return None
    blamed = network_of(network)
    if blamed is None:
        return None
    attacked = alert is not None and alert.dest and ipaddress.ip_address(alert.dest) in blamed
    side = cause.detail.get("side") if cause is not None else None
    if side not in ("src_ip", "dst_ip"):
        side = "dst_ip" if attacked else "src_ip"
    group = f"gid: {gid}, " if gid != 1 else ""
    text = str(blamed.network_address) if blamed.prefixlen == blamed.max_prefixlen else str(blamed)
    return sid, f"respond:\n  exceptions:\n    - {{sid: {sid}, {group}{side}: ['{text}']}}"


def verdict(answer: Answer, subject: str = "it") -> str:
    """Return in a few words what becomes of what ``subject`` sends."""
    name = subject[:1].upper() + subject[1:]
    if answer.unread:
        return f"Whether {subject} is blocked is not known: the kernel's lists cannot be read."
    if not answer.blocks:
        return f"{name} is not blocked{_instead(answer)}."
    if answer.allowed:
        allowed = ", ".join(str(entry.network) for entry in answer.allowed)
        return f"{name} is on the blocklist, and passes: {allowed} is allowed, which wins."
    if not answer.dropped:
        return f"{name} is not dropped: its block is a shadow, which only counts."
    holds = [condition.text for condition in answer.conditions[1:3] if condition.holds]
    return f"{name} is on the blocklist, but {holds[0]}." if holds else f"{name} is blocked."


def _instead(answer: Answer) -> str:
    if answer.within_count:
        more = f" (`ids block list --match {answer.asked.network}`)" if answer.within_count > len(answer.within) else ""
        return f" as a whole, but {answer.within_count:,} of it: {', '.join(answer.within)}{more}"
    return ": a trusted proxy never is, its flows are dropped instead" if answer.proxy else ""


def _names(blocks: Sequence[Block]) -> set[str]:
    return {str(block.network) for block in blocks}
