"""Play evasions to a real Linux host: nginx and a server that takes any bytes, behind a gateway.

Every trial has a source address of its own that nobody's kernel owns: the gateway routes them to the attacker's
namespace, which does not forward, so no kernel answers with a RST. Frames go out and come in on one packet socket,
whose order is the capture. Many trials run at once; each waits for the server no longer than `PATIENCE_S`.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ids.errors import KernelError
from ids.lab.removal import wait_until
from ids.lab.topology import BENIGN, GATEWAY_OUTSIDE, LINK, OUTSIDE, SERVER, SERVER6, Lab
from ids.testing.evade import Await, Dialogue, Evasion, Event, Pause, Segment
from ids.testing.evade.dialogue import Numbers
from ids.testing.evade.packets import address_bytes
from ids.testing.evade.steps import ACK, FIN, RST
from tests.testing.evade.exploits import RAW, WEB, Exploit, plain

PATIENCE_S = 0.6
"""How long a trial waits for what the server does; it answers within milliseconds or not at all."""
QUIET_S = 0.03
"""The server has said all when it says nothing for as long."""
AT_ONCE = 48
BURST = 64
"""Frames of one trial before others have their turn."""
SOURCES, SOURCES6 = "198.18.0.0/15", "2001:db8:bad:ffff::"
"""For benchmarks (RFC 2544), and below what the lab routes to the attacker."""
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
"""include/uapi/linux/if_ether.h, include/uapi/asm-generic/socket.h."""

_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format everything escape=json '{{"source":"$remote_addr","status":"$status","request":"$request","uri":"$uri",'
        '"args":"$args","agent":"$http_user_agent","type":"$http_content_type","cookie":"$http_cookie",'
        '"body":"$request_body"}}';
    access_log {directory}/access.log everything;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_body_buffer_size 4m;
    client_max_body_size 4m;
    proxy_ignore_client_abort on;
    server {{
        listen {port} backlog=4096;
        {listen6}
        location / {{ proxy_pass http://127.0.0.1:8081; }}
    }}
    server {{
        listen 127.0.0.1:8081;
        access_log off;
        location / {{ return 200 "ok\\n"; }}
    }}
}}
"""
"""Bodies are read, and so logged, because they are handed on."""


@dataclass(slots=True)
class Trial:
    """One evasion of one exploit, and what came of it."""

    exploit: Exploit
    evasion: Evasion
    source: str = ""
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    """What went over the attacker's link, both ways, with times in nanoseconds."""
    accepted: bool | None = None
    """Whether the exploit is in the server's log; None where no server was asked."""

    @property
    def claimed(self) -> bool:
        """Whether the evasion says that a Linux server gets the exploit."""
        return self.evasion.works_on_linux

    @property
    def name(self) -> str:
        """The names of exploit and evasion."""
        return f"{self.exploit.name}: {self.evasion.name}"


