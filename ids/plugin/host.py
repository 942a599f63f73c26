"""Loads plugins and calls their hooks, one at a time, timed and guarded.

pluggy finds the plugins and checks their hooks against `ids.plugin.hookspec`. It would call the last registered first,
and let one exception stop the rest; here implementations are called in the order of registration, and what one of them
does wrong costs only its own answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np
import pluggy

from ids.counters import Counters
from ids.errors import IdsError, PluginError
from ids.plugin import hookspec
from ids.plugin.stopwatch import Stopwatch
from ids.types import I64, Bool, Direction, FlowColumns, Match

log = logging.getLogger(__name__)

MAX_CONSECUTIVE_FAILURES = 20
"""Failed or overlong calls in a row until a plugin is quarantined. One hostile flow can make a plugin fail at will, so
a single success in between starts the count over: only a plugin that fails on everything is set aside."""

CALL_BUDGET_S = 1.0
"""A call longer than this counts as a failure: at line rate the rings overflow within it. While it
waited for a processor that others had, its time stood still: that is the machine's overload, not the plugin's."""

TRANSPORTS = ("tcp", "udp", "other")
"""What a plugin may be interested in."""

INSPECTING = (
    "ids_packets", "ids_streams", "ids_stream", "ids_datagrams", "ids_transactions", "ids_transaction",
)  # fmt: skip
"""Hooks whose implementations look at traffic."""

RAW = ("ids_packets", "ids_streams", "ids_stream", "ids_flagged")
"""Those that look at what no parser has read."""

QUARANTINE_S = 60.0
"""How long a plugin sits out; it is then tried again, so that an attack cannot switch a detector off for good."""


@dataclass(slots=True)
class _Guest:
    name: str
    failures: int = 0
    quarantined_until: float = 0.0
    spent_s: float = 0.0
    """By the stopwatch, in calls of its hooks since the start."""


@dataclass(frozen=True, slots=True)
class _Call:
    guest: _Guest
    function: Callable[..., Any]
    argnames: tuple[str, ...]


class PluginHost:
    """The registered plugins, and the one way to call their hooks."""

    def __init__(
        self,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
        stopwatch: Callable[[], float] | None = None,
    ) -> None:
        """``clock`` measures how long a plugin sits out, ``stopwatch`` how long its calls take."""
        self._counters = counters
        self._clock = clock
        self._stopwatch = stopwatch or Stopwatch()
        self._manager = pluggy.PluginManager(hookspec.PROJECT)
        self._manager.add_hookspecs(hookspec)
        self._order: list[str] = []
        self._guests: dict[str, _Guest] = {}
        self._calls: dict[str, tuple[_Call, ...]] = {}

    @property
    def names(self) -> list[str]:
        """The registered plugins, in calling order."""
        return list(self._order)

    def plugin(self, name: str) -> Any:
        """Return a registered plugin; None where there is none of that name."""
        return self._manager.get_plugin(name)

    def load(self, disabled: Iterable[str] = ()) -> None:
        """Register every installed plugin (entry point group ``ids``), those of this package first.

        An entry point names a module; the plugin is its ``plugin`` (an object, or a class to make one of), or else the
        module itself.

        Raises `PluginError` where one cannot be imported or implements a hook that does not exist, or where
        ``disabled`` names a plugin that is not installed.
        """
        skipped = set(disabled)
        entries = {entry.name: entry for entry in metadata.entry_points(group=hookspec.PROJECT)}
        if unknown := skipped - entries.keys():
            raise PluginError(
                f"plugins.disabled names {', '.join(sorted(unknown))}, but installed are {', '.join(sorted(entries))}"
            )
        for entry in sorted(entries.values(), key=lambda e: not e.value.startswith("ids_plugins")):
            if entry.name in skipped:
                continue
            try:
                module = entry.load()
            except Exception as error:
                raise PluginError(
                    f"plugin {entry.name} ({entry.value}) cannot be imported: {error!r}; mend it, or disable it with "
                    f"plugins.disabled: [{entry.name}]"
                ) from error
            plugin = getattr(module, "plugin", module)
            self.register(entry.name, plugin() if isinstance(plugin, type) else plugin)

    def register(self, name: str, plugin: object) -> None:
        """Register one plugin; raises `PluginError` for a taken name or a hook that does not exist."""
        try:
            if self._manager.register(plugin, name) is None:
                raise PluginError(f"plugin {name} is blocked")
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            raise PluginError(f"plugin {name}: {error}") from error
        self._order.append(name)
        self._guests[name] = _Guest(name)
        self._counters.begin(f"plugin.{name}.quarantined")
        self._rebuild()

    def has(self, hook: str) -> bool:
        """Return whether any plugin implements ``hook``, so that a stage may save the work of preparing the call."""
        return hook in self._calls

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Call every implementation of ``hook`` and return their answers that are not None, in order."""
        return [answer for _, answer in self.ask(hook, **arguments)]

    def ask(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Like `call`, with the name of the plugin beside each answer."""
        answers: list[tuple[str, Any]] = []
        stopwatch = self._stopwatch
        for call in self._calls.get(hook, ()):
            guest = call.guest
            if guest.quarantined_until and guest.quarantined_until > self._clock():
                self._counters.add(f"plugin.{guest.name}.skipped")
                continue
            started = stopwatch()
            try:
                answer = call.function(*[arguments[name] for name in call.argnames])
            except Exception as error:
                guest.spent_s += stopwatch() - started
                self._failed(guest, hook, error, arguments)
                continue
            took = stopwatch() - started
            guest.spent_s += took
            if took > CALL_BUDGET_S:
                self._failed(guest, hook, TimeoutError(f"took {took:.1f} s"), arguments)
            elif guest.failures:
                guest.failures = 0
            if answer is not None:
                answers.append((guest.name, answer))
        return answers

    def count_times(self) -> None:
        """Set a counter for the time that each plugin has spent in its hooks."""
        for guest in self._guests.values():
            self._counters.set(f"plugin_time_us.{guest.name}", int(guest.spent_s * 1e6))

    def matches(self, hook: str, **arguments: Any) -> list[Match]:
        """Return the matches of all implementations of ``hook``, each signed with its plugin's name.

        An answer that is no list of matches counts as that plugin's failure.
        """
        if hook not in self._calls:
            return []
        found: list[Match] = []
        for name, answer in self.ask(hook, **arguments):
            if isinstance(answer, list) and all(isinstance(match, Match) for match in answer):
                found += [match if match.detector else replace(match, detector=name) for match in answer]
            else:
                error = TypeError(f"returned {type(answer).__name__}, expected a list of ids.types.Match")
                self._failed(self._guests[name], hook, error, arguments)
        return found

    def each(self, hook: str, name: str, values: Iterable[Any]) -> None:
        """Call a one-at-a-time hook with each value as its argument ``name``."""
        for value in values:
            self.call(hook, **{name: value})

    def matches_of_each(self, hook: str, name: str, values: Iterable[Any]) -> list[Match]:
        """Call a one-at-a-time hook with each value as its argument ``name``; return the matches."""
        return [match for value in values for match in self.matches(hook, **{name: value})]

    def pardon(self) -> None:
        """Let every plugin start anew: between two captures, of which one says nothing of the other."""
        for guest in self._guests.values():
            guest.failures, guest.quarantined_until = 0, 0.0

    def event_types(self) -> set[str] | None:
        """Return the event types that some output reads; None: all."""
        answers = dict(self.ask("ids_event_types"))
        readers = {call.guest.name for hook in ("ids_events", "ids_event") for call in self._calls.get(hook, ())}
        if readers - answers.keys():
            return None
        return {event_type for name in readers for event_type in answers[name]}

    def call_strict(self, hook: str, **arguments: Any) -> list[Any]:
        """Like `call`, but raise what an implementation raises: for hooks whose silence must not mean consent."""
        answers = [call.function(*[arguments[n] for n in call.argnames]) for call in self._calls.get(hook, ())]
        return [answer for answer in answers if answer is not None]

    def start(self, context_for: Callable[[str], Any]) -> None:
        """Call ``ids_start`` of each plugin with its own context; an `IdsError` or any other error stops the engine."""
        for call in self._calls.get("ids_start", ()):
            try:
                call.function(*[context_for(call.guest.name) for _ in call.argnames])
            except IdsError:
                raise
            except Exception as error:
                raise PluginError(f"plugin {call.guest.name} failed to start: {error!r}") from error

    def prepare_reload(self, context_for: Callable[[str], Any]) -> tuple[list[IdsError], Callable[[], list[IdsError]]]:
        """Call ``ids_reload`` of each plugin; return what went wrong, and what puts all of it in force.

        The latter returns which plugins failed even then: they may keep what they had, all others have the new.
        """
        errors: list[IdsError] = []
        commits: list[tuple[str, Callable[[], object]]] = []
        for call in self._calls.get("ids_reload", ()):
            try:
                commit = call.function(*[context_for(call.guest.name) for _ in call.argnames])
                if commit is not None:
                    commits.append((call.guest.name, commit))
            except IdsError as error:
                errors.append(error)
            except Exception as error:
                log.exception("plugin %s failed to reload", call.guest.name)
                errors.append(PluginError(f"plugin {call.guest.name} failed to reload: {error!r}"))

        def commit_all() -> list[IdsError]:
            failed: list[IdsError] = []
            for name, commit in commits:
                try:
                    commit()
                except Exception as error:  # half of the plugins have the new settings: there is no way back
                    log.exception("plugin %s failed to put in force what it has loaded", name)
                    self._counters.add(f"plugin.{name}.failures")
                    failed.append(PluginError(f"plugin {name} failed to put in force what it has loaded: {error!r}"))
            return failed

        return errors, commit_all

    def reload(self, context_for: Callable[[str], Any]) -> list[IdsError]:
        """Call ``ids_reload`` of each plugin, and put all of it in force or nothing; return what went wrong."""
        errors, commit = self.prepare_reload(context_for)
        return errors or commit()

    def interest(self) -> set[str]:
        """Return what some plugin looks into, of `TRANSPORTS`; in doubt all of it."""
        wanted: set[str] = set()
        asked = {call.guest.name for call in self._calls.get("ids_interest", ())}
        inspects = {call.guest.name for hook in INSPECTING for call in self._calls.get(hook, ())}
        answers = self.ask("ids_interest")
        if inspects - asked or len(answers) < len(asked):  # one did not answer, said None, or failed
            return set(TRANSPORTS)
        for _, answer in answers:
            wanted |= set(answer)
        return wanted

    def needs(self, flows: FlowColumns, slots: I64, direction: Direction) -> Bool:
        """Return for each flow whether some plugin looks into what a direction goes on with; in doubt it does."""
        wanted = np.zeros(len(slots), np.bool_)
        answers = dict(self.ask("ids_needs", flows=flows, slots=slots, direction=direction))
        for name in {call.guest.name for hook in RAW for call in self._calls.get(hook, ())} | answers.keys():
            answer = np.asarray(answers.get(name, True))
            wanted |= answer.astype(np.bool_) if answer.shape in ((), wanted.shape) else True
        return wanted

    def _failed(self, guest: _Guest, hook: str, error: Exception, arguments: Mapping[str, Any]) -> None:
        self._counters.add(f"plugin.{guest.name}.failures")
        guest.failures += 1
        if guest.failures == 1:
            log.warning("plugin %s failed in %s: %r", guest.name, hook, error, exc_info=error)
        if guest.failures >= MAX_CONSECUTIVE_FAILURES:
            guest.failures = 0
            guest.quarantined_until = self._clock() + QUARANTINE_S
            self._counters.add(f"plugin.{guest.name}.quarantined")
            log.error(
                "plugin %s failed %d times in a row, last in %s: %r; it sits out for %.0f s, and what it would have "
                "seen goes uninspected by it",
                guest.name, MAX_CONSECUTIVE_FAILURES, hook, error, QUARANTINE_S,
            )  # fmt: skip

    def _rebuild(self) -> None:
        calls: dict[str, tuple[_Call, ...]] = {}
        for hook in (name for name in vars(hookspec) if name.startswith("ids_")):
            implementations = {impl.plugin_name: impl for impl in getattr(self._manager.hook, hook).get_hookimpls()}
            found = [
                _Call(self._guests[name], implementations[name].function, tuple(implementations[name].argnames))
                for name in self._order
                if name in implementations
            ]
            if found:
                calls[hook] = tuple(found)
        self._calls = calls
