"""Runs the engine behind the kernel's gate: rings in, blocks out, until told to stop."""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from ids.config import Config
from ids.control import ControlServer, socket_path
from ids.counters import Counters
from ids.engine import NO_RULES, Engine
from ids.errors import IdsError, KernelError, UsageError
from ids.journal import Journal
from ids.kernel import Block, FastPath
from ids.kernel.contract import BlockFlag
from ids.kernel.fastpath import instance_dir, require_same_namespace
from ids.kernel.lists.blocklist import TABLES, Blocklist
from ids.kernel.lists.reconcile import Reconciler
from ids.kernel.rings.limits import Limit
from ids.respond import events
from ids.respond.gate import BlockOrder, Held
from ids.respond.protected import own_addresses
from ids.types import Flow, FlowCount, IPAddress, IPNetwork, PacketBatch

log = logging.getLogger(__name__)

POLL_S = 0.1
"""Longest wait for packets: how soon an idle engine notices a signal, a control request or a timer."""

TICK_S = 1.0
"""How often blocks are swept and watched, and the heartbeat is written."""

OWN_REFRESH_S = 60.0
"""How often own addresses, gateways and resolvers are read again: interfaces come and go."""

MAX_FAULTS = 100
"""Batches in a row that a fault of ours may cost; then the engine ends, and the gate applies its policy without it."""

MAX_WATCHED = 4096
"""Blocks whose first dropped packet is still awaited, for a `drop` event; the oldest are forgotten first."""


class KernelGate:
    """Carries orders out in the kernel's maps."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal or Journal()
        self.fastpath: FastPath | None = None
        self.watched: OrderedDict[IPNetwork, tuple[BlockOrder, int]] = OrderedDict()
        """Orders, and how many packets of each network were counted before, for a weaker block of somebody else's."""

    def _open(self) -> FastPath:
        if self.fastpath is None:
            raise KernelError("the fast path is not open yet")
        return self.fastpath

    def block(self, order: BlockOrder) -> int | None:
        """Write the block and return when the kernel had it (``ts_ns``)."""
        now = time.time_ns()
        expires_ns = now + order.ttl_s * 1_000_000_000
        blocks = self._open().blocks
        weaker = blocks.get(order.network)
        blocks.add([Block(order.network, expires_ns, order.mode, order.sid, order.label)])
        written = time.time_ns()
        self._journal.block(order)
        self.watched[order.network] = order, weaker.packets if weaker and weaker.label != order.label else 0
        if len(self.watched) > MAX_WATCHED:
            self.watched.popitem(last=False)
        return written

    def holds(self, network: IPNetwork) -> Held | None:
        """Look into the kernel's list."""
        block = self._open().blocks.get(network)
        if block is None or (block.expires_ns is not None and block.expires_ns <= time.time_ns()):
            return None
        return Held(block.mode, block.expires_ns)

    def allows(self, address: IPAddress) -> bool:
        """Look whether the kernel's list has the address: operators add to it while the engine runs."""
        return self._open().allowed.covers(address)

    def condemn(self, flow: Flow, number: int) -> bool:
        """Drop the rest of this flow in the driver; the kernel may not know it any more."""
        return self._open().drop_flow(flow)

    def bypass(self, flow: Flow) -> bool:
        """Let the rest of this flow pass unseen; the kernel may not know it any more."""
        return self._open().bypass_flow(flow)

    def proven(self, address: IPAddress) -> bool:
        """Ask the kernel's record of completed handshakes."""
        return self.fastpath is not None and self.fastpath.proven(address)

    def counts(self, flows: Sequence[Flow]) -> list[FlowCount | None]:
        """Ask the kernel, which counts every packet; it may not know a flow any more."""
        return self._open().flow_counts(flows)

    def forget(self, flow: Flow) -> None:
        """Delete the flow's entry."""
        self._open().forget_flow(flow)