class Target:
    """The lab's server, with nginx and a server that takes any bytes."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._taken: dict[str, bytes] = {}
        self._connections: dict[socket.socket, str] = {}
        lab.server.set_sysctl("ipv4.tcp_fastopen", str(0x403))  # with cookies, whatever the listener says
        self.directory = lab.directory / "target"
        self.directory.mkdir()
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if nginx is None:
            raise KernelError("nginx is not installed", "install nginx")
        listen6 = f"listen [::]:{WEB} backlog=4096;" if lab.ipv6 else ""
        (self.directory / "nginx.conf").write_text(_NGINX.format(directory=self.directory, port=WEB, listen6=listen6))
        lab.spawn(
            lab.server, [nginx, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")], "target.log"
        )
        self.listener = lab.server.socket(socket.AF_INET6 if lab.ipv6 else socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("", RAW))
        self.listener.listen(1024)
        self.listener.setblocking(False)
        if not wait_until(self._answers, 10):
            raise KernelError(f"nginx did not start: {(lab.directory / 'target.log').read_text(errors='replace')}")

    def _answers(self) -> bool:
        with self._lab.server.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", WEB)) == 0

    def serve(self) -> None:
        """Take what has come to the server of any bytes, and answer once."""
        while True:
            try:
                connection, (address, *_) = self.listener.accept()
            except BlockingIOError:
                break
            connection.setblocking(False)
            self._connections[connection] = address.removeprefix("::ffff:")
        for connection, address in list(self._connections.items()):
            try:
                data = connection.recv(1 << 16)
                if data and address not in self._taken:
                    connection.send(b"ok\n")
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            self._taken[address] = self._taken.get(address, b"") + data
            if not data:
                connection.close()
                del self._connections[connection]

    def log(self) -> dict[str, list[bytes]]:
        """Return what each source was understood to say: in requests that nginx did not refuse, or in all bytes."""
        said = {source: [plain(data)] for source, data in self._taken.items()}
        for line in filter(None, (self.directory / "access.log").read_text("latin-1").split("\n")):
            entry = json.loads(line)
            if entry["status"].startswith("2"):
                encoded = plain("\n".join(entry[key] for key in ("agent", "type", "cookie", "body", "args")).encode())
                said.setdefault(entry["source"], []).append(encoded + b"\n" + entry["uri"].encode() + b"?" + encoded)
        return said

    def close(self) -> None:
        """Close what is open."""
        for connection in [*self._connections, self.listener]:
            connection.close()


class Player:
    """One trial while it runs."""

    def __init__(self, trial: Trial, hosts: tuple[str, str], sport: int, macs: tuple[bytes, bytes]) -> None:
        self.trial = trial
        self.dialogue = Dialogue(trial.evasion, hosts, (sport, trial.exploit.port), macs)
        self.waiting: Await | None = None
        self.deadline = 0.0
        self._steps = deque(trial.evasion.steps)
        self._heard: dict[int, float] = {}
        """By connection: when the server last said something that was not waited for yet."""
        self._closed: set[int] = set()

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return not self._steps and self.waiting is None

    def advance(self, now: float) -> Iterator[bytes]:
        """Give the frames to send now."""
        sent = 0
        while sent < BURST:
            if self.waiting is not None:
                if now < self.deadline and not self._happened(self.waiting, now):
                    return
                self.waiting = None
            if not self._steps:
                return
            step = self._steps.popleft()
            if isinstance(step, Pause):
                self.waiting, self.deadline = Await(Event.CLOSED, connection=-1), now + min(step.seconds, 1.0)
            elif isinstance(step, Await):
                self.waiting, self.deadline = step, now + PATIENCE_S
            else:
                frames = self.dialogue.render(step)
                sent += len(frames)
                yield from frames

    def hear(self, packet: bytes, now: float) -> Iterator[bytes]:
        """Take a TCP segment of the server, without what is before it; give the frames that acknowledge it."""
        port = int.from_bytes(packet[2:4], "big")
        found = [(key, each) for key, each in self.dialogue.connections.items() if each.ports[0] == port]
        if not found or packet[13] & RST:
            return
        connection, numbers = found[-1]
        before = numbers.server_next
        data = self.dialogue.heard(numbers, packet)
        if data:
            self._heard[connection] = now
        if packet[13] & FIN and numbers.server_next != before:
            self._closed.add(connection)
        if data or packet[13] & FIN:
            yield from self.dialogue.render(Segment(max(numbers.taken, 0), b"", ACK, connection=connection))

    def farewell(self) -> Iterator[bytes]:
        """Give the frames that end what the server still has of this trial."""
        for connection, numbers in self.dialogue.connections.items():
            if numbers.server:
                yield from self.dialogue.render(Segment(max(numbers.taken, 0), b"", RST | ACK, connection=connection))

    def _happened(self, awaited: Await, now: float) -> bool:
        numbers: Numbers | None = self.dialogue.connections.get(awaited.connection)
        if numbers is None:
            return False
        if awaited.event is Event.OPENED:
            return numbers.server != 0
        if awaited.event is Event.TAKEN:
            return numbers.taken >= awaited.at
        if awaited.event is Event.CLOSED:
            return awaited.connection in self._closed
        last = self._heard.get(awaited.connection)
        if awaited.connection not in self._closed and (last is None or now - last < QUIET_S):
            return False
        self._heard.pop(awaited.connection, None)
        return True


@contextmanager
def attacker_link(lab: Lab) -> Iterator[tuple[socket.socket, tuple[bytes, bytes]]]:
    """Open a packet socket on the attacker's link; give it and the addresses of attacker and gateway."""
    lab.gateway.run("ip", "route", "replace", SOURCES, "via", BENIGN, "dev", OUTSIDE)
    lab.gateway.set_sysctl(f"ipv4.conf.{OUTSIDE}.rp_filter", "1")  # what is forged in the server's name ends there
    mine = _mac(lab.attacker.run("ip", "-o", "link", "show", LINK))
    gateway = _mac(lab.gateway.run("ip", "-o", "link", "show", OUTSIDE))
    lab.attacker.run("ip", "neigh", "replace", GATEWAY_OUTSIDE, "lladdr", gateway.hex(":"), "dev", LINK)
    with lab.attacker.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as link:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        link.bind((LINK, ETH_P_ALL))
        link.setblocking(False)
        yield link, (mine, gateway)


