"""A block that does not bite is noticed: its source goes on, and the kernel counts what it sends."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection

from ids.live.bites import LOOK_S, LOOKS, MAX_SUSPECTS, SETTLE_S, BiteWatch
from ids.types import IPAddress, IPNetwork

SOURCE, OTHER = ipaddress.ip_network("192.0.2.66/32"), ipaddress.ip_network("2001:db8:66::/64")


class Kernel:
    """Counts what networks sent, as `FastPath.sent_by`."""

    def __init__(self) -> None:
        self.sent: Counter[IPNetwork] = Counter()
        self.looks = 0
        self.allowed: set[IPAddress] = set()

    def sent_by(self, networks: Collection[IPNetwork]) -> Counter[IPNetwork]:
        self.looks += 1
        return Counter({network: self.sent[network] for network in networks})


def watch_of(kernel: Kernel, way: str = "eth0") -> BiteWatch:
    return BiteWatch(kernel.sent_by, lambda address: address in kernel.allowed, ["eth1"], 60, lambda address: way)


def test_a_source_that_goes_on_is_counted_and_logged_with_the_way_by_which_it_comes() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    kernel.sent[SOURCE] = 7
    watch.suspect(SOURCE, 0)
    assert not watch.check(SETTLE_S)
    kernel.sent[SOURCE] = 20
    assert watch.check(SETTLE_S + LOOK_S) == {SOURCE: 13}
    warning = watch.warning(10)
    for part in ("192.0.2.66/32 (13 packets)", "the way to it is eth0", "guarded: eth1", "-i"):
        assert part in warning
    assert watch.warning(11) == "", "once in a period"


def test_where_the_way_is_guarded_or_unknown_none_is_blamed() -> None:
    for way in ("eth1", ""):
        kernel = Kernel()
        watch = watch_of(kernel, way)
        watch.suspect(SOURCE, 0)
        watch.check(SETTLE_S)
        kernel.sent[SOURCE] = 1
        watch.check(SETTLE_S + LOOK_S)
        assert "the way to it" not in watch.warning(10)


def test_what_was_under_way_when_the_block_was_written_is_no_sign() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    watch.suspect(SOURCE, 0)
    kernel.sent[SOURCE] = 5
    for second in range(60):
        assert not watch.check(second)
    assert kernel.looks == LOOKS + 1, "then nobody looks any more"
    assert watch.warning(60) == ""


def test_who_is_silent_at_first_is_looked_at_again_when_a_rule_asks_again() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    watch.suspect(SOURCE, 0)
    for second in range(60):
        watch.check(second)
    watch.suspect(SOURCE, 60)
    watch.check(60 + SETTLE_S)
    kernel.sent[SOURCE] += 1
    assert watch.check(60 + SETTLE_S + LOOK_S) == {SOURCE: 1}


def test_a_source_that_was_let_in_meanwhile_may_go_on() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    watch.suspect(SOURCE, 0)
    watch.check(SETTLE_S)
    kernel.sent[SOURCE] = 5
    kernel.allowed.add(SOURCE.network_address)
    assert not watch.check(SETTLE_S + LOOK_S)


def test_a_block_that_bit_is_not_looked_at() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    watch.suspect(SOURCE, 0)
    watch.clear(SOURCE)
    watch.check(100)
    assert kernel.looks == 0


def test_many_blocks_cost_one_look_and_the_warning_names_a_few() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    networks = [ipaddress.ip_network((0xC0000200 + i, 32)) for i in range(2 * MAX_SUSPECTS)]
    for network in [OTHER, *networks]:
        watch.suspect(network, 0)
    watch.check(SETTLE_S)
    kernel.sent.update([*networks, OTHER])
    assert set(watch.check(SETTLE_S + LOOK_S)) == set(networks[-MAX_SUSPECTS:])
    assert kernel.looks == 2
    assert watch.warning(10).count("/32") == 3


def test_flows_that_ended_do_not_count_against_a_source() -> None:
    kernel = Kernel()
    watch = watch_of(kernel)
    kernel.sent[SOURCE] = 50
    watch.suspect(SOURCE, 0)
    watch.check(SETTLE_S)
    kernel.sent[SOURCE] = 3
    assert not watch.check(SETTLE_S + LOOK_S)
    kernel.sent[SOURCE] = 4
    assert watch.check(SETTLE_S + 2 * LOOK_S) == {SOURCE: 1}
