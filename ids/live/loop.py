"""Start, work and stop behind the kernel's gate."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from ids.config import Config
from ids.control import ControlServer, socket_path
from ids.counters import Counters
from ids.engine import NO_RULES, Engine, settle_memory
from ids.errors import IdsError, KernelError, UsageError
from ids.events import Events
from ids.journal import Journal
from ids.kernel import Block
from ids.kernel.lists.reconcile import Reconciler
from ids.kernel.system.links import LinkNews
from ids.live.answers import AnswerWatch
from ids.live.bites import BiteWatch
from ids.live.crew import POLL_S, TICK_S, make_crew
from ids.live.feeder import Feeder
from ids.live.gate import KernelGate
from ids.live.guard import Guard, require_interfaces
from ids.live.inside import inside_gap, inside_note
from ids.live.lasting import Lasting
from ids.live.notices import count_enforcing, end_changes, first_drops, life_change, limit_event
from ids.live.opening import Opening
from ids.live.reload import effective
from ids.live.watch import Watch
from ids.memory import Trimmer, one_heap
from ids.respond.protected import Protected
from ids.respond.proxies import UNHEARD
from ids.service.notify import Notifier
from ids.state.lists import SETTINGS
from ids.types import Change
from ids.workers import worker_count

log = logging.getLogger(__name__)

OWN_REFRESH_S = 60.0
"""How often own addresses, gateways and resolvers are read again: interfaces come and go."""


class Live:
    """One engine on one host's interfaces."""

    def __init__(
        self,
        config: Config,
        reread: Callable[[], Config],
        *,
        ready_file: Path | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        """``reread`` reads the configuration again, for a reload; ``notifier`` reaches who supervises this process."""
        if not config.interfaces:
            raise UsageError("which interface? Name it with -i, or in the configuration (interfaces: [eth0])")
        self.config = config
        self._reread = reread
        self._ready_file = ready_file
        self._notifier = notifier or Notifier()
        self._trimmer = Trimmer(time.monotonic())
        self._counters = Counters()
        self._journal = Journal()
        self._gate = KernelGate(self._journal)
        self._answers = AnswerWatch()
        self._feeder = Feeder()
        self._protected = Protected()
        self._ready = False
        self._crashed = False
        self._stop = False
        self._reload = False

    def run(self) -> None:
        """Load the rules, open the gate, guard the interfaces, and work until SIGTERM or SIGINT.

        Nothing touches an interface before everything that can be refused was accepted.
        """
        config, workers = self.config, worker_count(self.config.engine.workers)
        one_heap()  # before outputs start their threads
        if not config.engine.wait_interfaces:
            require_interfaces(config.interfaces)
        self._notifier.status("loading rules and settings")
        self._protected.read()
        self._engine = Engine(
            config, self._gate, counters=self._counters, live=True,
            on_events=self._journal.events, event_types={"alert"},
        )  # fmt: skip
        self._protect()
        self._note_rules()
        settle_memory()
        with ExitStack() as stack:
            self._handle_signals(stack)  # from here on a signal waits until the gate can be left in order
            stack.callback(self._engine.stop)
            stack.callback(self._feeder.close)
            control = ControlServer(  # before the maps: it refuses a second engine of this name
                socket_path(config.engine.runtime_dir, config.instance),
                {
                    "ping": lambda: {"pid": os.getpid()},
                    "stats": self._counted,
                    "reload": self._reload_now,
                    "own": self._own,
                    "penalties": lambda: self._lasting.penalties(),
                    "reset_penalties": lambda networks=None: self._lasting.reset(networks),
                },
            )
            stack.callback(control.close)
            self._open(stack, workers)
            self._crew = make_crew(self._engine, self._fastpath, workers)
            stack.callback(self._crew.drain)  # before the gate closes: it is asked for the flows' counts
            self._guard.begin()
            if self._ready_file is not None:
                _announce(self._ready_file)
                stack.callback(self._ready_file.unlink, missing_ok=True)
            self._ready = True
            self._note_ready(workers)
            try:
                self._loop(control)
            except BaseException:
                self._crashed = True
                raise
            finally:
                self._notifier.stopping()
                self._lasting.tick()

    def _open(self, stack: ExitStack, workers: int) -> None:
        """Open the gate and bring it to the settings; no interface is touched yet. Raises `IdsError`."""
        config = self.config
        self._opening = Opening(config, workers, stack)
        self._fastpath = self._gate.fastpath = self._opening.fastpath
        self._reconciler = Reconciler(self._fastpath.blocks)
        period_s = config.engine.uninspected_log_s
        self._watch = Watch(period_s, self._fastpath.missed, self._fastpath.unbegun)
        self._bites = BiteWatch(self._fastpath.sent_by, self._fastpath.allowed.covers, config.interfaces, period_s)
        self._links = LinkNews()
        stack.callback(self._links.close)
        self._count_kernel()
        self._watch.begin(self._counters.values)
        stack.callback(self._close)
        self._lasting = Lasting(config, self._fastpath, self._engine.policy, self._counters)
        stack.callback(self._lasting.close)  # before the gate closes
        for note in self._fastpath.notes:
            log.info("%s", note)
        self._fastpath.look_into(config.decode.tunnels.udp_ports)  # as decode does: until the next start
        self._fastpath.show_all(config.protocols.shared_ports)
        self._apply(config)
        self._guard = Guard(
            self._fastpath, config.interfaces, config.fastpath.egress, self._counters,
            wait=config.engine.wait_interfaces,
        )  # fmt: skip

    def _note_ready(self, workers: int) -> None:
        """Say that packets are being inspected, in the log, the memory and to a supervisor."""
        if self.config.eve.path is None:
            log.info("no event output is configured; to keep all alerts, flows and drops: --set eve.path=eve.json")
        self._sweep()
        log.info("ready: %d blocks in force", len(self._fastpath.blocks))
        self._note_shadow()
        self._note_inside()
        self._engine.note([life_change("start", self.config, workers=workers)])
        self._notifier.ready(self._status())

    def _note_rules(self) -> None:
        if not self._counters["rules.loaded"]:
            log.warning(NO_RULES)

    def _note_shadow(self) -> None:
        if self.config.respond.mode == "shadow":
            log.warning(
                "shadow mode: nothing is dropped or challenged, and %d entries of the blocklist that enforce only"
                " count; `ids stats` shows what would have been dropped (would_drop.*)",
                count_enforcing(self._fastpath.blocks),
            )

    def _note_inside(self) -> None:
        if note := inside_note(self.config):
            log.info("%s", note)
        if gap := inside_gap(self.config, self._protected.of_interfaces):
            log.warning("%s", gap)
        if self.config.respond.trusted_proxies and not self.config.respond.forwarded_headers:
            log.warning(UNHEARD)

    def _apply(self, config: Config) -> None:
        """Bring the kernel's side to these settings, at the start and in a reload; raises `KernelError`."""
        added, taken = self._fastpath.allowed.replace(config.respond.allow, SETTINGS)
        if added or taken:
            log.info("allow-list by the settings: %d added, %d taken off", added, taken)
        self._fastpath.configure(config.fastpath)
        self._fastpath.shadow(config.respond.mode == "shadow")
        self._fastpath.narrow(self._engine.plugins.interest())

    def _loop(self, control: ControlServer) -> None:
        next_tick = time.monotonic()
        next_stats = next_tick + self.config.engine.stats_interval_s
        next_own = next_tick + OWN_REFRESH_S
        while not self._stop:
            self._crew.work(POLL_S)
            control.serve()
            if self._links.heard():  # what is back is guarded at once, and not with the next tick
                self._look_after_interfaces()
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + TICK_S
                self._tick()
            if now >= next_stats:
                next_stats = now + self.config.engine.stats_interval_s
                self._stats()
            if now >= next_own:
                next_own = now + OWN_REFRESH_S
                self._protected.refresh()
            if self._reload:
                self._reload = False
                self._reload_now()

    def _tick(self) -> None:
        """Once a second: the heartbeat, idle flows, expired blocks, and the first drops of new ones."""
        now_ns = time.time_ns()
        self._journal.tick()
        self._feeder.poll(self.config, time.monotonic())
        self._fastpath.beat()
        for limit in self._fastpath.limits():
            self._counters.add(f"kernel.limits.{limit.kind.name.lower()}")
            if self.config.respond.mode != "shadow":  # there, nothing is dropped
                self._engine.emit(Events([limit_event(limit)]))
        self._crew.tick(now_ns)
        self._sweep()
        self._reconcile()
        self._look_after_interfaces()
        self._notifier.beat(self._status())
        if lost := self._answers.check(self._fastpath.stats()):
            self._counters.add("kernel.answers_lost")
            log.warning("%s", lost)
        self._count_kernel()
        self._watch.check(self._engine.all_counters().values)
        self._await_drops(now_ns)
        self._check_bites()
        self._lasting.tick()
        self._trimmer.tick(time.monotonic())

    def _look_after_interfaces(self) -> None:
        if self._guard.check():
            self._protected.refresh()  # it brought addresses, perhaps
        self._protect()

    def _await_drops(self, now_ns: int) -> None:
        """Emit a `drop` event for each block that has met its first packets."""
        for network, (order, before) in list(self._gate.watched.items()):
            block = self._fastpath.blocks.get(network)
            if block is not None and block.packets <= before:
                continue
            del self._gate.watched[network]
            self._bites.clear(network)
            if block is not None and self.config.respond.mode != "shadow":
                self._engine.emit(Events([first_drops(order, block, now_ns)]))

    def _check_bites(self) -> None:
        """Log and count blocks whose sources go on: the interface by which they come is not guarded."""
        suspects, self._gate.suspects = self._gate.suspects, set()
        if self.config.respond.mode != "enforce":
            return
        now_s = time.monotonic()
        for network in suspects & self._gate.watched.keys():
            self._bites.suspect(network, now_s)
        found = self._bites.check(now_s)
        self._counters.add("respond.not_biting.blocks", len(found))
        self._counters.add("respond.not_biting.packets", found.total())
        if warning := self._bites.warning(now_s):
            log.warning("%s", warning)

    def _own(self) -> dict[str, Any]:
        """Answer which addresses `respond.protect_own` means here; whoever asks may be in another network namespace."""
        return {"own": sorted(map(str, self._protected.addresses))}

    def _protect(self) -> None:
        """Keep from blocks what is known by now of this host's own addresses."""
        self._engine.policy.own = self._protected.addresses if self.config.respond.protect_own else frozenset()
        self._counters.set("respond.own_unread", self._protected.failures)

    def _sweep(self) -> None:
        ends: list[Block] = []
        self._fastpath.blocks.repeat()
        now_ns = time.time_ns()  # of this moment: the clock may have been set since the tick began
        swept = self._fastpath.blocks.sweep(now_ns, ends)
        self._counters.add("respond.blocks_expired", swept)
        self._engine.note(end_changes(ends, swept, now_ns))

    def _reconcile(self) -> None:
        drift = self._reconciler.check()
        if drift:
            log.warning("the kernel's blocklist had drifted and was put right: %s", drift)
            for name in ("missing", "extra", "altered"):
                self._counters.add(f"respond.drift.{name}", getattr(drift, name))
            self._engine.note([Change("drift", time.time_ns(), detail=asdict(drift))])

    def _count_kernel(self) -> None:
        for reason, (packets, size) in self._fastpath.stats().items():
            self._counters.set(f"kernel.{reason}.packets", packets)
            self._counters.set(f"kernel.{reason}.bytes", size)

    def _stats(self) -> None:
        """Write a `stats` event."""
        self._count_now()
        self._engine.stats(time.time_ns())

    def _counted(self) -> dict[str, Any]:
        """Answer what is counted; however often somebody asks, no event is written for it."""
        self._count_now()
        return self._engine.counted(time.time_ns())

    def _count_now(self) -> None:
        self._count_kernel()
        self._counters.set("respond.blocks", len(self._fastpath.blocks))

    def _reload_now(self) -> dict[str, Any]:
        """Read the settings again and put in force what can be, all of it or nothing; answer what came of it."""
        self._notifier.reloading()
        try:
            return self._reload_all()
        finally:
            self._notifier.ready(self._status())

    def _reload_all(self) -> dict[str, Any]:
        try:
            config, waiting = effective(self.config, self._reread())
        except IdsError as error:
            return self._refuse_reload(str(error))
        errors = self._crew.reload(config, self._go_on)
        if errors:
            return self._refuse_reload("\n".join(map(str, errors)))
        self.config = config
        self._watch.period_s = self._bites.period_s = config.engine.uninspected_log_s
        self._protected.refresh()
        self._protect()
        answer: dict[str, Any] = {"reloaded": True}
        if self._engine.unfinished:
            answer["failed"] = list(map(str, self._engine.unfinished))
        if left_out := self._counters["rules.refused"]:
            answer["rules_left_out"] = left_out
        try:
            self._apply(config)
        except KernelError as error:
            log.error("reloaded, but the kernel did not take all of it: %s", error)
            answer["kernel"] = str(error)
        log.info("reloaded")
        self._engine.note([life_change("reload", config, kernel=answer.get("kernel", ""), failed=answer.get("failed"))])
        for changed in waiting:
            log.warning("not in force yet: %s", changed)
        if waiting:
            answer["waiting"] = [changed.to_json() for changed in waiting]
        self._note_rules()
        self._note_shadow()
        self._note_inside()
        return answer

    def _refuse_reload(self, why: str) -> dict[str, Any]:
        log.error("reload refused, the old settings and rules stay: %s", why)
        self._engine.note([life_change("reload", self.config, error=why)])
        return {"error": why}

    def _go_on(self) -> bool:
        self._fastpath.beat()
        self._notifier.beat()
        return not self._stop

    def _status(self) -> str:
        """Return what a supervisor shows of this engine, in one line."""
        blocks = self._counters["respond.blocks"]  # as of the last `stats`
        mode = "" if self.config.respond.mode == "enforce" else f"; respond.mode is {self.config.respond.mode}"
        return f"{self._guard.status()}; {blocks} blocks in force{mode}"

    def _handle_signals(self, stack: ExitStack) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stop = True

        def reload(number: int, frame: FrameType | None) -> None:
            self._reload = True

        for number, handler in ((signal.SIGINT, stop), (signal.SIGTERM, stop), (signal.SIGHUP, reload)):
            stack.callback(signal.signal, number, signal.signal(number, handler))

    def _close(self) -> None:
        """Leave what the setting says; or, when the start failed, everything as it was."""
        if self._ready:
            self._engine.note([life_change("stop", self.config, crashed=self._crashed)])
        if self._crashed:
            self._opening.abandon()
        elif self._ready:
            self._count_kernel()
            self._watch.sum_up(self._engine.all_counters().values)
            self._opening.leave()
        else:
            self._opening.undo()


def _announce(ready_file: Path) -> None:
    try:
        ready_file.write_text("ready\n")
    except OSError as error:
        raise UsageError(f"--ready-file {ready_file}: {error.strerror}; choose another path") from error