class Live:
    """One engine on one host's interfaces."""

    def __init__(self, config: Config, reread: Callable[[], Config], *, ready_file: Path | None = None) -> None:
        """``reread`` reads the configuration anew, for a reload."""
        if not config.interfaces:
            raise UsageError("which interface? Name it with -i, or in the configuration (interfaces: [eth0])")
        self.config = config
        self._reread = reread
        self._ready_file = ready_file
        self._counters = Counters()
        self._journal = Journal()
        self._gate = KernelGate(self._journal)
        self._before: list[str] | None = None
        """Interfaces that were guarded when the fast path was opened; None: there was no fast path."""
        self._lost: dict[str, str] = {}
        """Interfaces that are known to be guarded no longer, and why they were not guarded again."""
        self._blind = ""
        """Why that could not be told when it was last asked."""
        self._ready = False
        self._crashed = False
        self._faults = 0
        self._stop = False
        self._reload = False

    def run(self) -> None:
        """Load the rules, open the gate, guard the interfaces, and work until SIGTERM or SIGINT.

        Nothing touches an interface before everything that can be refused was accepted.
        """
        config = self.config
        _require_interfaces(config.interfaces)
        own = own_addresses() if config.respond.protect_own else frozenset()
        self._engine = Engine(
            config, self._gate, counters=self._counters, own=own, on_event=self._journal.event, live=True
        )
        self._note_rules()
        with ExitStack() as stack:
            stack.callback(self._engine.stop)
            control = ControlServer(  # before the maps: it refuses a second engine of this name
                socket_path(config.engine.runtime_dir, config.instance),
                {"stats": self._stats, "reload": self._reload_now, "own": _own},
            )
            stack.callback(control.close)
            require_same_namespace(config.fastpath, config.instance)
            fresh = not any(instance_dir(config.fastpath, config.instance).glob("*"))
            self._fastpath = self._gate.fastpath = FastPath.open(config.fastpath, config.instance)
            self._before = None if fresh else self._fastpath.attached()
            self._reconciler = Reconciler(self._fastpath.blocks)
            stack.callback(self._close)
            for note in self._fastpath.notes:
                log.info("%s", note)
            self._fastpath.allowed.add(config.respond.allow, label="settings")
            self._fastpath.narrow(self._engine.plugins.interest())
            for interface in self._fastpath.keep_only(config.interfaces):
                log.info("no longer guarding %s", interface)
            for interface in config.interfaces:
                self._guard(interface)
            self._view_egress(config.interfaces)
            self._handle_signals(stack)
            if self._ready_file is not None:
                _announce(self._ready_file)
                stack.callback(self._ready_file.unlink, missing_ok=True)
            self._ready = True
            stack.callback(self._engine.drain)  # before the gate closes: it is asked for the flows' counts
            if config.eve.path is None:
                log.info("no event output is configured; to keep all alerts, flows and drops: --set eve.path=eve.json")
            log.info("ready: %d blocks in force", len(self._fastpath.blocks))
            if config.respond.mode == "shadow" and (enforcing := count_enforcing(self._fastpath.blocks)):
                log.warning(
                    "shadow mode, but %d earlier entries of the blocklist still drop: see `ids block list`,"
                    " lift them by `ids block delete`",
                    enforcing,
                )
            try:
                self._loop(control)
            except BaseException:
                self._crashed = True
                raise

    def _note_rules(self) -> None:
        if not self._engine.rules_loaded:
            log.warning(NO_RULES)

    def _guard(self, interface: str) -> None:
        mode = self._fastpath.attach(interface)
        note = "" if mode == "native" else " (no native XDP here: slower, packets are copied first)"
        log.info("guarding %s, XDP mode %s%s", interface, mode, note)

    def _view_egress(self, interfaces: Sequence[str]) -> None:
        try:
            viewed = self._fastpath.view_egress(interfaces)
        except KernelError as error:
            if self.config.fastpath.egress == "on":
                raise
            log.warning("replies of this host go unseen, so connections to it are not inspected: %s", error)
        else:
            filtered = self._fastpath.egress.filtered()
            for interface in viewed:
                note = " (by a tc filter: this kernel has no TCX)" if interface in filtered else ""
                log.info("seeing what this host sends through %s%s", interface, note)

    def _loop(self, control: ControlServer) -> None:
        rings = self._fastpath.rings
        next_tick = time.monotonic()
        next_stats = next_tick + self.config.engine.stats_interval_s
        next_own = next_tick + OWN_REFRESH_S
        while not self._stop:
            batch = rings.poll(POLL_S)
            if batch is not None:
                self._process(batch)
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                self._tick()
                control.serve()
            if now >= next_stats:
                next_stats = now + self.config.engine.stats_interval_s
                self._stats()
            if now >= next_own and self.config.respond.protect_own:
                next_own = now + OWN_REFRESH_S
                self._engine.policy.own = own_addresses()
            if self._reload:
                self._reload = False
                self._reload_now()

    def _process(self, batch: PacketBatch) -> None:
        """Inspect a batch. A fault of ours costs this batch its inspection, loudly, and not the gateway its engine."""
        try:
            self._engine.process(batch)
        except Exception:
            self._faults += 1
            self._counters.add("engine.faults")
            self._counters.add("engine.uninspected.fault", len(batch))
            log.exception("a batch of %d packets went uninspected: please report this", len(batch))
            if self._faults >= MAX_FAULTS:
                raise
        else:
            self._faults = 0

    def _tick(self) -> None:
        """Once a second: the heartbeat, idle flows, expired blocks, and the first drops of new ones."""
        now_ns = time.time_ns()
        self._journal.tick()
        self._fastpath.beat()
        for limit in self._fastpath.limits():
            self._counters.add(f"kernel.limits.{limit.kind.name.lower()}")
            self._engine.emit(_limit_event(limit))
        self._engine.tick(now_ns)
        swept = self._fastpath.blocks.sweep(now_ns)
        self._counters.add("respond.blocks_expired", swept)
        self._reconcile()
        self._guard_again()
        for network, (order, before) in list(self._gate.watched.items()):
            block = self._fastpath.blocks.get(network)
            if block is None:
                del self._gate.watched[network]
            elif block.packets > before:
                del self._gate.watched[network]
                self._engine.emit(_first_drops(order, block, now_ns))

    def _reconcile(self) -> None:
        drift = self._reconciler.check()
        if drift:
            log.warning("the kernel's blocklist had drifted and was put right: %s", drift)
            for name in ("missing", "extra", "altered"):
                self._counters.add(f"respond.drift.{name}", getattr(drift, name))

    def _guard_again(self) -> None:
        """Tell when an interface is no longer guarded, and guard it again: a tunnel's comes back under its name."""
        try:
            lost = self._fastpath.lost()
        except KernelError as error:
            if self._blind != str(error):
                log.warning("whether all interfaces are still guarded cannot be told: %s", error)
            self._blind = str(error)
            return
        self._blind = ""
        present = {name for _, name in socket.if_nameindex()}
        for interface in lost:
            if interface not in self._lost:
                self._counters.add("engine.interfaces_lost")
                log.error("%s is no longer guarded: it has gone, or the program was taken off", interface)
            if interface in present:
                self._try_again(interface, present)
            else:
                self._lost[interface] = "it is not there"

    def _try_again(self, interface: str, present: set[str]) -> None:
        try:
            self._guard(interface)
            self._view_egress([name for name in self.config.interfaces if name in present])
        except (KernelError, OSError) as error:  # it may go again at any moment
            if self._lost.get(interface) != str(error):
                log.error("%s cannot be guarded again: %s", interface, error)
            self._lost[interface] = str(error)
        else:
            self._lost.pop(interface, None)

    def _stats(self) -> dict[str, Any]:
        for reason, (packets, size) in self._fastpath.stats().items():
            self._counters.set(f"kernel.{reason}.packets", packets)
            self._counters.set(f"kernel.{reason}.bytes", size)
        self._counters.set("respond.blocks", len(self._fastpath.blocks))
        return self._engine.stats(time.time_ns())

    def _reload_now(self) -> dict[str, Any]:
        try:
            config = self._reread()
        except IdsError as error:
            log.error("reload refused, the old settings and rules stay: %s", error)
            return {"error": str(error)}
        errors = self._engine.reload(config)
        if errors:
            log.error("reload refused, the old rules stay: %s", "\n".join(map(str, errors)))
            return {"error": "\n".join(map(str, errors))}
        self._fastpath.narrow(self._engine.plugins.interest())
        log.info("reloaded")
        self._note_rules()
        return {"reloaded": True}

    def _handle_signals(self, stack: ExitStack) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stop = True

        def reload(number: int, frame: FrameType | None) -> None:
            self._reload = True

        for number, handler in ((signal.SIGINT, stop), (signal.SIGTERM, stop), (signal.SIGHUP, reload)):
            stack.callback(signal.signal, number, signal.signal(number, handler))

    def _close(self) -> None:
        """Leave what the setting says; or, when the start failed, everything as it was."""
        if self._crashed:
            self._fastpath.close("keep")
            log.error("the engine failed; the gate stays in force without it")
        elif self._ready:
            left = self._fastpath.close()
            log.info("stopped%s", f"; {left}" if left else "")
        elif self._before is None:
            self._fastpath.close("remove")
        else:
            for interface in set(self._fastpath.attached()) - set(self._before):
                self._fastpath.detach(interface)
            self._fastpath.close("keep")


