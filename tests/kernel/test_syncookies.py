"""SYN cookies for this host's own services: made and checked by its kernel, sent by the program, and for no others."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from ids.kernel import FastPath, contract
from ids.kernel.contract import Flags, KernelFlowState, LimitKind, Reason
from ids.kernel.maps import configuration
from ids.kernel.maps.configuration import host_takes_cookies
from ids.kernel.system import syscall
from tests.kernel import packets as p
from tests.kernel.conftest import settings
from tests.kernel.gate import PATIENCE_S, XDP_DROP, XDP_PASS, XDP_TX, Gate
from tests.kernel.test_lifecycle import PORT, Veth, connects, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp]

HERE4, HERE6, BEHIND = "203.0.113.80", "2001:db8:2::80", "198.51.100.80"
"""Addresses of the namespace, and one that it would forward to."""
SHOWN = Reason.PASS_SHOWN
NEVER, WHEN_FULL, ALWAYS = "0", "1", "2"
"""Values of net.ipv4.tcp_syncookies."""


def ip(namespace: str, *arguments: str) -> None:
    subprocess.run(["ip", "-n", namespace, *arguments], check=True, capture_output=True, timeout=20)


def sysctl(namespace: str, name: str, value: str) -> None:
    with inside(namespace):
        Path("/proc/sys/net", name.replace(".", "/")).write_text(value)


@pytest.fixture
def host(gate: Gate, veth: Veth) -> Iterator[str]:
    """A namespace with a listener on port 80 of every address, in which the program runs on the loopback's behalf.

    It forwards, the destination's SYN budget is spent, and its kernel always makes cookies.
    """
    namespace, interface, _ = veth
    ip(namespace, "addr", "add", f"{HERE4}/24", "dev", interface)
    ip(namespace, "addr", "add", f"{HERE6}/64", "dev", interface, "nodad")
    ip(namespace, "route", "add", "198.51.100.0/24", "via", "203.0.113.1")
    for name in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
        sysctl(namespace, name, "1")
    sysctl(namespace, "ipv4.tcp_syncookies", ALWAYS)
    gate.fastpath.config["flags"] = Flags.CHALLENGE | Flags.COOKIES
    with inside(namespace):
        listener = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    with listener:
        yield namespace


def syn(target: str = HERE4, **tcp: object) -> bytes:
    """Return a client's SYN with the usual options."""
    fields = {"sport": 40000, "dport": 80, "flags": "S", "seq": 77, "options": [("MSS", 1400), ("SAckOK", b"")]}
    network = IPv6(src=p.CLIENT6, dst=target) if ":" in target else IP(src=p.CLIENT, dst=target)
    return p.wire(network, TCP(**{**fields, **tcp}))


def ack(answer: Ether, to: bytes, payload: bytes = b"", wrong: int = 0) -> bytes:
    """Return the client's acknowledgement of a SYN/ACK."""
    asked = Ether(to)
    network = IPv6 if IPv6 in asked else IP
    tcp = TCP(sport=40000, dport=80, flags="A", seq=78, ack=answer[TCP].seq + 1 + wrong)
    layers = [asked[Dot1Q].copy()] if Dot1Q in asked else []
    for layer in layers:
        layer.remove_payload()
    return p.wire(*layers, network(src=asked[network].src, dst=asked[network].dst), tcp, payload)


@contextmanager
def spent(gate: Gate, namespace: str) -> Iterator[None]:
    """Be in the namespace with the destinations' budgets spent, so that every SYN is beyond them."""
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    with inside(namespace):
        for target in (HERE4, HERE6, BEHIND):
            gate.send(syn(target, sport=1, options=[]))
        yield


def forget(gate: Gate) -> None:
    """Forget who is proven, and every flow."""
    for table in ("ids_flows4", "ids_flows6", "ids_proven4", "ids_proven6"):
        for key in list(gate.fastpath.maps[table]):
            gate.fastpath.maps[table].delete(key)


