"""A console over a store that the tests fill, an engine that they make up, and no kernel."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ids.config import Config, load_config
from ids.console import lists
from ids.console.access import Access
from ids.console.app import App
from ids.console.lists import Listed
from ids.console.server import BoundedServer
from ids.events import spell
from ids.kernel import Block
from ids.kernel.rings.fill import RingFill
from ids.snapshot import Snapshot
from ids.store import places
from ids.store.database import open_writing, store_path
from ids.store.rows import alert_row, change_row, insertion
from ids.types import BlockMode, Change, IPNetwork

TOKEN = "a-token-for-tests-0123456789abcdef"
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"&lt;\x1b[31m\u202e{{7*7}}"
)
"""Markup, quotes, an entity, an order to a terminal, a change of direction, a template."""


def alert(number: int, **changes: Any) -> dict[str, Any]:
    """Return an alert event."""
    made: dict[str, Any] = {
        "timestamp": "2026-11-22T00:00:00.000000+0000", "event_type": "alert", "flow_id": 1000 + number // 2,
        "src_ip": f"198.51.100.{number % 250 + 1}", "src_port": 40000, "dest_ip": "203.0.113.5", "dest_port": 80,
        "proto": "TCP", "app_proto": "http",
        "alert": {
            "action": "allowed", "gid": 1, "signature_id": 100001 + number % 3, "rev": 2,
            "signature": f"probe {number}", "category": "attempted-recon", "severity": 2,
        },
        "flow": {"pkts_toserver": 4, "bytes_toserver": 400},
        "ids": {
            "packet_ts_ns": 1_795_000_000_000_000_000 + number, "rule": "base/web.yaml:7",
            "evidence": [{"buffer": "http.uri", "offset": 3, "excerpt": "/../etc/passwd\x00\xff"}],
        },
    }  # fmt: skip
    for path, value in changes.items():
        place = made
        *parents, leaf = path.split("__")
        for key in parents:
            place = place[key]
        place[leaf] = value
    return made


def hostile_alert(number: int) -> dict[str, Any]:
    """Return an alert with a hostile text in every place that holds text."""

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(inner) for key, inner in value.items()} | {HOSTILE: HOSTILE}
        if isinstance(value, list):
            return [poisoned(inner) for inner in value]
        return HOSTILE if isinstance(value, str) else value

    event: dict[str, Any] = poisoned(alert(number))
    return event | {"event_type": "alert", "src_ip": "198.51.100.66", "dest_ip": "203.0.113.5"}


def hostile_change() -> Change:
    """Return the block of 198.51.100.66, with a hostile text in every place that holds text."""
    return Change(
        "block", 1_795_000_000_000_000_004, ipaddress.ip_network("198.51.100.66"), sid=100001, label=HOSTILE,
        mode=BlockMode.ENFORCE, flow_id=1002,
        detail={"signature": HOSTILE, "rule": HOSTILE, "comment": HOSTILE,
                "evidence": [{"buffer": HOSTILE, "offset": 1, "excerpt": HOSTILE}]},
    )  # fmt: skip


def snapshot(**changes: Any) -> Snapshot:
    """Return what a look at a busy instance shows."""
    counters = {
        "engine.lag_ms": 12, "decode.packets": 900, "decode.bytes": 90_000, "flow.active": 7, "flow.total": 20,
        "detect.alerts": 3, "rule_alerts.100001": 2, "rule_time_us.100001": 5000, "rule_time_us.100009": 70,
        "plugin_time_us.rules": 8000, "plugin.eve.failures": 1, "time_us.decode": 2_000_000, "respond.blocks": 4,
        "respond.refused.allowed": 2, "respond.drift.missing": 1, "eve.lost": 5, "events.alert": 3,
        "respond.blocked.enforce": 4, "rules.loaded": 30, "kernel.pass.ring_full.packets": 6,
        "kernel.pass.ring_full.bytes": 600,
    }  # fmt: skip
    made: dict[str, Any] = {
        "taken_ns": 1_795_000_000_000_000_000,
        "kernel": {"pass.shown": (900, 90_000), "drop.blocked": (50, 3000), "pass.ring_full": (6, 600),
                   "would_drop.blocked": (0, 0), "note.event_lost": (1, 0)},
        "interfaces": ("eth0",), "heartbeat_age_s": 0.4,
        "rings": (RingFill(0, "small", 256, 1024), RingFill(0, "large", 0, 4096)),
        "engine": {"stats": {"uptime": 61}, "ids": {}}, "counters": counters,
    }  # fmt: skip
    return Snapshot(**made | changes)


@dataclass
class Site:
    """A console that serves, and what it looks at."""

    config: Config
    port: int
    server: BoundedServer
    seen: list[Snapshot] = field(default_factory=lambda: [snapshot()])

    def remember(self, events: list[dict[str, Any]]) -> None:
        """Write alerts into the store."""
        with closing(open_writing(store_path(self.config.engine.state_dir, self.config.instance))) as database:
            rows = (alert_row(spell(event).encode(), 0) for event in events)
            database.executemany(insertion("alerts"), rows)

    def note(self, *changes: Change) -> None:
        """Write down what the engine did."""
        with closing(open_writing(store_path(self.config.engine.state_dir, self.config.instance))) as database:
            database.executemany(insertion("changes"), map(change_row, changes))


class Entries:
    """Stands for the kernel's lists."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = blocks

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None: ...

    def covering(self, network: IPNetwork) -> list[Block]:
        """Return the entries around a network."""
        return [block for block in self._blocks if block.network.overlaps(network)]

    def list(self) -> list[Any]:
        """Return nothing that is allowed."""
        return []


def pretend(patch: pytest.MonkeyPatch, blocks: list[Block]) -> None:
    """Let the kernel hold these blocks on a guarded interface."""
    patch.setattr(lists, "foremost", lambda *_: Listed(tuple(blocks), 1_000_000))
    patch.setattr(places, "Blocklist", SimpleNamespace(open=lambda _: Entries(blocks)))
    patch.setattr(places, "AllowList", SimpleNamespace(open=lambda _: Entries([])))
    patch.setattr(places, "pinned_shadow", lambda _: False)
    patch.setattr(places, "guarded_interfaces", lambda _: ["eth0"])


Open = Callable[..., Site]


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Open]:
    """Return what starts a console on a port of its own, by settings; ``write`` and ``open_metrics`` as for `App`."""
    servers: list[BoundedServer] = []

    def opened(*settings: str, **options: bool) -> Site:
        places = [f"engine.state_dir={tmp_path}", f"engine.runtime_dir={tmp_path}", f"fastpath.pin_dir={tmp_path}"]
        config = load_config(None, [*places, *settings])
        seen = [snapshot()]
        app = App(config, Access(TOKEN), lambda: seen[-1], **options)
        server = BoundedServer(("127.0.0.1", 0), app.answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        site = Site(config, server.server_address[1], server, seen)
        site.remember([alert(number) for number in range(3)])
        return site

    yield opened
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(open_site: Open) -> Site:
    """A console that only shows."""
    return open_site()
