"""The plugin host: order, guard, quarantine. Plugins are guests."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ids import hookimpl
from ids.counters import Counters
from ids.errors import PluginError, UsageError
from ids.plugin import host as host_module
from ids.plugin.host import MAX_CONSECUTIVE_FAILURES, QUARANTINE_S, PluginHost
from ids.types import Match
from tests.factory import make_flow, make_match


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """Notes its calls."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    @hookimpl
    def ids_flow_end(self) -> None:
        self.calls.append(self.name)


class Faulty:
    """Fails in every call until its error is taken away."""

    def __init__(self) -> None:
        self.error: Exception | None = ValueError("hostile bytes")
        self.calls = 0

    @hookimpl
    def ids_flow_end(self) -> str:
        self.calls += 1
        if self.error:
            raise self.error
        return "answer"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def host(clock: Clock, counters: Counters) -> PluginHost:
    return PluginHost(counters, clock, stopwatch=clock)


def test_plugins_are_called_in_the_order_of_registration(host: PluginHost) -> None:
    calls: list[str] = []
    for name in ("first", "second", "third"):
        host.register(name, Recorder(name, calls))
    host.call("ids_flow_end", flow=make_flow())
    assert calls == ["first", "second", "third"]


def test_one_plugins_failure_costs_only_its_own_answer(
    host: PluginHost, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []
    host.register("faulty", Faulty())
    host.register("sound", Recorder("sound", calls))
    with caplog.at_level(logging.WARNING):
        assert host.call("ids_flow_end", flow=make_flow()) == []
    assert calls == ["sound"]
    assert counters["plugin.faulty.failures"] == 1
    assert "faulty failed in ids_flow_end" in caplog.text


def test_a_plugin_that_always_fails_sits_out_and_is_tried_again(
    host: PluginHost, clock: Clock, counters: Counters
) -> None:
    faulty = Faulty()
    host.register("faulty", faulty)
    for _ in range(MAX_CONSECUTIVE_FAILURES + 5):
        host.call("ids_flow_end", flow=make_flow())
    assert faulty.calls == MAX_CONSECUTIVE_FAILURES
    assert counters["plugin.faulty.quarantined"] == 1
    assert counters["plugin.faulty.skipped"] == 5
    clock.now += QUARANTINE_S + 1
    faulty.error = None
    assert host.ask("ids_flow_end", flow=make_flow()) == [("faulty", "answer")]


def test_a_success_in_between_starts_the_count_anew(host: PluginHost, counters: Counters) -> None:
    """Else one hostile flow among many could switch a detector off."""
    faulty = Faulty()
    host.register("faulty", faulty)
    for turn in range(10 * MAX_CONSECUTIVE_FAILURES):
        faulty.error = ValueError("hostile") if turn % MAX_CONSECUTIVE_FAILURES else None
        host.call("ids_flow_end", flow=make_flow())
    assert counters["plugin.faulty.quarantined"] == 0


def test_a_call_that_takes_too_long_counts_as_a_failure(host: PluginHost, clock: Clock, counters: Counters) -> None:
    class Slow:
        @hookimpl
        def ids_flow_end(self) -> None:
            clock.now += host_module.CALL_BUDGET_S + 0.1

    host.register("slow", Slow())
    host.call("ids_flow_end", flow=make_flow())
    assert counters["plugin.slow.failures"] == 1
    host.count_times()
    assert counters["plugin_time_us.slow"] == pytest.approx(1e6 * (host_module.CALL_BUDGET_S + 0.1), abs=1)


def test_a_misspelt_hook_is_refused_by_name(host: PluginHost) -> None:
    class Misspelt:
        @hookimpl
        def ids_steam(self) -> None: ...

    with pytest.raises(PluginError, match="ids_steam"):
        host.register("typo", Misspelt())


def test_an_argument_that_the_hook_does_not_have_is_refused(host: PluginHost) -> None:
    class Wrong:
        @hookimpl
        def ids_flow_end(self, flows: Any) -> None: ...

    with pytest.raises(PluginError, match="flows"):
        host.register("wrong", Wrong())


def test_a_plugin_that_refuses_to_start_stops_the_engine(host: PluginHost) -> None:
    class Refuses:
        @hookimpl
        def ids_start(self, context: Any) -> None:
            raise UsageError(f"no such file: {context}")

    host.register("refuses", Refuses())
    with pytest.raises(UsageError, match="no such file: options of refuses"):
        host.start(lambda name: f"options of {name}")


def test_reload_collects_what_was_refused(host: PluginHost) -> None:
    class Refuses:
        @hookimpl
        def ids_reload(self, context: Any) -> None:
            raise UsageError("bad rules")

    class Breaks:
        @hookimpl
        def ids_reload(self) -> None:
            raise KeyError("oops")

    host.register("refuses", Refuses())
    host.register("breaks", Breaks())
    errors = host.reload(lambda name: None)
    assert [str(error) for error in errors] == ["bad rules", "plugin breaks failed to reload: KeyError('oops')"]


def test_disabling_a_plugin_that_is_not_installed_is_an_error(host: PluginHost) -> None:
    with pytest.raises(PluginError, match="nonesuch"):
        host.load(disabled=["nonesuch"])


def test_a_veto_that_raises_is_not_consent(host: PluginHost) -> None:
    class Broken:
        @hookimpl
        def ids_veto_block(self) -> str | None:
            raise RuntimeError("database gone")

    host.register("broken", Broken())
    with pytest.raises(RuntimeError):
        host.call_strict("ids_veto_block", address="192.0.2.1", match=None)


class Detector:
    """Looks at streams, and says which."""

    def __init__(self, answer: set[str] | Exception | None) -> None:
        self.answer = answer

    @hookimpl
    def ids_stream(self, chunk: Any) -> None: ...

    @hookimpl
    def ids_interest(self) -> set[str] | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class SilentDetector:
    """Looks at packets, and does not say which."""

    @hookimpl
    def ids_packets(self) -> None: ...


EVERYTHING = {"tcp", "udp", "other"}


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ([], set()),
        ([Recorder("output", [])], set()),
        ([Detector({"tcp"}), Detector({"udp"})], {"tcp", "udp"}),
        ([Detector(set())], set()),
        ([Detector({"tcp"}), Detector(None)], EVERYTHING),
        ([Detector({"tcp"}), SilentDetector()], EVERYTHING),
        ([Detector({"tcp"}), Detector(ValueError("oops"))], EVERYTHING),
    ],
    ids=["nobody", "an output", "two", "nothing", "all", "one does not say", "one fails"],
)
def test_the_interest_of_all_plugins_is_everything_in_doubt(
    host: PluginHost, plugins: list[object], expected: set[str]
) -> None:
    for number, plugin in enumerate(plugins):
        host.register(f"plugin{number}", plugin)
    assert host.interest() == expected