def answer_to(gate: Gate, packet: bytes) -> Ether:
    gate.fastpath.config["now_ns"] = gate.now_ns
    run = syscall.prog_test_run(gate.fastpath.program, packet)
    assert run.action == XDP_TX
    return Ether(run.data)


SYNS = {
    "IPv4": syn(),
    "IPv6": syn(HERE6),
    "VLAN": p.wire(Dot1Q(vlan=5), IP(src=p.CLIENT, dst=HERE4), TCP(sport=40000, dport=80, flags="S", seq=77)),
    "without options": syn(options=[]),
    "all the room for options": syn(options=[("MSS", 1400), *[("NOP", None)] * 36]),
}


@pytest.mark.parametrize("packet", SYNS.values(), ids=SYNS)
def test_a_syn_beyond_the_budget_gets_the_kernels_cookie_and_its_acknowledgement_proves_the_source(
    gate: Gate, host: str, packet: bytes
) -> None:
    with spent(gate, host):
        verdict = gate.send(packet)
        assert (verdict.action, verdict.reason, verdict.notes) == (XDP_TX, Reason.DROP_SYN_COOKIE, frozenset())
        answer = answer_to(gate, packet)
        verdict = gate.send(ack(answer, packet), after_ns=1_000_000)
        assert (verdict.action, verdict.reason) == (XDP_PASS, SHOWN)
        assert verdict.notes == {Reason.NOTE_PROVEN, Reason.NOTE_FLOW_NEW}
        assert gate.send(packet).reason == SHOWN, "the client's next SYN goes to the kernel"


@pytest.mark.parametrize("packet", SYNS.values(), ids=SYNS)
def test_the_answer_is_well_formed_and_no_longer_than_the_syn(gate: Gate, host: str, packet: bytes) -> None:
    with spent(gate, host):
        answer, asked = answer_to(gate, packet), Ether(packet)
    network = IPv6 if IPv6 in asked else IP
    assert (answer.src, answer.dst) == (asked.dst, asked.src)
    assert (answer[network].src, answer[network].dst) == (asked[network].dst, asked[network].src)
    assert (answer[TCP].sport, answer[TCP].dport, str(answer[TCP].flags)) == (80, 40000, "SA")
    assert answer[TCP].ack == 78
    own = 65536 - (60 if network is IPv6 else 40)
    assert answer[TCP].options == ([("MSS", own & 0xFFFF)] if asked[TCP].options else []), "what fits the interface"
    assert answer[TCP].window > 0
    assert len(answer) <= len(packet)
    assert p.filled_in(answer) == bytes(answer), "lengths and checksums are right"


def test_a_wrong_acknowledgement_proves_nothing(gate: Gate, host: str) -> None:
    with spent(gate, host):
        answer = answer_to(gate, syn())
        verdict = gate.send(ack(answer, syn(), wrong=1 << 20))
        assert (verdict.reason, verdict.notes) == (SHOWN, frozenset({Reason.NOTE_FLOW_NEW}))
        assert gate.send(syn()).reason == Reason.DROP_SYN_COOKIE


def test_the_handshake_is_shown_before_the_acknowledgement_that_completes_it(gate: Gate, host: str) -> None:
    """User space follows no connection whose beginning it has not seen: an attacker could hide in a flood."""
    with spent(gate, host):
        gate.shown()
        for packet in (SYNS["IPv4"], SYNS["IPv6"], SYNS["VLAN"]):
            answer = answer_to(gate, packet)
            closing = ack(answer, packet, b"GET / HTTP/1.1\r\n\r\n")
            assert gate.shown() is None, "SYNs that may be forged are not shown"
            gate.send(closing)
            batch = gate.shown()
            assert batch is not None
            frames = [bytes(batch.data[at : at + size]) for at, size in zip(batch.offset, batch.caplen, strict=True)]
            assert batch.unsummed is not None
            assert batch.unsummed.tolist() == [True, True, False]
            opening, reply = Ether(frames[0]), Ether(frames[1])
            assert frames[2] == closing
            assert [str(frame[TCP].flags) for frame in (opening, reply)] == ["S", "SA"]
            assert (opening[TCP].seq, opening[TCP].sport, opening[TCP].dport) == (77, 40000, 80)
            assert (reply[TCP].seq, reply[TCP].ack) == (answer[TCP].seq, 78)
            assert (reply[TCP].sport, reply[TCP].dport) == (80, 40000)
            network = IPv6 if IPv6 in opening else IP
            assert (opening[network].src, opening[network].dst) == (reply[network].dst, reply[network].src)
            assert (Dot1Q in opening) == (Dot1Q in Ether(packet))
            forget(gate)


