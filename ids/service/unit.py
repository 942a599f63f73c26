"""The text of the systemd unit and of the logrotate snippet, and what in them depends on the host.

The unit asks for nothing newer than systemd 247 (Debian 11). What is in it, and what is left out, is explained in
docs/service.md.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from ids.config import Config
from ids.paths import CHECKOUT

CONFIG_PATH = Path("/etc/ids/ids.yaml")
"""Where `ids init` writes and the service reads, unless somebody says otherwise."""
LOG_DIR = Path("/var/log/ids")
OWN = (LOG_DIR, Path("/var/lib/ids"), Path("/var/cache/ids"), Path("/run/ids"))
"""Folders that the unit makes for the engine."""

WATCHDOG_S = 30
"""A batch takes milliseconds, a second at worst, and a worker that hangs is started again after 15 s: whoever shows no
sign of life for so long hangs."""

OURS = "Written by `ids service install`"
"""How our files begin, behind a ``#``: others' are left alone."""

UNIT = """\
{head}; settings of your own belong in a drop-in: systemctl edit {name}

[Unit]
Description=ids, intrusion detection and prevention{about}
Documentation=man:ids(1)
Wants=network-pre.target
After=network-pre.target local-fs.target sys-fs-bpf.mount
ConditionPathExists={config}
# A start that fails is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# Made before the namespace in which all of bpffs but this is read-only.
ExecStartPre=+/bin/mkdir -p -m 0700 {pin_dir}
ExecStart={command} run -c {config} --wait-interfaces
ExecReload={command} reload -c {config}
KillMode=mixed
Restart=on-failure
RestartSec=2
# Settings or rules that are refused do not become good by themselves.
RestartPreventExitStatus=2
TimeoutStartSec=10min
# Outputs that hang are waited for, 10 s each.
TimeoutStopSec=90
WatchdogSec={watchdog_s}
Environment=XDG_CACHE_HOME=/var/cache PYTHONUNBUFFERED=1

RuntimeDirectory=ids
RuntimeDirectoryMode=0750
# Other instances have their sockets there too.
RuntimeDirectoryPreserve=yes
StateDirectory=ids
StateDirectoryMode=0750
CacheDirectory=ids
CacheDirectoryMode=0700
LogsDirectory=ids
LogsDirectoryMode=0750
UMask=0027
LimitNOFILE=65536
LimitMEMLOCK=infinity
LimitCORE=0
# Blocks hold without the engine, detection does not: others go first where memory runs out.
OOMScoreAdjust=-500

# Programs are loaded (BPF, PERFMON) and attached (NET_ADMIN). Beside libxdp's dispatcher add CAP_SYS_ADMIN in a
# drop-in: other programs are found by their numbers there.
CapabilityBoundingSet=CAP_BPF CAP_NET_ADMIN CAP_PERFMON
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={protect_home}
PrivateTmp={private_tmp}
PrivateMounts=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=bpf capset @chown prlimit64 setrlimit
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

LOGROTATE = """\
{head}. The engine notices a file that was moved or cut off by itself, within a second.
{logs} {{
    daily
    rotate 14
    maxsize 1G
    missingok
    notifempty
    compress
    delaycompress
    create 0640 root adm
}}
"""


@dataclass(frozen=True, slots=True)
class Service:
    """One engine as a service of a host."""

    name: str
    """Of the unit, without ``.service``."""
    command: tuple[str, ...]
    """How the program is called: absolute."""
    config: Path
    log_dir: Path = LOG_DIR
    pin_dir: Path = Path("/sys/fs/bpf/ids")
    writes: tuple[Path, ...] = ()
    """Folders that it writes to besides those that the unit gives it; they have to be there."""
    from_package: bool = False
    root: Path = Path("/")
    """Under which the files are put; another one for a package, or a test."""

    @property
    def unit_path(self) -> Path:
        """Return where the unit lies: an administrator's and a package's have places of their own."""
        folder = "usr/lib/systemd/system" if self.from_package else "etc/systemd/system"
        return self.root / folder / f"{self.name}.service"

    @property
    def logrotate_path(self) -> Path:
        """Return where logrotate looks."""
        return self.root / "etc/logrotate.d" / self.name

    def unit(self) -> str:
        """Return the unit."""
        return UNIT.format(
            head=f"# {OURS}" if not self.from_package else "# Written by the package",
            name=self.name,
            about="" if self.name == "ids" else f" ({self.name})",
            command=" ".join(map(_quoted, self.command)),
            config=_quoted(str(self.config)),
            writable=" ".join(_quoted(f"-{path}") for path in (self.pin_dir, *self.writes)),
            pin_dir=_quoted(str(self.pin_dir)),
            watchdog_s=WATCHDOG_S,
            protect_home="read-only" if self._lies_in("/home", "/root", "/run/user") else "yes",
            private_tmp="no" if self._lies_in("/tmp", "/var/tmp") else "yes",
        )

    def _lies_in(self, *folders: str) -> bool:
        """Whether a file that the service needs lies in one of these."""
        needed = [*map(Path, self.command), self.config]
        needed += [] if self.from_package else [Path(sys.prefix), CHECKOUT]
        return any(path.is_relative_to(folder) for path in needed for folder in folders)

    def logrotate(self) -> str:
        """Return the snippet for logrotate."""
        head = "# Written by the package" if self.from_package else f"# {OURS}"
        return LOGROTATE.format(head=head, logs=shlex.quote(f"{self.log_dir}/") + "*.json")

    def files(self) -> dict[Path, str]:
        """Return each file of the service and its text."""
        return {self.unit_path: self.unit(), self.logrotate_path: self.logrotate()}


def written_by(settings: Config) -> tuple[Path, ...]:
    """Return the folders that an engine with these settings writes to, and that are not the unit's own."""
    files = [path for path in (settings.eve.path,) if path not in (None, "-")]
    folders = [
        settings.engine.runtime_dir,
        settings.engine.state_dir,
        settings.rules.cache_dir,
        settings.files.store_dir,
    ]
    named = [*(Path(str(file)).absolute().parent for file in files), *(Path(name) for name in folders if name)]
    named = [path for path in named if path.is_absolute()]  # any other lies beside the events
    return tuple(dict.fromkeys(path for path in named if not any(path.is_relative_to(own) for own in OWN)))


def packaged(root: Path) -> dict[Path, str]:
    """Return the files of the service as a package brings them, for a package's ``root``."""
    service = Service("ids", ("/usr/bin/ids",), CONFIG_PATH, root=root, from_package=True)
    return service.files()


def _quoted(word: str) -> str:
    """Quote a word of a command as systemd.service(5) and systemd.unit(5) want it."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if plain and not set(plain) & set(" \t'\";") else f'"{plain}"'
