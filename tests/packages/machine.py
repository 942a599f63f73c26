"""A root of a distribution, booted with its own systemd in namespaces: a machine for the price of a process."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

BOOT_S = 120.0
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
"""Where the unified hierarchy is mounted, by its landmark."""
PACKAGES = "ca-certificates,systemd,systemd-sysv,dbus,iproute2,procps,python3,logrotate"

_BOOT = """\
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t bpf bpf sys/fs/bpf
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp; do mount -t tmpfs tmpfs $folder; done
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ip link set lo up
mkdir -p mnt
pivot_root . mnt
umount -l mnt
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --unit=multi-user.target --log-target=console --show-status=no </dev/null
"""


class Failed(Exception):
    """A step did not do what it has to."""


def host(*words: str | Path, timeout_s: float = 600.0, check: bool = True) -> str:
    """Run a command out here and return what it printed; raises `Failed`."""
    try:
        done = subprocess.run(list(words), capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{words}: more than {timeout_s:g} s") from None
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def root_of(suite: str, cache: Path) -> Path:
    """Return a tar of a minimal root with systemd, made from the mirror where it is not in the cache."""
    tar = cache / f"{suite}.tar"
    if not tar.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = tar.with_suffix(".part.tar")
        mirror = "http://deb.debian.org/debian"
        host("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", suite, part, mirror, timeout_s=1800)
        part.replace(tar)
    return tar


class Machine:
    """One root; booted by `boot`."""

    def __init__(self, tar: Path) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ids-machine-"))
        host("tar", "-xf", tar, "-C", self.root)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        (self.root / "etc/apt/apt.conf.d/99yes").write_text('APT::Get::Assume-Yes "true";\n')
        self._cgroup: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._init = ""

    def install(self, command: str) -> None:
        """Run a command that installs before the first boot, with the network out here: it reaches the mirror."""
        inside = f"export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; cd /root; {command}"
        script = "mount --bind /proc proc && mount --rbind /dev dev && exec chroot . sh -ec"
        host("unshare", "-m", "sh", "-ec", f'cd {self.root}; {script} "$1"', "sh", inside, timeout_s=1800)

    def boot(self) -> None:
        """Start systemd; return when it has started what it starts at a boot."""
        base = next(folder for folder in CGROUPS if (folder / "cgroup.procs").exists())
        self._cgroup = base / self.root.name
        self._cgroup.mkdir(exist_ok=True)
        log = (self.root.parent / f"{self.root.name}.log").open("wb")
        join = f"echo $$ > {self._cgroup}/cgroup.procs; exec unshare -m -n -u -i -p -C -f --kill-child"
        self._process = subprocess.Popen(
            ["sh", "-ec", f'{join} bash -c "$2" boot "$1"', "sh", str(self.root), _BOOT], stdout=log, stderr=log
        )
        log.close()
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            self._init = host("pgrep", "-P", str(self._process.pid), check=False).strip()
            if self._init and self.run("systemctl", "is-system-running", check=False).strip() in (
                "running",
                "degraded",
            ):
                return
            time.sleep(0.2)
        raise Failed(f"systemd did not start: see {log.name}")

    @property
    def init(self) -> str:
        """The number of its first process, out here."""
        return self._init

    def run(self, *words: str, check: bool = True, timeout_s: float = 300.0) -> str:
        """Run a command on it and return what it printed; raises `Failed`."""
        enter = ("nsenter", "-t", self._init, "-m", "-n", "-u", "-i", "-p", "-C")
        return host(*enter, *words, check=check, timeout_s=timeout_s)

    def shell(self, script: str, *, check: bool = True) -> str:
        """Run a script on it."""
        return self.run("sh", "-ec", script, check=check)

    def wait_for_end(self) -> None:
        """Return when it has gone down by itself; raises `Failed`."""
        assert self._process is not None
        try:
            self._process.wait(BOOT_S)
        except subprocess.TimeoutExpired:
            raise Failed("it does not go down") from None
        self.halt()

    def halt(self) -> None:
        """End all its processes at once, as when the power goes; the root stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._cgroup is not None:
            for _ in range(50):
                folders = sorted(self._cgroup.rglob("*/"), reverse=True)
                host("rmdir", *(folder for folder in folders if folder.is_dir()), self._cgroup, check=False)
                if not self._cgroup.exists():
                    break
                time.sleep(0.1)

    def remove(self) -> None:
        """Halt it and remove its root."""
        self.halt()
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root.parent / f"{self.root.name}.log").unlink(missing_ok=True)
