"""YARA rules over streams, bodies and files as a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ids import hookimpl
from ids.errors import RulesRefused
from ids.rules.loader import YARA_SUFFIXES, find_files
from ids.rules.paths import cache_directory
from ids.rules.yara_loader import load_yara
from ids.rules.yara_matcher import YaraMatcher
from ids.types import Flow, Match, StreamChunk, Transaction

if TYPE_CHECKING:
    from ids.errors import RuleError
    from ids.plugin.context import EngineContext

NAME = "yara_rules"


class YaraRules:
    """Loads the YARA files of ``rules.paths`` and matches them. A reload with bad rules leaves the old ones at work."""

    def __init__(self) -> None:
        self.matcher: YaraMatcher | None = None

    @hookimpl
    def ids_start(self, context: EngineContext) -> None:
        """Load the rules; raises `RulesRefused` where one is bad."""
        self.matcher = None
        self._load(context)()

    @hookimpl
    def ids_reload(self, context: EngineContext) -> Callable[[], None]:
        """Load the rules anew; raises `RulesRefused`, and then the old ones stay."""
        return self._load(context)

    @hookimpl
    def ids_interest(self) -> set[str] | None:
        """Tell that YARA looks at streams, and at buffers of protocols over TCP."""
        return {"tcp"}

    @hookimpl
    def ids_stream(self, chunk: StreamChunk) -> list[Match] | None:
        """Match the streams of TCP."""
        return self.matcher.stream(chunk) if self.matcher else None

    @hookimpl
    def ids_transaction(self, transaction: Transaction) -> list[Match] | None:
        """Match the buffers of protocols."""
        return self.matcher.transaction(transaction) if self.matcher else None

    @hookimpl
    def ids_flow_end(self, flow: Flow) -> None:
        """Let go what is kept of the flow."""
        if self.matcher:
            self.matcher.flow_end(flow)

    def _load(self, context: EngineContext) -> Callable[[], None]:
        """Load the rules; return what puts them in force."""
        settings = context.config.rules
        errors: list[RuleError] = []
        files = find_files(settings.paths, settings.exclude, errors)
        paths = [path for path in files if path.endswith(YARA_SUFFIXES)]
        loaded = load_yara(paths, context.config.vars, cache=cache_directory(settings))
        if errors or loaded.errors:
            raise RulesRefused([*errors, *loaded.errors])
        matcher = YaraMatcher(loaded, context.counters, settings, NAME, previous=self.matcher)

        def commit() -> None:
            self.matcher = matcher
            context.counters.set("yara.loaded", len(loaded.rules))

        return commit


plugin = YaraRules()
