"""The fast path as a whole: open (adopting what is pinned), attach, read the counters, detach, close.

What is pinned under ``pin_dir/<instance>``: each map by its name, and each attachment as ``link_<interface>``, on the
way out as `tcx` and `clsact` say, beside others as `dispatcher` says. When the engine dies, program, blocks and
attachments stay; the next `FastPath.open` takes over the maps, and its `attach` exchanges the program of an adopted
link in one step, so that no packet passes unjudged in between.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.attach.dispatcher import Membership, Pin, is_dispatcher
from ids.kernel.attach.egress import EgressView
from ids.kernel.contract import Flags, FlowVerdict
from ids.kernel.flows.entries import FlowAddress, FlowEntries
from ids.kernel.flows.orders import FlowOrders
from ids.kernel.instance import DEFAULT_INSTANCE, attached_interfaces, instance_dir, link_path, name_of, remove_pins
from ids.kernel.lists.allowlist import AllowList
from ids.kernel.lists.blocklist import Blocklist
from ids.kernel.lists.upgrade import renew, upgrade
from ids.kernel.maps.configuration import (
    host_takes_cookies,
    is_shadow,
    map_sizes,
    ring_bytes,
    write_settings,
    write_shadow,
)
from ids.kernel.maps.counts import reason_counts
from ids.kernel.maps.table import Map
from ids.kernel.maps.tunnels import TunnelPorts, write_tunnels
from ids.kernel.program import loader
from ids.kernel.rings.limits import Limit, limits_of
from ids.kernel.rings.pairs import Pair, open_pairs, require_count
from ids.kernel.rings.reader import EventReader, RingReader
from ids.kernel.rings.shares import missed_by
from ids.kernel.settings import FastPathSettings
from ids.kernel.system import syscall
from ids.kernel.system.bpffs import prepare_pin_dir
from ids.kernel.system.clock import sample_offset_ns
from ids.kernel.system.netlink import XdpOnInterface, query_xdp
from ids.paths import bpf_dir
from ids.types import I64, Flow, FlowColumns, FlowCounts, IPAddress, IPNetwork

_MODES = {"native": syscall.XDP_FLAGS_DRV_MODE, "generic": syscall.XDP_FLAGS_SKB_MODE}
_SECOND_NS = 1_000_000_000
BEGINNING_BYTES = 4096
"""Shown of each side of a flow that no rule is interested in: enough to recognise what it is, on any port."""

CALLED_PROGRAMS = ("xdp_challenge",)
"""Programs that the main one calls, in the order of IDS_PROGRAM_* in ``bpf/ids_maps.h``."""


class FastPath:
    """The loaded XDP program with its maps. Use `FastPath.open`."""

    def __init__(
        self,
        settings: FastPathSettings,
        pin_dir: Path,
        maps: dict[str, Map],
        program: int,
        orders: FlowOrders,
        membership: Membership,
        pairs: list[Pair],
        egress: EgressView,
        notes: list[str],
    ) -> None:
        self.settings = settings
        self.pin_dir = pin_dir
        self.maps = maps
        self.program = program
        """Descriptor of the loaded program."""
        self.notes = notes
        """What the operator should know about how it was opened."""
        self.blocks = Blocklist(pin_dir, maps)
        self.allowed = AllowList(pin_dir, maps)
        self.config = maps["ids_config"].view(contract.CONFIG)
        """The program's configuration, shape (1,), dtype `contract.CONFIG`: what is written here holds at once."""
        self.egress = egress
        self._orders = orders
        self._flows = FlowEntries(maps)
        self._membership = membership
        self._pairs = pairs
        self._links: dict[str, int] = {}
        self._rings: RingReader | None = None
        self._events: EventReader | None = None

    @classmethod
    def open(
        cls, settings: FastPathSettings, instance: str = DEFAULT_INSTANCE, workers: int = 1, interfaces: int = 0
    ) -> FastPath:
        """Compile and load the program, adopt or create its maps; raises `KernelError`.

        Flows are spread over ``workers`` pairs of rings, 1 to `contract.MAX_WORKERS`, each with a `reader` of its own.
        Where it is known how many ``interfaces`` will be guarded, what `view_egress` needs is loaded meanwhile.
        """
        require_count(workers)
        pin_dir = instance_dir(settings, instance)
        prepare_pin_dir(pin_dir)
        flags = syscall.F_XDP_HAS_FRAGS if settings.jumbo_frames else 0
        compiled = loader.compile_program(bpf_dir() / "xdp_ids.c", ("-DIDS_FRAGS",) if flags else ())
        sizes = map_sizes(settings)
        upgraded = upgrade(pin_dir, {name: loader.sized(spec, sizes) for name, spec in compiled.specs.items()})
        maps, notes = loader.open_maps(compiled, sizes, pin_dir)
        notes = upgraded + notes
        programs, orders, pairs, egress = list[int](), None, list[Pair](), EgressView(pin_dir, maps)
        try:
            config = maps["ids_config"].view(contract.CONFIG)
            pairs, kept = open_pairs(maps, config, pin_dir, workers, ring_bytes(settings, workers))
            notes += kept
            with ThreadPoolExecutor(1) as beside:
                if interfaces and settings.egress != "off":  # what fails here, fails again where it is wanted
                    beside.submit(egress.prepare, interfaces)
                programs = loader.load_together(compiled, (*CALLED_PROGRAMS, "xdp_ids"), maps, flags)
            for index in range(len(CALLED_PROGRAMS)):
                maps["ids_programs"].set(index.to_bytes(4, "little"), programs[0].to_bytes(4, "little"))
                os.close(programs.pop(0))
            orders = FlowOrders(compiled, maps)
            membership = Membership(pin_dir, compiled, maps)
            opened = cls(settings, pin_dir, maps, programs[0], orders, membership, pairs, egress, notes)
            if not opened.config["version"][0]:
                renew(opened.config, maps)
            opened.config["version"][0] = contract.VERSION
            opened.allowed.changed()
            opened.configure(settings)
        except BaseException:
            for program in programs:
                os.close(program)
            egress.close()
            if orders is not None:
                orders.close()
            for pair in pairs:
                pair.close()
            for table in maps.values():
                table.close()
            raise
        return opened

    def configure(self, settings: FastPathSettings) -> None:
        """Apply the limits and depths of ``settings``; table sizes take effect with the next open of fresh pins."""
        self.settings = settings
        self.config["repeats"][0] = self.maps["ids_repeats"].spec.max_entries
        write_settings(self.config[0], settings)
        self.config["flags"][0] |= Flags.APART
        self._follow_host()
        for name in ("small", "large"):  # the ring's own size: an adopted one may differ from the setting
            self.config[f"thin_{name}_bytes"][0] = getattr(self._pairs[0], name).spec.max_entries * 3 // 4

    def _follow_host(self) -> None:
        """Send SYN cookies only while the host would take their acknowledgements; it may change its mind."""
        wanted = self.settings.syn_cookies and host_takes_cookies()
        self.config["flags"][0] = (int(self.config["flags"][0]) & ~Flags.COOKIES) | Flags.COOKIES * wanted

    def shadow(self, on: bool) -> None:
        """Drop and challenge nothing, and count what would have been: `would_drop.*`; or drop (again).

        Holds for lists, budgets, shapes and condemned flows alike, from the next packet on, until it is changed.
        """
        write_shadow(self.config[0], on)

    def narrow(self, wanted: set[str]) -> None:
        """Show only the beginnings of flows in which no loaded rule or plugin is interested.

        ``wanted`` has some of ``tcp``, ``udp`` and ``other``. Takes effect with the next packet.
        """
        settings = self.settings
        for name in ("tcp", "udp", "other"):
            depth = getattr(settings, f"depth_{name}_bytes")
            self.config[f"depth_{name}"][0] = depth if name in wanted else min(depth, BEGINNING_BYTES)

    def look_into(self, ports: TunnelPorts | None) -> None:
        """Look into tunnels: show all of them, whatever the depth, and ask the lists for who sends within them.

        ``ports`` are the UDP ports of VXLAN, Geneve and Teredo; None: look into none, also of GRE and IP in IP.
        """
        write_tunnels(self.config[0], self.maps["ids_tunnels"].view(contract.TUNNEL_PORTS)["kinds"][0], ports)

    def show_all(self, ports: Sequence[int]) -> None:
        """Show every worker the TCP connections at these ports: no more than `contract.SHARED_PORTS`."""
        self.config["shared_port_be"][0] = [*map(socket.htons, ports), *[0] * (contract.SHARED_PORTS - len(ports))]

    def attach(self, ifname: str, mode: str | None = None) -> str:
        """Attach to an interface, or take over our own pinned attachment; return ``native`` or ``generic``.

        ``mode`` is ``auto``, ``native`` or ``generic`` (None: the setting). Another program that is attached is never
        replaced: libxdp's dispatcher is joined, in the mode that it has, any other is a `KernelError`.
        """
        path = link_path(self.pin_dir, ifname)
        present = query_xdp(ifname)
        pinned = syscall.obj_get(str(path))
        if pinned is not None:
            ours = present.program_id and present.program_id == syscall.link_program_id(pinned)
            if ours:
                syscall.link_update(pinned, self.program)
                self._keep_link(ifname, pinned)
                return present.mode or "native"
            os.close(pinned)
            path.unlink()
        if present.program_id and is_dispatcher(present.program_id):
            self._join(ifname, present)
            return present.mode
        self._membership.leave(ifname)
        if present.program_id:
            raise KernelError(
                f"{ifname} already has an XDP program: {describe_program(present.program_id)}, {present.mode}",
                _remedy(self.pin_dir, ifname, present.program_id),
            )
        wanted = mode or self.settings.mode
        link, got = self._create_link(ifname, ["native", "generic"] if wanted == "auto" else [wanted])
        self._keep_link(ifname, link)
        syscall.obj_pin(link, str(path))
        return got

    def _keep_link(self, ifname: str, link: int) -> None:
        former = self._links.get(ifname)
        if former is not None:  # of an interface that had this name before
            os.close(former)
        self._links[ifname] = link

    def _join(self, ifname: str, present: XdpOnInterface) -> None:
        if self.settings.jumbo_frames:
            raise KernelError(
                f"{ifname} has libxdp's dispatcher, which takes our program for packets of one buffer only",
                "Unset `jumbo_frames`, or take the other programs off (xdp-loader unload --all)",
            )
        self._membership.join(ifname, present, answers=self.settings.challenge_syns or self.settings.syn_cookies)

    def _create_link(self, ifname: str, modes: list[str]) -> tuple[int, str]:
        for mode in modes:
            try:
                return syscall.link_create(self.program, socket.if_nametoindex(ifname), _MODES[mode]), mode
            except OSError as error:
                failure = error
        detail = os.strerror(failure.errno or 0)
        if failure.errno == errno.EPERM:
            raise KernelError(f"cannot attach to {ifname}: {detail}", "Run as root, or with CAP_NET_ADMIN and CAP_BPF")
        raise KernelError(
            f"cannot attach to {ifname} in {' or '.join(modes)} mode: {detail}",
            "Set `jumbo_frames` for an MTU above 3506, switch off the interface's LRO, or set `mode` to generic",
        )

    def keep_only(self, ifnames: Sequence[str]) -> list[str]:
        """Take the program off interfaces that are pinned and not among these; return which.

        What an earlier start guarded and this one does not would go on with a program of its own, on shared maps.
        """
        others = [ifname for ifname in self.attached() if ifname not in ifnames]
        for ifname in others:
            self.detach(ifname)
        return others

    def view_egress(self, ifnames: Sequence[str]) -> list[str]:
        """See what this host sends, as the setting says; return through which of its guarded interfaces.

        Nothing else shows the replies of its own services, and a connection is inspected only when both sides are
        seen. Raises `KernelError` where the kernel cannot.
        """
        wanted = [] if self.settings.egress == "off" else list(ifnames)
        self.egress.attach(wanted)
        return wanted

    def detach(self, ifname: str) -> None:
        """Take the programs off an interface; their pins go too."""
        self.egress.detach(ifname)
        link = self._links.pop(ifname, None)
        if link is None:
            link = syscall.obj_get(str(link_path(self.pin_dir, ifname)))
        if link is not None:
            syscall.link_detach(link)
            os.close(link)
        link_path(self.pin_dir, ifname).unlink(missing_ok=True)
        self._membership.leave(ifname)

    def attached(self) -> list[str]:
        """Return the interfaces with a pinned attachment of this instance."""
        return attached_interfaces(self.pin_dir)

    def follow(self, ifname: str) -> str:
        """Take over our pinned attachment of an interface that has another name by now; return that, empty for none."""
        link = syscall.obj_get(str(link_path(self.pin_dir, ifname)))
        if link is None:
            return ""
        name = name_of(link)
        if not name:
            os.close(link)
            return ""
        syscall.link_update(link, self.program)
        self._keep_link(ifname, link)
        return name

    def renamed(self) -> dict[str, str]:
        """Return the interfaces that have another name since they were attached, and which; they stay guarded."""
        names = {ifname: name_of(link, ifname) for ifname, link in self._links.items()}
        return {ifname: name for ifname, name in names.items() if name and name != ifname}

    def lost(self) -> list[str]:
        """Return the interfaces that are no longer guarded: they have gone, or somebody took the attachment away."""
        lost = [ifname for ifname, link in self._links.items() if not syscall.link_ifindex(link)]
        return sorted(lost + [pin.ifname for pin in Pin.all(self.pin_dir) if not pin.ours()])

    def close(self, on_stop: str | None = None) -> str:
        """Close everything; return in a few words what stays in force, empty for nothing.

        ``keep`` leaves program, attachments and lists in force, ``detach`` the lists for the next start, ``remove``
        nothing (None: the setting).
        """
        left = ""
        choice = on_stop or self.settings.on_stop
        if choice == "remove":
            remove_pins(self.pin_dir)
        elif choice == "detach":
            for ifname in {*self.attached(), *self.egress.attached()}:
                self.detach(ifname)
            left = f"the lists stay under {self.pin_dir}"
        elif interfaces := self.attached():
            left = f"the gate stays on {', '.join(interfaces)}"
        for reader in (self._rings, self._events):
            if reader is not None:
                reader.close()
        for link in self._links.values():
            os.close(link)
        self._links.clear()
        self.egress.close()
        self.blocks.close()
        self.allowed.close()
        del self.config
        os.close(self.program)
        self._orders.close()
        for pair in self._pairs:
            pair.close()
        for table in self.maps.values():
            table.close()
        return left

    @property
    def workers(self) -> int:
        """Pairs of rings over which flows are spread."""
        return len(self._pairs)

    @property
    def worker_seed(self) -> int:
        """What `workers.worker_of` wants to know to give a flow to the same worker as the program does."""
        return int(self.config["worker_seed"][0])

    def reader(self, worker: int) -> RingReader:
        """Open the rings of one worker in this process, a forked one as a rule; there may be one reader at a time."""
        return RingReader(*self._pairs[worker])

    @property
    def rings(self) -> RingReader:
        """The only worker's reader, opened at the first use; raises `KernelError` where there are several."""
        if self._rings is None:
            if self.workers > 1:
                raise KernelError(f"the program spreads flows over {self.workers} workers", "Read each one's rings")
            self._rings = self.reader(0)
        return self._rings

    def limits(self) -> list[Limit]:
        """Return the budgets that began to refuse since the last call; for one process alone, whoever reads packets."""
        if self._events is None:
            self._events = EventReader(self.maps["ids_events"])
        return limits_of(self._events.take(), sample_offset_ns())

    def missed(self) -> Counter[IPAddress]:
        """Return how many packets found no room in a ring, by who opened their flows; see `shares.missed_by`."""
        return missed_by(self.maps["ids_shares"])

    def unbegun(self, since_ns: int) -> Counter[IPAddress]:
        """Return how many TCP flows without a beginning there were since a moment (UNIX ns), by who spoke first."""
        return self._flows.unbegun(since_ns - sample_offset_ns())

    def sent_by(self, networks: Collection[IPNetwork]) -> Counter[IPNetwork]:
        """Return how many packets each network sent in the flows that are there; what was dropped is not among them."""
        return self._flows.sent_by(networks)

    def stats(self) -> dict[str, tuple[int, int]]:
        """Return (packets, bytes) of each verdict reason by name, summed over the CPUs; reasons never met included."""
        return reason_counts(self.maps["ids_counts"])

    def set_flow(self, flow: FlowAddress, verdict: FlowVerdict, depth_bytes: int = 0) -> bool:
        """Give a flow its verdict and depth (0: the protocol's); return whether the kernel knows the flow.

        Nothing else about the flow changes, whatever packets it has meanwhile.
        """
        return self._orders.set(*flow.key(), verdict, depth_bytes)

    def drop_flow(self, flow: Flow) -> bool:
        """Drop the rest of a flow; return whether the kernel knows it."""
        return self._order(flow, FlowVerdict.DROP)

    def bypass_flow(self, flow: Flow, *, unneeded: bool = False) -> bool:
        """Wave the rest of a flow through unseen; return whether the kernel knows it.

        ``unneeded``: because nothing that is loaded looks into it, which is counted apart.
        """
        return self._order(flow, FlowVerdict.UNNEEDED if unneeded else FlowVerdict.BYPASS)

    def _order(self, flow: Flow, verdict: FlowVerdict) -> bool:
        address = FlowAddress.of(flow)
        return address is not None and self.set_flow(address, verdict)

    def flow_counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        """Return what the kernel has counted of each flow; not known where it does not know the flow (any more)."""
        counts = self._flows.counts(flows, slots, sample_offset_ns())
        if is_shadow(self.config[0]):  # nothing of them is being dropped
            counts["condemned"] = False
        return counts

    def forget_flows(self, flows: FlowColumns, slots: I64) -> None:
        """Have what comes next of these flows begin new ones."""
        self._flows.forget(flows, slots)

    def proven(self, address: IPAddress) -> bool:
        """Whether a source completed a handshake through here in the last ``proven_s``."""
        proven_ns = self.proven_at(address)
        return proven_ns is not None and time.time_ns() - proven_ns < self.settings.proven_s * _SECOND_NS

    def proven_at(self, address: IPAddress) -> int | None:
        """Return when (UNIX ns) a source last completed a handshake through here; None: never, or long ago."""
        raw = self.maps[f"ids_proven{address.version}"].get(address.packed)
        return None if raw is None else int.from_bytes(raw, "little") + sample_offset_ns()

    def beat(self) -> None:
        """Show the program that the engine is alive, and whether the host takes SYN cookies."""
        self.config["heartbeat_ns"][0] = time.monotonic_ns()
        self._follow_host()


