"""The rules of all languages as one detector."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ids import hookimpl
from ids.errors import RulesRefused
from ids.garbage import collected_later
from ids.plugin.beside import beside
from ids.plugin.dissection import impossible_fields
from ids.respond.exceptions import unknown_rules
from ids.rules.language.loader import load_configured
from ids.rules.match.matcher import Matcher
from ids.rules.model.lua import LOADER
from ids.rules.model.reach import transports_of
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.scanning import COMPILER
from ids.rules.paths import cache_directory
from ids.types import (
    I64,
    Bool,
    Datagrams,
    Direction,
    FlowBatch,
    FlowColumns,
    Match,
    Packets,
    Streams,
    Transactions,
)

if TYPE_CHECKING:
    from ids.plugin.context import EngineContext
    from ids.plugin.session import FlowSession

log = logging.getLogger(__name__)

NAME = "rules"

_CHILDREN = COMPILER, LOADER
"""What a load asks beside."""


class Rules:
    """Loads the rules of ``rules.paths`` and matches them. A reload with bad rules leaves the old ones at work."""

    def __init__(self) -> None:
        self.matcher: Matcher | None = None

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Load the rules; raises `RulesRefused` where one is bad."""
        self.matcher = None
        self._load(context)()

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Load the rules again; raises `RulesRefused`, and then the old ones stay."""
        return self._load(context)

    @hookimpl
    def ids_interest(self) -> set[str] | None:
        """Return which transports the loaded rules look at."""
        wanted: set[str] = set()
        for rule in self.matcher.rules if self.matcher else ():
            transports = transports_of(rule)
            if transports is None:
                return None
            wanted |= transports
        return wanted

    @hookimpl
    def ids_needs(self, flows: FlowColumns, slots: I64, direction: Direction) -> Bool | None:
        """Return into which flows a rule looks that asks for packets or payload."""
        return self.matcher.needs(flows, slots, direction) if self.matcher else np.zeros(len(slots), np.bool_)

    @hookimpl
    def ids_packets(self, packets: Packets, flows: FlowBatch) -> list[Match] | None:
        """Match header-only rules."""
        return self.matcher.packets(packets, flows) if self.matcher else None

    @hookimpl
    def ids_streams(self, streams: Streams) -> list[Match] | None:
        """Match payloads of TCP."""
        return self.matcher.streams(streams) if self.matcher else None

    @hookimpl
    def ids_datagrams(self, datagrams: Datagrams) -> list[Match] | None:
        """Match payloads of UDP, ICMP and the like."""
        return self.matcher.datagrams(datagrams) if self.matcher else None

    @hookimpl
    def ids_transactions(self, parts: Transactions) -> list[Match] | None:
        """Match the buffers of protocols."""
        return self.matcher.transactions(parts) if self.matcher else None

    @hookimpl
    def ids_flagged(self, session: FlowSession) -> list[Match] | None:
        """Match the Scapy fields of rules whose other tests hold."""
        return self.matcher.flagged(session) if self.matcher else None

    def _load(self, context: EngineContext) -> Callable[[], None]:
        """Load the rules, while packets go on; return what puts them in force."""
        try:
            if context.go_on is None:
                _let_go_on(None)
                return self._loaded(context)
            return self._load_beside(context, context.go_on)
        finally:
            for child in _CHILDREN:
                child.rest()

    def _load_beside(self, context: EngineContext, go_on: Callable[[], bool]) -> Callable[[], None]:
        """Load in a thread. What cannot be interrupted runs in a child of that, and ends with it."""
        wanted = True
        _let_go_on(lambda: wanted)

        def load() -> Callable[[], None]:
            try:
                return self._loaded(context)
            finally:
                _let_go_on(None)

        try:
            return beside(load, go_on, "load-rules")
        finally:
            wanted = False

    def _loaded(self, context: EngineContext) -> Callable[[], None]:
        with collected_later(for_good=self.matcher is None):
            return self._made(context)

    def _made(self, context: EngineContext) -> Callable[[], None]:
        settings = context.config.rules
        cache = cache_directory(settings)
        loaded = load_configured(settings, context.config.vars, cache)
        errors = [*loaded.errors, *(error for _, error in impossible_fields(loaded.rules))]
        if errors:
            raise RulesRefused(errors)
        if loaded.refused:
            log.warning("%d rules loaded, %s: see `ids rules check`", len(loaded), loaded.left_out())
        unknown = self._unknown(context, loaded)
        matcher = Matcher(
            loaded, context.flows, context.counters, settings, NAME, cache, previous=self.matcher,
            inline=context.config.respond.drop_packets,
        )  # fmt: skip

        def commit() -> None:
            self.matcher = matcher
            for warning in unknown:
                log.warning(warning)
            context.asked.say(NAME, matcher.buffers, storing=matcher.stores)
            counters = context.counters
            counters.set("rules.loaded", len(loaded))
            imported = sum(rule.repeats for rule in loaded.rules)
            counters.set("rules.loaded_yaml", len(loaded.rules) - imported)
            counters.set("rules.loaded_suricata", imported)
            counters.set("rules.refused", len(loaded.refused))
            counters.set("rules.loaded_yara", len(loaded.yara.rules))

        return commit

    @staticmethod
    def _unknown(context: EngineContext, loaded: RuleSet) -> list[str]:
        """Return what is wrong with exceptions of the settings; once, in the process that decides."""
        asked = context.config.respond.exceptions if context.outputs else []
        return list(unknown_rules(asked, loaded.signatures(), context.config.rules.disabled_sids)) if asked else []


def _let_go_on(go_on: Callable[[], bool] | None) -> None:
    for child in _CHILDREN:
        child.go_on = go_on


plugin = Rules()