def test_a_flow_whose_syn_had_passed_is_completed_by_the_cookie_of_its_retry(gate: Gate, host: str) -> None:
    with spent(gate, host):
        gate.limit(LimitKind.DST_SYN, per_s=0, burst=1)
        assert gate.send(syn()).reason == SHOWN, "without a limit"
        gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
        verdict = gate.send(ack(answer_to(gate, syn()), syn()))
        assert (verdict.reason, verdict.notes) == (SHOWN, frozenset({Reason.NOTE_PROVEN}))
        table = gate.fastpath.maps["ids_flows4"]
        flows = [np.frombuffer(table.get(key) or b"", dtype=contract.FLOW)[0] for key in list(table)]
        assert KernelFlowState.ESTABLISHED in [flow["state"] for flow in flows]


def test_what_is_not_for_this_host_is_challenged(gate: Gate, host: str) -> None:
    """A listener on all addresses is none for those that are forwarded."""
    with spent(gate, host):
        assert gate.send(syn(BEHIND)).reason == Reason.DROP_CHALLENGED
        assert gate.send(syn(dport=81)).reason == Reason.DROP_CHALLENGED, "nobody listens"


def test_a_kernel_without_cookies_leaves_the_challenge(gate: Gate, host: str) -> None:
    sysctl(host, "ipv4.tcp_syncookies", NEVER)
    with spent(gate, host):
        assert not host_takes_cookies()
        gate.fastpath.beat()
        assert gate.send(syn()).reason == Reason.DROP_CHALLENGED
        sysctl(host, "ipv4.tcp_syncookies", WHEN_FULL)
        gate.fastpath.beat()
        assert gate.fastpath.config["flags"][0] & Flags.COOKIES, "the host may change its mind"


def test_a_firewall_that_wants_to_see_every_syn_leaves_the_challenge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gate: Gate
) -> None:
    """The kernel has the setting only where conntrack is loaded; a file stands for it."""
    loose = tmp_path / "nf_conntrack_tcp_loose"
    monkeypatch.setattr(configuration, "CONNTRACK_LOOSE", loose)
    for value, taken in (("0", False), ("1", True)):
        loose.write_text(f"{value}\n")
        gate.fastpath.beat()
        assert bool(gate.fastpath.config["flags"][0] & Flags.COOKIES) == taken