def describe_program(program_id: int) -> str:
    """Return a loaded program's id and name (``struct bpf_prog_info``)."""
    try:
        fd = syscall.prog_fd_by_id(program_id)
    except KernelError:
        return f"id {program_id}"
    try:
        name = syscall.prog_info(fd).name
    finally:
        os.close(fd)
    return f"id {program_id}, named {name or '?'}"


def _remedy(pin_dir: Path, ifname: str, program_id: int) -> str:
    """Say how to take a program off an interface that is not ours; another instance's is known by its pinned link."""
    for path in pin_dir.parent.glob(f"*/{link_path(pin_dir, ifname).name}"):
        link = syscall.obj_get(str(path))
        if link is None:
            continue
        try:
            theirs = syscall.link_program_id(link) == program_id
        finally:
            os.close(link)
        if theirs:
            other = path.parent.name
            return (
                f"It is that of instance {other}: stop its `ids run`, then `ids detach --set instance={other}`"
                " (with its own -c, if any); or run as that instance"
            )
    if "named xdp_ids" in describe_program(program_id):
        return (
            "It is that of an engine with another fastpath.pin_dir: stop that, then `ids detach` with its settings (-c)"
        )
    if "named" not in describe_program(program_id):  # so is_dispatcher() could not look either
        return (
            "Without CAP_SYS_ADMIN its name is not to be seen. Where it is libxdp's dispatcher, run with that"
            " capability; else take it off first"
        )
    return f"Take it off first (stop what attached it, or ip link set dev {ifname} xdp off)"
