"""An engine with nothing but the plugins under test, and all that came of the traffic it was played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ids.config import Config, load_config
from ids.counters import Counters
from ids.engine import Engine
from ids.errors import IdsError
from ids.events import Event, Events
from ids.plugin.host import PluginHost
from ids.replay.gate import ReplayGate
from ids.testing.values import T0
from ids.types import Direction, PacketBatch

CLIENT, SERVER = "192.0.2.1", "203.0.113.1"
"""Who talks where a test does not say; addresses for documentation (RFC 5737)."""

MSS = 1400
"""Bytes of a stream in one segment."""

STEP_NS = 1_000_000
"""A millisecond between two packets."""

_SYN, _FIN, _ACK, _PSH_ACK = 0x02, 0x11, 0x10, 0x18


@dataclass(frozen=True, slots=True)
class Said:
    """What one side says."""

    direction: Direction
    data: bytes


def to_server(data: bytes) -> Said:
    """Return what the client says; plain bytes mean the same."""
    return Said(Direction.TO_SERVER, data)


def to_client(data: bytes) -> Said:
    """Return what the server says."""
    return Said(Direction.TO_CLIENT, data)


class Session:
    """An engine with the plugins under test, and all that came of the traffic so far.

    ``events`` are the EVE objects that outputs get, ``alerts`` those of type ``alert``, ``sids`` the alerts' rules,
    ``blocks`` the networks that were blocked. All are complete when a method that plays traffic returns, but for what
    comes with a flow's end: `end` brings that.
    """

    def __init__(self, *settings: str, **plugins: object) -> None:
        """Start an engine with ``plugins``, called in this order under these names, and no others.

        ``settings`` are ``key.path=value``, as with ``--set``: ``"plugins.options.libssh.strict=true"``. Raises
        `IdsError` where a setting is bad or a plugin refuses to start, `PluginError` for a hook that does not exist.
        """
        self.counters = Counters()
        self.events: list[Event] = []
        host = PluginHost(self.counters)
        for name, plugin in plugins.items():
            host.register(name, plugin)
        self._gate = ReplayGate()
        self._settings = settings
        self._port = 40000
        self._number = 0
        self.now_ns = T0
        self.engine = Engine(self._config(()), self._gate, counters=self.counters, on_events=self._note, plugins=host)

    def tcp(
        self, *said: bytes | Said, src: str = CLIENT, dst: str = SERVER, dport: int = 80, close: bool = True,
        batch: int | None = None,
    ) -> None:  # fmt: skip
        """Play a TCP connection: handshake, what is said in this order, and FINs unless ``close`` is false.

        ``batch``: packets a batch; all in one where it is not given. A detector has to find the same either way.
        """
        segments, sent = [(0, _SYN, b""), (1, _SYN | _ACK, b""), (0, _ACK, b"")], [1000, 5000]
        for part in map(_said, said):
            pieces = [part.data[at : at + MSS] for at in range(0, len(part.data), MSS)]
            segments += [(int(part.direction), _PSH_ACK, piece) for piece in pieces]
        if close:
            segments += [(0, _FIN, b""), (1, _FIN, b""), (0, _ACK, b"")]
        make = self._frame_maker(src, dst, dport)
        frames = []
        for side, flags, data in segments:
            frames.append(make(side, data, flags, sent[side], sent[1 - side] if flags & _ACK else 0))
            sent[side] += len(data) + (flags & 1) + (flags >> 1 & 1)
        self.frames(*frames, batch=batch)

    def udp(
        self, *said: bytes | Said, src: str = CLIENT, dst: str = SERVER, dport: int = 53, batch: int | None = None
    ) -> None:
        """Play UDP, one datagram for each thing said."""
        make = self._frame_maker(src, dst, dport)
        self.frames(*[make(int(part.direction), part.data) for part in map(_said, said)], batch=batch)

    def frames(self, *frames: bytes, batch: int | None = None) -> None:
        """Play Ethernet frames."""
        size = batch or len(frames)
        for at in range(0, len(frames), size):
            self._play(frames[at : at + size])

    def wait(self, seconds: float) -> None:
        """Let time pass without a packet; flows that were idle for too long end."""
        self.now_ns += int(seconds * 1e9)
        self.engine.tick(self.now_ns)

    def reload(self, *settings: str) -> list[IdsError]:
        """Reload with further settings; return what the plugins refused. Where one refused, nothing changes."""
        return self.engine.reload(self._config(settings))

    def end(self) -> None:
        """End all flows and stop the plugins."""
        self.engine.stop()

    @property
    def alerts(self) -> list[Event]:
        """The ``alert`` events."""
        return [event for event in self.events if event["event_type"] == "alert"]

    @property
    def sids(self) -> list[int]:
        """The ``sid`` of each alert."""
        return [alert["alert"]["signature_id"] for alert in self.alerts]

    @property
    def blocks(self) -> list[str]:
        """The networks that were blocked, in CIDR form."""
        return [block.network for block in self._gate.blocks]

    @property
    def interest(self) -> set[str]:
        """What the plugins together are interested in: some of ``tcp``, ``udp`` and ``other``."""
        return self.engine.plugins.interest()

    def _config(self, settings: Sequence[str]) -> Config:
        return load_config(None, [*self._settings, *settings])

    def _note(self, events: Events) -> None:
        self.events += events

    def _play(self, frames: Sequence[bytes]) -> None:
        batch = self._batch(frames)
        packets = self.engine.process(batch)
        self._gate.observe(batch, lambda: packets)

    def _frame_maker(self, src: str, dst: str, dport: int) -> Callable[..., bytes]:
        """Return what makes the frames of a conversation of its own; Scapy is imported here, for it takes a while."""
        from scapy.layers.inet import IP, TCP, UDP
        from scapy.layers.inet6 import IPv6
        from scapy.layers.l2 import Ether

        network = IPv6 if ":" in src else IP
        self._port += 1
        hosts, ports = (src, dst), (self._port, dport)

        def make(side: int, data: bytes, flags: int | None = None, seq: int = 0, ack: int = 0) -> bytes:
            sport, to = ports[side], ports[1 - side]
            if flags is None:
                transport = UDP(sport=sport, dport=to)
            else:
                transport = TCP(sport=sport, dport=to, flags=flags, seq=seq, ack=ack, window=65535)
            ethernet = Ether(src=f"02:00:00:00:00:0{side + 1}", dst=f"02:00:00:00:00:0{2 - side}")
            return bytes(ethernet / network(src=hosts[side], dst=hosts[1 - side]) / transport / data)

        return make

    def _batch(self, frames: Sequence[bytes]) -> PacketBatch:
        count = len(frames)
        sizes = np.array([len(frame) for frame in frames], np.int64)
        numbers = np.arange(1, count + 1, dtype=np.int64)
        made = PacketBatch(
            data=np.frombuffer(b"".join(frames), np.uint8),
            offset=np.cumsum(sizes) - sizes,
            caplen=sizes,
            wirelen=sizes,
            ts_ns=self.now_ns + numbers * STEP_NS,
            number=self._number + numbers,
            linktype=np.ones(count, np.uint16),
            interface=np.zeros(count, np.uint32),
            source="session",
        )
        self._number += count
        self.now_ns += count * STEP_NS
        return made


def _said(part: bytes | Said) -> Said:
    return part if isinstance(part, Said) else to_server(part)