def _own() -> dict[str, Any]:
    """Answer which addresses `respond.protect_own` means here; whoever asks may be in another network namespace."""
    return {"own": sorted(map(str, own_addresses()))}


def count_enforcing(blocks: Blocklist) -> int:
    """Return how many entries of the kernel's list drop packets: those that are neither shadow nor expired."""
    now_ns, found = time.monotonic_ns(), 0
    for kind in TABLES:
        _, values = blocks.entries(kind)
        live = (values["expires_ns"] == 0) | (values["expires_ns"] > now_ns)
        found += int(np.count_nonzero(live & (values["mode"] == BlockFlag.ENFORCE)))
    return found


def _require_interfaces(names: list[str]) -> None:
    """Raise `UsageError` for an interface that this network namespace does not have."""
    there = [name for _, name in socket.if_nameindex()]
    for name in names:
        if name not in there:
            raise UsageError(f"there is no interface {name} in this network namespace; there are: {', '.join(there)}")


def _announce(ready_file: Path) -> None:
    try:
        ready_file.write_text("ready\n")
    except OSError as error:
        raise UsageError(f"--ready-file {ready_file}: {error.strerror}; choose another path") from error


def _limit_event(limit: Limit) -> events.Event:
    """Return the `drop` event that says that a budget began to refuse: one an episode, not one a packet."""
    return {
        "timestamp": events.timestamp(limit.ts_ns),
        "event_type": "drop",
        "in_iface": events.interface_name(limit.ifindex),
        "src_ip" if limit.by_source else "dest_ip": str(limit.address),
        "drop": {"reason": f"{limit.kind.name.lower()} budget"},
    }


def _first_drops(order: BlockOrder, block: Block, now_ns: int) -> events.Event:
    """Return the `drop` event that says that a block works: the kernel has counted its first packets."""
    return {
        "timestamp": events.timestamp(now_ns),
        "event_type": "drop",
        "src_ip": str(order.network.network_address),
        "drop": {"reason": "rules"},
        "ids": {
            "block": {
                "network": str(order.network),
                "sid": order.sid,
                "mode": order.mode.value,
                "packets": block.packets,
                "bytes": block.bytes,
                "last_hit_ns": block.last_hit_ns,
            }
        },
    }
