"""The systemd units and the logrotate snippet of a host: where they lie, and what in them depends on it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from ids.config import Config
from ids.paths import CHECKOUT
from ids.service.texts import CONFINED, CONSOLE, FEEDS, FOLDERS, LOGROTATE, TIMER, UNIT

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
    console: bool = False
    """With a unit for `ids console`."""
    feeds: bool = False
    """With a timer for `ids feeds update`."""
    from_package: bool = False
    root: Path = Path("/")
    """Under which the files are put; another one for a package, or a test."""

    @property
    def unit_path(self) -> Path:
        """Return where the engine's unit lies."""
        return self._unit_dir / f"{self.name}.service"

    @property
    def logrotate_path(self) -> Path:
        """Return where logrotate looks."""
        return self.root / "etc/logrotate.d" / self.name

    @property
    def enabled(self) -> tuple[str, ...]:
        """Return the units that a boot is to start."""
        wanted = {
            f"{self.name}.service": True,
            f"{self.name}-console.service": self.console,
            f"{self.name}-feeds.timer": self.feeds,
        }
        return tuple(unit for unit, asked in wanted.items() if asked)

    @property
    def _unit_dir(self) -> Path:
        """Where units lie: an administrator's and a package's have places of their own."""
        return self.root / ("usr/lib/systemd/system" if self.from_package else "etc/systemd/system")

    @property
    def _head(self) -> str:
        return "# Written by the package" if self.from_package else f"# {OURS}"

    def unit(self) -> str:
        """Return the engine's unit."""
        return self._filled(UNIT, "bpf capset @chown prlimit64 setpriority setrlimit")

    def _filled(self, text: str, calls: str = "bpf @chown") -> str:
        """Return a unit; ``calls`` are the system calls that it needs besides."""
        confined = CONFINED.format(
            writable=" ".join(_word(f"-{path}") for path in (self.pin_dir, *self.writes)),
            protect_home="read-only" if self._lies_in("/home", "/root", "/run/user") else "yes",
            private_tmp="no" if self._lies_in("/tmp", "/var/tmp") else "yes",
            calls=calls,
        )
        return text.format(
            head=self._head,
            name=self.name,
            about="" if self.name == "ids" else f" ({self.name})",
            command=" ".join(map(_quoted, self.command)),
            config=_quoted(str(self.config)),
            config_path=_plain(self.config),
            pin_dir=_quoted(str(self.pin_dir)),
            pin_path=_plain(self.pin_dir),
            watchdog_s=WATCHDOG_S,
            folders=FOLDERS,
            confined=confined,
        )

    def _lies_in(self, *folders: str) -> bool:
        """Whether a file that the service needs, or a folder that it writes to, lies in one of these."""
        needed = [*map(Path, self.command), self.config, *self.writes]
        needed += [] if self.from_package else [Path(sys.prefix), CHECKOUT]
        return any(path.is_relative_to(folder) for path in needed for folder in folders)

    def logrotate(self) -> str:
        """Return the snippet for logrotate."""
        return LOGROTATE.format(head=self._head, logs=shlex.quote(f"{self.log_dir}/") + "*.json")

    def files(self) -> dict[Path, str]:
        """Return each file of the service and its text."""
        files = {self.unit_path: self.unit(), self.logrotate_path: self.logrotate()}
        beside = self._unit_dir / self.name
        if self.console:
            files[beside.with_name(f"{self.name}-console.service")] = self._filled(CONSOLE)
        if self.feeds:
            files[beside.with_name(f"{self.name}-feeds.service")] = self._filled(FEEDS)
            files[beside.with_name(f"{self.name}-feeds.timer")] = self._filled(TIMER)
        return files


def written_by(settings: Config) -> tuple[Path, ...]:
    """Return the folders that an engine with these settings writes to, and that are not the unit's own."""
    listen = settings.console.listen
    socket = listen.removeprefix("unix:") if listen.startswith("unix:") else None
    outputs = (settings.eve, settings.syslog, settings.webhook, settings.mail)
    keys = (output.privacy.key_file for output in outputs)  # made where they are not there
    named_files = (settings.eve.path, settings.console.token_file, socket, *keys)
    files = [path for path in named_files if path not in (None, "-")]
    folders = [
        settings.engine.runtime_dir,
        settings.engine.state_dir,
        settings.rules.cache_dir,
        settings.files.store_dir,
        settings.captures.dir,
    ]
    named = [*(Path(str(file)).absolute().parent for file in files), *(Path(name) for name in folders if name)]
    named = [path for path in named if path.is_absolute()]  # any other lies beside the events
    return tuple(dict.fromkeys(path for path in named if not any(path.is_relative_to(own) for own in OWN)))


def packaged(root: Path) -> dict[Path, str]:
    """Return the files of the service as a package brings them, for a package's ``root``."""
    service = Service(
        "ids", ("/usr/bin/ids",), CONFIG_PATH, console=True, feeds=True, root=root, from_package=True
    )  # fmt: skip
    return service.files()


def _quoted(word: str) -> str:
    """Quote a word of a command as systemd.service(5) wants it: there variables are put in."""
    return _word(word).replace("$", "$$")


def _word(word: str) -> str:
    """Quote a word of a list as systemd.syntax(7) wants it."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return plain if plain and not set(plain) & set(" \t'\";") else f'"{plain}"'


def _plain(path: Path) -> str:
    """Spell a path that is a value of its own, which ends with its line: quotes and blanks are part of it."""
    return str(path).replace("%", "%%")
