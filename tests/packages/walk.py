"""The walk-through of docs/service.md: for each of its sections, what has to have come of its commands."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.packages.page import Command
from tests.packages.scene import (
    ATTACKER,
    BAD,
    EXPLOIT,
    GOOD,
    OTHER_EXPLOIT,
    PEER,
    Scene,
    expect,
    soon,
)

LOG4SHELL = 1000081
METRICS = """
import urllib.request
token = open("/run/ids/default.token").read().strip()
request = urllib.request.Request("http://127.0.0.1:9477/metrics", headers={"Authorization": f"Bearer {token}"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


class Walk:
    """One method for each section, named as that; each runs all commands of its section."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.machine = scene.machine

    def run(self, commands: Sequence[Command]) -> list[str]:
        """Run commands and return what each printed."""
        return [self.scene.do(command) for command in commands]

    def install(self, commands: Sequence[Command]) -> None:
        """Before the first boot, for the machine cannot reach the mirror from its own network."""
        self.scene.offer(self.scene.package)
        (install,) = commands
        self.machine.install(install.text)
        self.scene.boot()
        expect(self.scene.unit("ActiveState") == "inactive", "the service runs, unasked")
        expect("xdp" not in self.machine.run("ip", "link", "show", "outside"), "a program is attached, unasked")
        man = self.machine.root / "usr/share/man/man1/ids.1.gz"
        expect(man.exists(), "no man page")
        expect("ids" in self.machine.run("ids", "--version"), "no version")

    def write_the_settings(self, commands: Sequence[Command]) -> None:
        """The interface of the default route is chosen."""
        self.run(commands)
        shown = self.machine.run("ids", "config", "show", "interfaces", "-o", "json", "-c", "/etc/ids/ids.yaml")
        expect(json.loads(shown)["value"] == ["outside"], f"it chose {shown}")

    def start(self, commands: Sequence[Command]) -> None:
        """It is ready when systemd says so, under all limits of the unit."""
        self.run(commands)
        expect("guarding outside" in self.scene.unit("StatusText"), self.scene.unit("StatusText"))

    def let_it_drop(self, commands: Sequence[Command]) -> None:
        """One source is dropped and another is not."""
        self.run(commands)
        self.scene.judge(*self.scene.traffic(lambda: None))

    def attack_it(self, commands: Sequence[Command]) -> None:
        """The attacker is blocked, another is served."""
        web, attack = commands
        self.scene.do(web)
        soon(lambda: self.scene.served(ATTACKER), "the web server does not answer")
        self.scene.do(attack)
        soon(lambda: f"{ATTACKER}/32" in self.scene.blocked(), f"not blocked: {self.scene.blocked()}")
        expect(not self.scene.served(ATTACKER), "a blocked source is served")
        expect(self.scene.served(GOOD), "another source is not served")
        soon(lambda: self.scene.alerts() == [LOG4SHELL], f"the memory has {self.scene.alerts()}")

    def ask_why(self, commands: Sequence[Command]) -> None:
        """Each answer names the attacker and the rule; why also what was seen, and what would undo it."""
        for printed in self.run(commands):
            expect(ATTACKER in printed and str(LOG4SHELL) in printed, f"it says {printed}")
        for word in (f"{ATTACKER}/32 is blocked", "jndi", f"ids block delete {ATTACKER}", "exceptions:"):
            expect(word in printed, f"without {word}: {printed}")

    def it_was_a_false_positive(self, commands: Sequence[Command]) -> None:
        """Served at once, for the same exploit too; blocked for another one."""
        unblock, *others = commands
        self.scene.do(unblock)
        expect(self.scene.served(ATTACKER), "it is blocked still")
        self.run(others)
        before = self.scene.alerts()
        self.scene.served(ATTACKER, EXPLOIT)
        expect(self.scene.served(ATTACKER), "an excepted source was blocked")
        self.scene.served(ATTACKER, OTHER_EXPLOIT)
        soon(lambda: f"{ATTACKER}/32" in self.scene.blocked(), "another exploit of an excepted source is let through")
        soon(lambda: len(self.scene.alerts()) > len(before), "the other exploit is not remembered")
        expect(self.scene.alerts().count(LOG4SHELL) == before.count(LOG4SHELL), "the excepted rule has alerted")
        self.machine.run("ids", "block", "delete", ATTACKER)
        self.machine.run("systemctl", "stop", "web")

    def watch_it(self, commands: Sequence[Command]) -> None:
        """The console answers under the limits of its unit, to who has the token; Prometheus' text has the engine."""
        *_, top = self.run(commands)
        expect(bool(json.loads(top)), f"top prints {top}")
        script = ("python3", "-c", METRICS)
        soon(lambda: "ids_engine_up 1.0" in self.machine.run(*script, check=False), "no metrics of an engine")

    def upgrade(self, commands: Sequence[Command]) -> None:
        """Nothing of the blocked source passes, nothing of the other is lost; the new version runs."""
        self.scene.offer(self.scene.newer)
        before = self.scene.unit("MainPID")
        self.scene.judge(*self.scene.traffic(lambda: self.run(commands)))
        expect(self.scene.unit("ActiveState") == "active", "nothing runs")
        expect(self.scene.unit("MainPID") != before, "the former version goes on")
        expect(self.scene.blocked() == [f"{BAD}/32"], f"the list is {self.scene.blocked()}")
        installed = self.machine.run("dpkg-query", "-W", "-f", "${Version}", "ids")
        expect(f"_{installed}_" in self.scene.newer.name, f"{installed} is installed")

    def reboot(self, commands: Sequence[Command]) -> None:
        """Stopped in order, and started by itself, with its lists."""
        reboot, *others = commands
        self.machine.shell(reboot.text, check=False)  # it may end before its command has
        self.machine.wait_for_end()
        self.scene.unlink()
        self.scene.boot()
        soon(lambda: self.scene.unit("StatusText").startswith("guarding outside;"), "it is not guarded")
        _, blocked, allowed = self.run(others)
        expect(f"{BAD}/32" in blocked and "seen elsewhere" in blocked, f"the list is {blocked}")
        expect(PEER in allowed, f"the allow-list is {allowed}")
        self.scene.judge(*self.scene.traffic(lambda: None))

    def remove(self, commands: Sequence[Command]) -> None:
        """Nothing is left in the kernel, nor on the disk."""
        self.run(commands)
        expect("ids" not in self.machine.run("ls", "/sys/fs/bpf").split(), "pins are left")
        expect("xdp" not in self.machine.run("ip", "link", "show", "outside"), "a program is left")
        for folder in ("usr/lib/ids", "etc/ids", "var/log/ids", "var/lib/ids", "var/cache/ids"):
            expect(not (self.machine.root / folder).exists(), f"/{folder} is left")
