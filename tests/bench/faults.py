"""Faults that happen to a site while traffic flows: each a context, at whose end all is well again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from ids.lab.guard import GuardFailed
from ids.lab.topology import OUTSIDE
from tests.bench import stepped_clock
from tests.bench.under_fault import Seen, Site

Fault = Callable[[Site, Seen], AbstractContextManager[None]]

LASTS_S = 2.0
"""Longer than all that looks once a second needs to notice."""
STOPPED_S = 1.0
HAMMERED_S = 4.0
AHEAD_S = 7200.0
"""Longer than the block of a rule lasts: it must not end early."""
PAGES = (
    "/",
    "/alerts",
    "/blocks",
    "/rules",
    "/search?q=192.0.2.100",
    "/why?address=192.0.2.100",
    "/api/now",
    "/metrics",
)


@contextmanager
def nothing(site: Site, seen: Seen) -> Iterator[None]:
    """Nothing happens: what is usual."""
    time.sleep(LASTS_S)
    yield


@contextmanager
def disk_full(site: Site, seen: Seen) -> Iterator[None]:
    """The disk of events and state has no byte left."""
    filler = site.disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x")
    time.sleep(LASTS_S)
    yield
    filler.unlink()
    time.sleep(LASTS_S)


@contextmanager
def unwritable(site: Site, seen: Seen) -> Iterator[None]:
    """Neither the events' file nor the database can be written: folders stand where they were."""
    places = [site.disk / "eve.json", *site.disk.glob("state/*/events.db")]
    for place in places:
        place.rename(place.with_suffix(".away"))
        place.mkdir()
    time.sleep(LASTS_S)
    yield
    for place in places:
        place.rmdir()
        place.with_suffix(".away").rename(place)
    time.sleep(LASTS_S)


@contextmanager
def receivers_stalled(site: Site, seen: Seen) -> Iterator[None]:
    """Neither syslog nor the webhook's receiver reads a byte."""
    os.kill(site.sink.pid, signal.SIGSTOP)
    try:
        time.sleep(LASTS_S)
        yield
    finally:
        os.kill(site.sink.pid, signal.SIGCONT)


@contextmanager
def feed_broken(site: Site, seen: Seen) -> Iterator[None]:
    """The feed is no list any more, and is fetched."""
    sound = site.feed.read_bytes()
    site.feed.write_bytes(os.urandom(4096))
    try:
        try:
            site.guard.command("feeds", "update")
            seen.said.append("the broken feed was TAKEN")
        except GuardFailed:
            seen.said.append("refused")
        yield
    finally:
        site.feed.write_bytes(sound)


@contextmanager
def clock_ahead(site: Site, seen: Seen) -> Iterator[None]:
    """The clock jumps two hours ahead, and back."""
    yield from _stepped(site, AHEAD_S)


@contextmanager
def clock_back(site: Site, seen: Seen) -> Iterator[None]:
    """The clock is set back by two hours, and right again."""
    yield from _stepped(site, -AHEAD_S)


def _stepped(site: Site, seconds: float) -> Iterator[None]:
    stepped_clock.step(site.lab.directory, seconds)
    try:
        time.sleep(LASTS_S)
        yield
    finally:
        stepped_clock.step(site.lab.directory, 0)
        time.sleep(LASTS_S)


@contextmanager
def engine_stopped(site: Site, seen: Seen) -> Iterator[None]:
    """The engine stands still for a second (SIGSTOP); the exploit comes meanwhile."""
    os.kill(site.guard.pid, signal.SIGSTOP)
    waker = threading.Timer(STOPPED_S, os.kill, (site.guard.pid, signal.SIGCONT))
    waker.start()
    try:
        yield
    finally:
        waker.join()
    seen.said.append(f"it stood still for {STOPPED_S * 1e3:.0f} ms of that")


@contextmanager
def engine_killed(site: Site, seen: Seen) -> Iterator[None]:
    """The engine is killed (SIGKILL), and started again; nobody sees the exploit in between."""
    site.guard.kill()
    yield
    site.guard.start()
    after = site.exploit()
    seen.said.append("after its start blocked " + ("NEVER" if after is None else f"in {after:.1f} ms"))


@contextmanager
def console_hammered(site: Site, seen: Seen) -> Iterator[None]:
    """Thirty-two clients ask the console for all its pages, as fast as they get them."""
    with _asked(site, seen, 32, 0.0, *PAGES):
        yield


@contextmanager
def scraped(site: Site, seen: Seen) -> Iterator[None]:
    """The metrics are asked for every 100 ms."""
    with _asked(site, seen, 1, 0.1, "/metrics"):
        yield


@contextmanager
def _asked(site: Site, seen: Seen, threads: int, every_s: float, *paths: str) -> Iterator[None]:
    log = site.lab.directory / "console_client.log"
    log.unlink(missing_ok=True)
    options = ("--threads", threads, "--every", every_s, "--seconds", HAMMERED_S, "--token-file", site.token)
    client = site.client("console_client", *options, site.place, *paths)
    time.sleep(HAMMERED_S / 2)
    yield
    client.wait(60)
    seen.said.append(f"answers {log.read_text().strip()}")


@contextmanager
def interface_renamed(site: Site, seen: Seen) -> Iterator[None]:
    """The outer interface gets another name, and its own back."""
    site.lab.gateway.run("ip", "link", "set", OUTSIDE, "name", "wan0")
    try:
        time.sleep(LASTS_S)
        yield
    finally:
        site.lab.gateway.run("ip", "link", "set", "wan0", "name", OUTSIDE)
        time.sleep(LASTS_S)


FAULTS: dict[str, Fault] = {
    "nothing": nothing,
    "disk full": disk_full,
    "EVE and database unwritable": unwritable,
    "syslog and webhook stalled": receivers_stalled,
    "feed broken": feed_broken,
    "clock 2 h ahead, and back": clock_ahead,
    "clock 2 h back, and ahead": clock_back,
    "engine stopped (SIGSTOP)": engine_stopped,
    "engine killed (SIGKILL)": engine_killed,
    "console hammered": console_hammered,
    "metrics every 100 ms": scraped,
    "interface renamed": interface_renamed,
}
UNSEEN = ("engine killed (SIGKILL)",)
"""Faults during which there is no engine: an exploit goes unseen, and that is counted nowhere but here."""