class Reloading:
    """Loads something new, and puts it in force when asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.loaded = error, "old"

    @hookimpl
    def ids_reload(self) -> Any:
        if self.error:
            raise self.error

        def commit() -> None:
            self.loaded = "new"

        return commit


def test_a_reload_takes_effect_in_every_plugin_or_in_none(host: PluginHost) -> None:
    good, bad = Reloading(), Reloading(UsageError("bad rules"))
    host.register("good", good)
    host.register("bad", bad)
    assert [str(error) for error in host.reload(lambda name: None)] == ["bad rules"]
    assert good.loaded == "old"
    bad.error = None
    assert host.reload(lambda name: None) == []
    assert (good.loaded, bad.loaded) == ("new", "new")


@pytest.mark.parametrize("answer", ["a match", 7, ["no match"], {}])
def test_an_answer_that_is_no_list_of_matches_is_the_plugins_failure(
    host: PluginHost, counters: Counters, answer: Any
) -> None:
    class Odd:
        @hookimpl
        def ids_stream(self) -> Any:
            return answer

    host.register("odd", Odd())
    assert host.matches("ids_stream", chunk=None) == []
    assert counters["plugin.odd.failures"] == 1


class Reader:
    """An output, and which types it says it reads."""

    def __init__(self, answer: set[str] | Exception | None) -> None:
        self.answer = answer

    @hookimpl
    def ids_events(self) -> None: ...

    @hookimpl
    def ids_event_types(self) -> set[str] | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class SilentReader:
    """An output of the convenient form, which does not say what it reads."""

    @hookimpl
    def ids_event(self) -> None: ...


class Talker:
    """Says what it reads, and reads nothing."""

    @hookimpl
    def ids_event_types(self) -> set[str]:
        return {"http"}


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        ([], set()),
        ([Reader({"alert"}), Reader({"flow"})], {"alert", "flow"}),
        ([Reader(set())], set()),
        ([Reader({"alert"}), Talker()], {"alert"}),
        ([Reader({"alert"}), Reader(None)], None),
        ([Reader({"alert"}), SilentReader()], None),
        ([Reader({"alert"}), Reader(ValueError("oops"))], None),
    ],
    ids=["nobody", "two", "nothing", "one that reads none", "all", "one does not say", "one fails"],
)
def test_the_event_types_that_somebody_reads_are_all_in_doubt(
    host: PluginHost, plugins: list[object], expected: set[str] | None
) -> None:
    for number, plugin in enumerate(plugins):
        host.register(f"plugin{number}", plugin)
    assert host.event_types() == expected


class Picky:
    """Finds something in every chunk but one."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    @hookimpl
    def ids_stream(self, chunk: Any) -> list[Match]:
        self.seen.append(chunk)
        if chunk == 2:
            raise ValueError("hostile")
        return [make_match(number=chunk)]


def test_a_hook_that_is_called_one_at_a_time_loses_one_call(host: PluginHost, counters: Counters) -> None:
    picky = Picky()
    host.register("picky", picky)
    found = host.matches_of_each("ids_stream", "chunk", iter([1, 2, 3]))
    assert [(match.number, match.detector) for match in found] == [(1, "picky"), (3, "picky")]
    host.each("ids_stream", "chunk", [4])
    assert picky.seen == [1, 2, 3, 4]
    assert counters["plugin.picky.failures"] == 1


@pytest.mark.parametrize("commit", [True, False])
def test_what_was_prepared_waits_for_its_word(host: PluginHost, commit: bool) -> None:
    """Other processes may refuse what this one accepts."""
    plugin = Reloading()
    host.register("plugin", plugin)
    errors, put_in_force = host.prepare_reload(lambda name: None)
    assert (errors, plugin.loaded) == ([], "old")
    if commit:
        put_in_force()
    assert plugin.loaded == ("new" if commit else "old")


def test_a_plugin_that_fails_to_put_its_settings_in_force_does_not_keep_others_from_it(
    host: PluginHost, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaks:
        @hookimpl
        def ids_reload(self) -> Any:
            return oops.pop

    oops: list[int] = []
    good = Reloading()
    host.register("breaks", Breaks())
    host.register("good", good)
    errors, put_in_force = host.prepare_reload(lambda name: None)
    assert errors == []
    (failed,) = put_in_force()
    assert str(failed) == "plugin breaks failed to put in force what it has loaded: IndexError('pop from empty list')"
    assert good.loaded == "new"
    assert counters["plugin.breaks.failures"] == 1
    assert "pop from empty list" in caplog.text
