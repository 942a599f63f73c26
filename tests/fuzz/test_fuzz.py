"""Every target runs a while in each test run, makes something of its seeds, and finds what is planted."""

from __future__ import annotations

import gc
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from ids.decode import Decoder
from ids.protocols.dns.parser import DnsFlow
from ids.protocols.http.connection import Connection
from ids.protocols.made import Made
from ids.protocols.ssh.parser import SshConnection
from tests.fuzz import loop
from tests.fuzz.__main__ import main
from tests.fuzz.cases import Step, as_file, changed, lengthy, of_file, varied
from tests.fuzz.catalogue import PARSERS, SUBJECTS, Catalogue
from tests.fuzz.loop import Run
from tests.fuzz.outcome import Outcome
from tests.fuzz.reached import Reached
from tests.fuzz.seeds import Seeds, seeds
from tests.fuzz.subjects import Parser, PromiseBroken, least_of
from tests.fuzz.targets import TARGETS
from tests.shared import ROOT

pytestmark = pytest.mark.long

STEPS = 4
EXECUTIONS = 60
CASE = ((0, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"), (1, b"HTTP/1.1 200 OK\r\n\r\n"))


@pytest.fixture(scope="module")
def known() -> Seeds:
    """Few seeds: the project's own captures, and some of the peer's where they are."""
    return Seeds(sorted([*ROOT.glob("pcaps/*.pcap*"), *seeds().paths[:40]]))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Subjects with the seeds that are always here: those made by hand, and of the project's own captures."""
    return Catalogue(Seeds(sorted(ROOT.glob("pcaps/*.pcap*"))))


def ran(catalogue: Catalogue, name: str, folder: Path, executions: int = EXECUTIONS) -> Outcome:
    return Run(name, catalogue.make(name), 20, folder).go(executions)


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_input_breaks_a_parser(name: str, catalogue: Catalogue, tmp_path: Path) -> None:
    outcome = ran(catalogue, name, tmp_path, 10 if "rules" in name else EXECUTIONS)
    assert not outcome.failures
    assert outcome.made > 0


@pytest.mark.parametrize("name", TARGETS)
def test_no_promise_is_broken(name: str, known: Seeds) -> None:
    with closing(TARGETS[name](known)) as target:
        assert sum(target.step(np.random.default_rng([20, step])) for step in range(STEPS)) >= STEPS * 64


def fail(_: object) -> None:
    raise KeyError("planted")


def planted(monkeypatch: pytest.MonkeyPatch, of: type, name: str, before: Any) -> None:
    """Have something done before each call of a method."""
    real = getattr(of, name)

    def called(self: Any, *arguments: Any) -> Any:
        before(self)
        return real(self, *arguments)

    monkeypatch.setattr(of, name, called)


def test_a_parser_that_raises_is_found_once_and_its_input_kept(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, DnsFlow, "_message", fail)
    outcome = ran(catalogue, "dns.udp", tmp_path)
    assert outcome.failed > len(outcome.failures) == 1
    (again,) = outcome.failures.values()
    (kept,) = tmp_path.iterdir()
    assert again == f"python -m tests.fuzz dns.udp --input {kept}"
    assert again in capsys.readouterr().err
    with pytest.raises(KeyError, match="planted"):
        main(again.split()[3:])


def test_bytes_that_no_flow_gives_back_are_found(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted(monkeypatch, SshConnection, "feed", lambda flow: flow._shared.pool.take(1))
    (place,) = ran(catalogue, "ssh.tcp", tmp_path).failures
    assert place == "Pool holds N bytes of no flow"


def test_a_list_that_grows_with_the_flow_is_found(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted(monkeypatch, Connection, "feed", lambda flow: flow.waiting.extend([None] * 20_001))
    run = Run("http.tcp", catalogue.make("http.tcp"), 20, tmp_path, long_every=EXECUTIONS // 4)
    assert any("items" in place for place in run.go(EXECUTIONS).failures)


def test_an_input_that_takes_too_long_is_found(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loop, "LEAST_WORST_S", 0.0)
    monkeypatch.setattr(loop, "BASE_S", -1e9)
    assert any("it took" in place for place in ran(catalogue, "ntp.udp", tmp_path).failures)


def test_an_input_without_end_is_broken_off(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def turn(_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(loop, "HANG_S", 0.01)
    planted(monkeypatch, DnsFlow, "_message", turn)
    (place,) = ran(catalogue, "dns.udp", tmp_path, 1).failures
    assert place.startswith("Hung")


def test_a_row_outside_of_the_bytes_is_found(known: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Decoder.decode

    def too_far(self: Decoder, batch: object) -> object:
        packets = decode(self, batch)  # type: ignore[arg-type]
        packets.payload_len[packets.usable] += 1 << 20
        return packets

    monkeypatch.setattr(Decoder, "decode", too_far)
    with closing(TARGETS["decode"](known)) as target, pytest.raises(PromiseBroken, match="outside"):
        target.step(np.random.default_rng(1))


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second = ([varied(CASE, CASE, rng) for _ in range(50)] for rng in (Random(3), Random(3)))
    assert first == second
    assert len({tuple(steps) for steps in first}) > 40


def test_of_datagrams_none_is_cut_or_missing() -> None:
    rng = Random(4)
    for _ in range(100):
        assert not any(step.gap or step.closed for step in varied(CASE, CASE, rng, whole=True))


def test_what_is_changed_stays_within_its_bounds() -> None:
    rng = Random(5)
    assert max(len(changed(b"12345678" * 2048, b"other", rng)) for _ in range(300)) <= 16 * 1024
    assert changed(b"", b"", rng) is not None
    assert sum(len(step.data) for step in lengthy(CASE, CASE, rng)) < 1 << 20


def test_an_input_is_read_as_it_was_written(tmp_path: Path) -> None:
    steps = [Step(0, b"\0\xff"), Step(1, b"", 7), Step(0, b"", 0, True)]
    as_file(tmp_path / "one.json", "dns.tcp", steps)
    assert of_file(tmp_path / "one.json") == steps


def test_the_lines_that_an_input_reaches_are_known() -> None:
    reached = Reached([Path(changed.__code__.co_filename)])
    assert reached.run(lambda: changed(b"abc", b"", Random(1)))
    assert not reached.run(lambda: changed(b"abc", b"", Random(1)))
    assert 0 < reached.share < 1
    assert reached.missing()


def test_every_parser_is_also_run_with_the_least_of_its_bounds(catalogue: Catalogue) -> None:
    for name in PARSERS:
        subject = catalogue.make(name)
        assert isinstance(subject, Parser)
        settings = subject.protocol.settings
        if settings is not None:
            least = settings.model_validate(least_of(settings))
            assert getattr(least, "memcap_bytes", 0) <= 1 << 20


def test_buffers_that_are_made_on_demand_leave_no_cycle() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            made: Made[int] = Made({"a": lambda number: (b"%d" % number,)}, 1)
            assert (made.further.get("a"), made["a"]) == (None, b"1")
        del made
        assert gc.collect() == 0
    finally:
        gc.enable()
