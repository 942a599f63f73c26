"""Shadow mode: what the program would drop or challenge passes, is shown, and counts under why it would have died."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.kernel import FastPath, FlowVerdict
from ids.kernel.contract import BlockFlag, LimitKind, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.kernel.system import syscall
from ids.types import address_halves
from tests.kernel import packets as p
from tests.kernel.conftest import settings
from tests.kernel.gate import SHOWN, XDP_PASS, Gate
from tests.kernel.packets import HANDSHAKE
from tests.kernel.parsed import PARSED
from tests.kernel.senders import ping
from tests.kernel.test_egress import GO_ON, Exit, _program, exit_  # noqa: F401
from tests.kernel.test_floods import BUDGETS
from tests.kernel.test_lifecycle import inside
from tests.kernel.test_start import IDS

pytestmark = [pytest.mark.root, pytest.mark.xdp]
SECOND_NS = 10**9


@pytest.fixture
def shadow(gate: Gate) -> Iterator[Gate]:
    """The gate in shadow mode."""
    gate.fastpath.shadow(True)
    yield gate
    gate.fastpath.shadow(False)


MALFORMED = [row for row in PARSED if "DROP" in row[2].name]


@pytest.mark.parametrize(("packet", "reason"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_malformed_packets_pass(shadow: Gate, packet: bytes, reason: Reason) -> None:
    verdict = shadow.send(packet)
    assert (verdict.action, verdict.reason) == (XDP_PASS, Reason.PASS_SHADOW_MALFORMED)
    assert verdict.would == {reason}


@pytest.mark.parametrize(
    ("network", "mode", "reason"),
    [
        ("192.0.2.7/32", BlockFlag.ENFORCE, Reason.DROP_BLOCKED),
        ("192.0.2.7/32", BlockFlag.SHADOW, Reason.DROP_BLOCKED),
        ("192.0.2.0/24", BlockFlag.ENFORCE, Reason.DROP_BLOCKED_PREFIX),
        ("192.0.2.0/24", BlockFlag.SHADOW, Reason.DROP_BLOCKED_PREFIX),
    ],
)
def test_blocked_sources_pass_and_the_entry_counts(shadow: Gate, network: str, mode: BlockFlag, reason: Reason) -> None:
    shadow.block(network, mode=mode)
    verdict = shadow.send(p.DATA)
    assert (verdict.action, verdict.reason, set(verdict.would)) == (XDP_PASS, SHOWN, {reason})
    assert shadow.block_entry(network)["packets"] == 1
    shadow.allow("192.0.2.7")
    assert shadow.send(p.DATA).would == set(), "an allowed source would not be dropped"


@pytest.mark.parametrize(("kind", "packets", "reason"), BUDGETS)
@pytest.mark.parametrize("challenging", [False, True])
def test_budgets_let_pass(
    shadow: Gate, kind: LimitKind, packets: list[bytes], reason: Reason, challenging: bool
) -> None:
    if not challenging:
        shadow.fastpath.config["flags"] &= 8
    if challenging and reason == Reason.DROP_SYN_DESTINATION:
        reason = Reason.DROP_CHALLENGED
    shadow.limit(kind, per_s=1, burst=2)
    verdicts = [shadow.send(packet) for packet in packets]
    assert [(verdict.action, verdict.reason) for verdict in verdicts] == [(XDP_PASS, SHOWN)] * 4
    assert [verdict.would for verdict in verdicts] == [set(), set(), {reason}, {reason}]


def test_a_challenge_is_neither_sent_nor_are_resets_taken_for_answers(shadow: Gate) -> None:
    shadow.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    shadow.send(p.SYN)
    shadow.fastpath.config["now_ns"] = shadow.now_ns
    run = syscall.prog_test_run(shadow.fastpath.program, p.SYN)
    assert (run.action, run.data) == (XDP_PASS, p.SYN), "the packet is what it was"
    assert shadow.send(p.wire(p.IP4, p.tcp("R"))).reason == SHOWN


def condemn(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    flow = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
    assert gate.fastpath.set_flow(flow, FlowVerdict.DROP)


def test_condemned_flows_go_on_and_are_shown_in_both_directions(shadow: Gate) -> None:
    condemn(shadow)
    for packet in (p.DATA, p.wire(p.IP4_BACK, p.reply("A"), b"an answer")):
        verdict = shadow.send(packet)
        assert (verdict.action, verdict.reason, set(verdict.would)) == (XDP_PASS, SHOWN, {Reason.DROP_FLOW})


def test_condemned_flows_go_on_on_the_way_out(shadow: Gate, exit_: Exit) -> None:  # noqa: F811
    condemn(shadow)
    before = shadow.fastpath.stats()["would_drop.flow"][0]
    assert exit_.send(p.wire(p.IP4_BACK, p.reply("A"), b"an answer")) == (GO_ON, SHOWN)
    assert shadow.fastpath.stats()["would_drop.flow"][0] == before + 1


def test_what_would_be_dropped_is_counted_once_and_charged_to_nothing_else(shadow: Gate) -> None:
    """Behind a drop, nothing else would have seen it."""
    shadow.limit(LimitKind.SRC_SYN, per_s=0.001, burst=1)
    shadow.block("192.0.2.7")
    shadow.block("192.0.2.0/24")
    assert {shadow.send(p.SYN).would for _ in range(4)} == {frozenset({Reason.DROP_BLOCKED})}
    assert not list(shadow.fastpath.maps["ids_src_budgets"])


def test_shadow_ends_with_the_next_packet_and_survives_a_change_of_limits(gate: Gate) -> None:
    gate.block("192.0.2.7")
    gate.fastpath.shadow(True)
    gate.fastpath.configure(gate.fastpath.settings)
    assert gate.send(p.DATA).reason == SHOWN
    gate.fastpath.shadow(False)
    assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED


def test_a_condemned_flow_does_not_count_as_dropped(shadow: Gate) -> None:
    """Or its `flow` event would say so."""
    condemn(shadow)
    for on, dropped in ((True, False), (False, True)):
        shadow.fastpath.shadow(on)
        assert shadow.send(p.DATA).reason == (Reason.DROP_FLOW if dropped else SHOWN)


@pytest.mark.lab
def test_an_engine_in_shadow_loses_no_ping_and_stats_says_what_would_have_died(
    bpffs: Path, veth: tuple[str, str, str], tmp_path: Path
) -> None:
    """Pings 3 ms apart lost 27% to a budget."""
    namespace, interface, peer = veth
    small = settings(bpffs, icmp_per_source_per_s=10, icmp_burst_per_source=10)
    with inside(namespace):
        fastpath = FastPath.open(small, "shadowed")
        try:
            fastpath.shadow(True)
            fastpath.attach(interface)
            with inside(peer):
                answered = ping("192.0.2.1", 333, 300)
            options = ["--set", f"fastpath.pin_dir={bpffs}", "--set", "instance=shadowed", "-o", "json"]
            shown = subprocess.run(
                [*IDS, "stats", *options],
                check=True, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
        finally:
            fastpath.close("remove")
    assert answered > 200, "but for what a veth's queue of 256 lost on a busy machine; the budget leaves a few dozen"
    stats = json.loads(shown.stdout)
    assert stats["shadow"] is True
    assert stats["kernel"]["would_drop.icmp_source"]["packets"] > 100
    assert not [name for name in stats["kernel"] if name.startswith("drop.")]
