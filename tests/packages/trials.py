"""What the walk-through leaves out: limits, refusals, faults. The docstrings are lines of docs/service.md."""

from __future__ import annotations

import re

from tests.packages.scene import BAD, Scene, expect, soon

SECOND = """
instance: two
interfaces: [late0]
rules: {paths: [/etc/ids/none.yaml]}
eve: {path: /var/log/ids/two.json}
"""
CONFIG = "/etc/ids/ids.yaml"


def privileges(scene: Scene) -> None:
    """With workers, under all limits of the unit: three capabilities for who decides, none for who inspects."""
    scene.machine.shell(f"sed -i 's/^engine:/engine:\\n  workers: 2/' {CONFIG}; systemctl restart ids")
    numbers = scene.machine.shell("cat /sys/fs/cgroup/system.slice/ids.service/cgroup.procs").split()
    held = {}
    for number in numbers:
        status = scene.machine.run("cat", f"/proc/{number}/status")
        found = re.search(r"CapEff:\t(\w+)", status)
        held[number] = int(found[1], 16) if found else -1
    expect(held.pop(scene.unit("MainPID")) == 1 << 39 | 1 << 38 | 1 << 12, f"who decides holds {held}")
    expect(len(held) >= 2 and not any(held.values()), f"who inspects holds {held}")


def refused_upgrade(scene: Scene) -> None:
    """An upgrade that finds settings it would refuse leaves the former version running."""
    before = scene.unit("MainPID")
    scene.machine.shell(f"cp {CONFIG} /root/good; echo 'respnd: {{}}' >> {CONFIG}")
    scene.install_newer()
    expect(scene.unit("MainPID") == before, "the engine was ended")
    scene.machine.shell(f"cp /root/good {CONFIG}; ids reload -c {CONFIG}")


def rotate(scene: Scene) -> None:
    """Logrotate moves the events away, and a new file is written without a signal."""
    events = scene.machine.root / "var/log/ids/eve.json"
    soon(lambda: events.stat().st_size > 0, "no events were written")
    scene.machine.run("logrotate", "--force", "/etc/logrotate.d/ids")
    soon(lambda: events.exists() and events.stat().st_size > 0, "nothing was written to the new file")
    expect(events.stat().st_mode & 0o777 == 0o640, f"its mode is {events.stat().st_mode:o}")


def refused_reload(scene: Scene) -> None:
    """A reload that is refused fails (`systemctl reload`), and the old settings hold."""
    scene.machine.shell(f"cp {CONFIG} /root/good; echo 'respnd: {{}}' >> {CONFIG}")
    said = scene.machine.shell("systemctl reload ids && echo reloaded || echo refused", check=False)
    expect("refused" in said, "a bad reload was taken")
    expect(scene.unit("ActiveState") == "active", "a bad reload ended the engine")
    scene.machine.shell(f"cp /root/good {CONFIG}; systemctl reload ids")


def watchdog(scene: Scene) -> None:
    """An engine that hangs (SIGSTOP) is started again, its stack is in the journal, and its blocks hold meanwhile."""
    scene.machine.shell("systemctl set-property --runtime ids TasksMax=500; mkdir -p /run/systemd/system/ids.service.d")
    scene.machine.shell("printf '[Service]\\nWatchdogSec=5\\n' > /run/systemd/system/ids.service.d/test.conf")
    scene.machine.shell("systemctl daemon-reload; systemctl restart ids")
    before = scene.unit("MainPID")

    def hang() -> None:
        scene.machine.run("kill", "-STOP", before)
        soon(
            lambda: scene.unit("ActiveState") == "active" and scene.unit("MainPID") not in ("0", before),
            "it hangs still",
        )

    scene.judge(*scene.traffic(hang))
    expect("Fatal Python error: Aborted" in scene.machine.run("journalctl", "-u", "ids"), "no stack in the journal")


def second_instance(scene: Scene) -> None:
    """Another instance (`ids service install --now --name ids-two`) runs, and goes; the first one does not notice."""
    before = scene.unit("MainPID")
    (scene.machine.root / "etc/ids/two.yaml").write_text(SECOND)
    (scene.machine.root / "etc/ids/none.yaml").write_text("rules: []\n")
    named = ("--name", "ids-two", "-c", "/etc/ids/two.yaml")
    scene.machine.run("ids", "service", "install", "--now", *named)
    said = scene.machine.run("ids", "service", "status", *named)
    expect("guarding nothing; waiting for late0" in said, f"its status is {said}")
    scene.machine.run("ids", "service", "uninstall", "--name", "ids-two")
    expect(not (scene.machine.root / "etc/systemd/system/ids-two.service").exists(), "its unit is left")
    scene.machine.run("ids", "service", "status", "-c", CONFIG)
    expect(scene.unit("MainPID") == before, "the first one was started again")


def power_cut(scene: Scene) -> None:
    """After a power cut it starts by itself, with its lists, and waits for an interface that comes later."""
    scene.machine.halt()
    scene.unlink()
    scene.boot(link=False)
    soon(lambda: "waiting for outside" in scene.unit("StatusText"), f"not waited for: {scene.unit('StatusText')}")
    expect(f"{BAD}/32" in scene.blocked(), f"the list is {scene.blocked()}")
    scene.link()
    soon(lambda: scene.unit("StatusText").startswith("guarding outside;"), "it is not guarded")
    scene.judge(*scene.traffic(lambda: None))


def interface_returns(scene: Scene) -> None:
    """An interface that goes is guarded when it is back."""
    scene.unlink()
    soon(lambda: "waiting for outside" in scene.unit("StatusText"), "nobody noticed that it is gone")
    scene.link()
    soon(lambda: scene.unit("StatusText").startswith("guarding outside;"), "it is not guarded again")
