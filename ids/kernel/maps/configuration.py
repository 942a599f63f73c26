"""What the settings mean to the program: the sizes of its maps, and its configuration (``struct ids_config``)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ids.kernel.contract import Flags, LimitKind
from ids.kernel.settings import PAGE_BYTES, FastPathSettings

_SECOND_NS = 1_000_000_000

TCP_SYNCOOKIES = Path("/proc/sys/net/ipv4/tcp_syncookies")
"""For IPv6 too. 0: never, 1: when a listener's queue is full, 2: always (the kernel's ip-sysctl documentation)."""
CONNTRACK_LOOSE = Path("/proc/sys/net/netfilter/nf_conntrack_tcp_loose")
"""0: a firewall holds a connection for invalid whose SYN it has not seen; missing where conntrack is not in use."""


EVENT_RING_BYTES = 1 << 16
"""512 events: a budget that begins to refuse is one, and the engine reads them every second."""


def map_sizes(settings: FastPathSettings) -> dict[str, int]:
    """Return the number of entries, or bytes, of each map that a setting sizes."""
    sizes = {"ids_events": EVENT_RING_BYTES, "ids_claims": settings.blocks_entries}
    sizes["ids_fragments"], sizes["ids_repeats"] = settings.fragments_entries, settings.repeats_entries
    sizes["ids_src_budgets"] = sizes["ids_dst_budgets"] = settings.budgets_entries
    for family in ("4", "6"):
        sizes["ids_block" + family] = settings.blocks_entries
        sizes["ids_prefix" + family] = settings.prefixes_entries
        sizes["ids_allow" + family] = settings.allow_entries
        sizes["ids_flows" + family] = settings.flows_entries
        sizes["ids_proven" + family] = settings.proven_entries
    return sizes


def ring_bytes(settings: FastPathSettings, workers: int) -> dict[str, int]:
    """Return the size of each worker's rings: what the settings have for all, in powers of two and at least a page."""
    totals = {"ids_small": settings.ring_small_bytes, "ids_large": settings.ring_large_bytes}
    return {name: max(PAGE_BYTES, 1 << (total // workers).bit_length() - 1) for name, total in totals.items()}


def limits(settings: FastPathSettings) -> list[tuple[float, int]]:
    """Return the rate and burst of each `LimitKind`, in its order."""
    return [
        (settings.syn_per_source_per_s, settings.syn_burst_per_source),
        (settings.udp_per_source_per_s, settings.udp_burst_per_source),
        (settings.icmp_per_source_per_s, settings.icmp_burst_per_source),
        (settings.syn_per_destination_per_s, settings.syn_burst_per_destination),
        (settings.udp_per_destination_per_s, settings.udp_burst_per_destination),
        (settings.icmp_per_destination_per_s, settings.icmp_burst_per_destination),
        (settings.reflected_per_destination_per_s, settings.reflected_burst_per_destination),
        (settings.syn_repeated_per_destination_per_s, settings.syn_repeated_burst_per_destination),
    ]


def limit_value(per_s: float, burst: int) -> tuple[int, int]:
    """Return (interval_ns, burst_ns) of a rate and a burst, as `contract.LIMIT` has them; (0, 0) for no limit."""
    if not per_s:
        return 0, 0
    interval_ns = max(1, round(_SECOND_NS / per_s))
    return interval_ns, (burst - 1) * interval_ns


def write_settings(config: np.void, settings: FastPathSettings) -> None:
    """Write limits and depths into a configuration: one item of dtype `contract.CONFIG`.

    Its secrets are made up once, and kept from then on. Shadow mode, and whether tunnels are looked into, stay as
    they are: they are no settings of the fast path.
    """
    config["depth_tcp"] = settings.depth_tcp_bytes
    config["depth_udp"] = settings.depth_udp_bytes
    config["depth_other"] = settings.depth_other_bytes
    config["limits"][: len(LimitKind)] = [limit_value(*pair) for pair in limits(settings)]
    config["reflection_bytes"] = settings.reflection_bytes
    config["thin_after_bytes"] = settings.thin_after_bytes
    config["proven_ns"] = settings.proven_s * _SECOND_NS
    config["gone_after_ns"] = settings.gone_after_s * _SECOND_NS
    flags = Flags.DROP_UNPARSED * (settings.unparsed == "drop")
    flags |= Flags.CHALLENGE * settings.challenge_syns | Flags.GONE_PASS * (settings.when_gone == "pass")
    config["flags"] = flags | int(config["flags"]) & (Flags.SHADOW | Flags.TUNNELS)
    if not config["secret"].any():
        config["secret"] = np.frombuffer(os.urandom(16), dtype=np.uint64)
    if not config["worker_seed"]:
        config["worker_seed"] = int.from_bytes(os.urandom(8), "little") | 1


def write_shadow(config: np.void, on: bool) -> None:
    """Have the program drop nothing and only count what it would have dropped, or drop."""
    config["flags"] = int(config["flags"]) & ~Flags.SHADOW | Flags.SHADOW * on


def is_shadow(config: np.void) -> bool:
    """Return whether the program only counts what it would have dropped."""
    return bool(int(config["flags"]) & Flags.SHADOW)


def host_takes_cookies() -> bool:
    """Whether this network namespace's kernel makes SYN cookies, and takes the acknowledgements of such as we sent."""
    return _read(TCP_SYNCOOKIES) not in ("0", "") and _read(CONNTRACK_LOOSE) != "0"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # a kernel without SYN cookies, or without conntrack
        return ""