def _mac(shown: str) -> bytes:
    return bytes.fromhex(shown.partition("link/ether ")[2].split()[0].replace(":", ""))


class Run:
    """Many trials against one target."""

    def __init__(self, lab: Lab, target: Target) -> None:
        self._lab, self._target = lab, target
        self._count = 0
        self._players: dict[bytes, Player] = {}
        """By the source's address."""

    def play(self, trials: Sequence[Trial]) -> None:
        """Play trials, and note for each whether the server got the exploit."""
        waiting = deque(trials)
        with attacker_link(self._lab) as (link, macs):
            while waiting or self._players:
                while waiting and len(self._players) < AT_ONCE:
                    self._start(waiting.popleft(), macs)
                self._receive(link)
                self._target.serve()
                self._advance(link)
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            self._target.serve()
            time.sleep(0.02)
        log = self._target.log()
        for trial in trials:
            trial.accepted = any(plain(trial.exploit.proof) in entry for entry in log.get(trial.source, ()))

    def _start(self, trial: Trial, macs: tuple[bytes, bytes]) -> None:
        self._count += 1
        trial.source = source(self._count, trial.evasion.ipv6)
        server = SERVER6 if trial.evasion.ipv6 else SERVER
        sport = 20000 + self._count % 20000
        self._players[address_bytes(trial.source)] = Player(trial, (trial.source, server), sport, macs)

    def _receive(self, link: socket.socket) -> None:
        if not select.select([link], [], [], 0.002)[0]:
            return
        while True:
            try:
                frame = link.recv(65536)
            except BlockingIOError:
                return
            to, payload = _addressed(frame)
            player = self._players.get(to)
            if player is None:
                continue
            player.trial.frames.append((time.time_ns(), frame))
            if payload:
                for answer in player.hear(payload, time.monotonic()):
                    self._send(link, player, answer)

    def _advance(self, link: socket.socket) -> None:
        for address, player in list(self._players.items()):
            for frame in player.advance(time.monotonic()):
                self._send(link, player, frame)
            if player.done:
                for frame in player.farewell():
                    link.send(frame)
                del self._players[address]

    def _send(self, link: socket.socket, player: Player, frame: bytes) -> None:
        player.trial.frames.append((time.time_ns(), frame))
        link.send(frame)


def source(number: int, ipv6: bool) -> str:
    """Return the source address of a trial by its number."""
    if ipv6:
        return f"{SOURCES6}{number:x}"
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _addressed(frame: bytes) -> tuple[bytes, bytes]:
    """Return the destination of a frame's packet, and the TCP segment in it; empty where there is none."""
    kind = struct.unpack_from(">H", frame, 12)[0]
    if kind == 0x0800 and len(frame) >= 34:
        size = 14 + (frame[14] & 15) * 4
        end = 14 + int.from_bytes(frame[16:18], "big")
        return frame[30:34], frame[size:end] if frame[23] == 6 else b""
    if kind == 0x86DD and len(frame) >= 54:
        end = 54 + int.from_bytes(frame[18:20], "big")
        return frame[38:54], frame[54:end] if frame[20] == 6 else b""
    return b"", b""