def test_a_listener_with_room_sees_syns_at_the_permitted_rate(gate: Gate, host: str) -> None:
    """So its queue fills, and its kernel begins to make cookies."""
    sysctl(host, "ipv4.tcp_syncookies", WHEN_FULL)
    gate.limit(LimitKind.DST_SYN, per_s=100, burst=2)
    with inside(host):
        reasons = [gate.send(syn(sport=port)).reason for port in (1, 2, 3)]
        assert reasons == [SHOWN, SHOWN, Reason.DROP_CHALLENGED]
        later = gate.send(syn(sport=4), after_ns=10**9 // 99)
        assert later.reason == SHOWN, "a token is there; a service behind this host would not see it"


@pytest.mark.parametrize(
    ("target", "refused"), [(HERE4, Reason.DROP_SYN_COOKIE), (BEHIND, Reason.DROP_SYN_DESTINATION)]
)
def test_cookies_do_without_challenges(gate: Gate, host: str, target: str, refused: Reason) -> None:
    gate.fastpath.config["flags"] = Flags.COOKIES
    with spent(gate, host):
        assert gate.send(syn(target)).reason == refused
        gate.limit(LimitKind.DST_SYN, per_s=100, burst=10**6)
        sysctl(host, "ipv4.tcp_syncookies", WHEN_FULL)
        assert gate.send(syn(target)).reason == SHOWN, "within the budget, nothing but a cookie stands in its way"


def test_syns_that_cannot_be_answered_in_place_are_dropped(gate: Gate, host: str) -> None:
    with spent(gate, host):
        options = p.wire(IP(src=p.CLIENT, dst=HERE4, options=[b"\x01\x01\x01\x00"]), TCP(dport=80, flags="S"))
        verdict = gate.send(options)
        assert (verdict.action, verdict.reason) == (XDP_DROP, Reason.DROP_CHALLENGED)


def test_acknowledgements_are_asked_about_only_while_cookies_are_about(gate: Gate, host: str) -> None:
    with spent(gate, host):
        answer = answer_to(gate, syn())
        late = gate.send(ack(answer, syn()), after_ns=61 * 10**9)
        assert late.notes == {Reason.NOTE_FLOW_NEW}, "shown as a connection picked up in its middle"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("mode", ["generic", "native"])
def test_a_real_client_connects_by_cookie_and_talks(
    bpffs: Path, veth: Veth, family: socket.AddressFamily, mode: str
) -> None:
    """Native XDP on a veth sends only to a peer that has NAPI (an XDP program, or GRO); generic XDP to any.

    Where the cookie is lost, the SYN passes when it comes again.
    """
    namespace, interface, peer = veth
    target = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    ip(namespace, "addr", "add", "2001:db8::1/64", "dev", interface, "nodad")
    ip(peer, "addr", "add", "2001:db8::2/64", "dev", f"{namespace}o"[:15], "nodad")
    sysctl(namespace, "ipv4.tcp_syncookies", ALWAYS)
    limits = {"syn_per_destination_per_s": 0.001, "syn_burst_per_destination": 1}
    with inside(namespace):
        opened = FastPath.open(settings(bpffs, **limits), "cookies")
        opened.attach(interface, mode)
        server = socket.create_server((target, 8080), family=family)
    try:
        with server:
            for _ in range(2):
                with inside(peer):
                    client = socket.socket(family)
                with client:
                    client.settimeout(PATIENCE_S)
                    client.connect((target, 8080))
                    accepted, _ = server.accept()
                    with accepted:
                        client.sendall(b"x" * 100_000)
                        client.shutdown(socket.SHUT_WR)
                        received = b""
                        while piece := accepted.recv(1 << 16):
                            received += piece
                        assert received == b"x" * 100_000
        counted = opened.stats()
        assert counted["drop.syn_cookie"][0] == 1, "the first SYN was within the budget"
        assert counted["note.source_proven"][0] >= (mode == "generic")
        assert counted["note.syn_repeated"][0] == (mode == "native"), "no SYN had to be sent again, or one"
        assert counted["drop.syn_challenged"][0] == 0
    finally:
        opened.close("remove")


def test_a_real_client_survives_the_challenge(bpffs: Path, veth: Veth) -> None:
    namespace, interface, peer = veth
    limits = {"syn_per_destination_per_s": 0.001, "syn_burst_per_destination": 1}
    fastpath = FastPath.open(settings(bpffs, **limits), "challenging")
    with inside(namespace):
        # Native XDP on a veth sends only to a peer that has NAPI (an XDP program, or GRO); generic XDP to any.
        fastpath.attach(interface, "generic")
        server = socket.create_server(("192.0.2.1", PORT))
    try:
        with server:
            assert connects(peer), "within the budget"
            for key in list(fastpath.maps["ids_proven4"]):
                fastpath.maps["ids_proven4"].delete(key)
            assert connects(peer), "beyond it: challenged, proven, through"
        counted = fastpath.stats()
        assert counted["drop.syn_challenged"][0] >= 1
        assert counted["drop.challenge_answer"][0] >= 1
    finally:
        fastpath.close("remove")
