"""The first file of settings of a host, with comments: what was found on it, what was chosen, and what comes next."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ids.errors import UsageError
from ids.literal import literal
from ids.rules.settings import DEFAULT_VARIABLES
from ids.types import IPNetwork
from ids.whole import write_whole

MAX_REMARKS = 100
"""Lines of findings that are written down; a host with thousands of interfaces has doctor for the rest."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface as it was found."""

    name: str
    about: str
    """Kind, and what speaks for or against guarding it."""
    chosen: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What was found on a host."""

    interfaces: Sequence[Interface] = ()
    networks: Sequence[tuple[IPNetwork, str]] = ()
    """Own networks that are not private anyway, and how each is known."""
    forwards: bool = False
    remarks: Sequence[str] = field(default=())
    """What doctor found wanting, a line each."""
    made: str = ""
    """When this was found out, for the reader."""


def text_of(found: Found, log_path: str) -> str:
    """Return the file. Names in it come from the host, and may be anything."""
    return "".join((_head(found), _interfaces(found), _networks(found), _rest(log_path)))


def _comment(lines: Iterable[str]) -> str:
    return "".join(f"# {literal(line)}".rstrip() + "\n" for line in lines)


def _yaml(data: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(data, default_flow_style=None, width=10_000)
    return text


def _head(found: Found) -> str:
    lines = [
        f"Settings of ids for this host, written by `ids init`{f' on {found.made}' if found.made else ''}.",
        "Every setting has a default: what is not here is as in docs/settings.md. `ids config check -c FILE` checks",
        "this file, `ids config show -c FILE` prints what is in force and why, and `ids reload` puts changes in force.",
    ]
    if found.remarks:
        lines += ["", "`ids doctor` found, when this was written:"]
        lines += [f"  - {remark}" for remark in found.remarks[:MAX_REMARKS]]
    return _comment(lines) + "\n"


def _interfaces(found: Found) -> str:
    chosen = [one.name for one in found.interfaces if one.chosen]
    lines = ["Interfaces to guard: each leg of a gateway, for packets are dropped where they come in."]
    if found.forwards:
        lines.append("This host forwards, so the legs inside are named too.")
    lines += [f"  {one.name}: {one.about}{'' if one.chosen else ' (not chosen)'}" for one in found.interfaces]
    if not chosen:
        lines.append("None was found that carries traffic: name yours.")
    return _comment(lines) + _yaml({"interfaces": chosen}) + "\n"


def _networks(found: Found) -> str:
    home = [*DEFAULT_VARIABLES["HOME_NET"], *(str(network) for network, _ in found.networks)]
    lines = [
        "Who counts as inside: rules judge by it, and a host inside is not blocked for what a link made it ask for."
    ]
    lines += [f"  {network}: {how}" for network, how in found.networks]
    lines.append("The private networks are there by default. Add the public ones of your hosts, of IPv6 above all.")
    return _comment(lines) + _yaml({"vars": {"HOME_NET": home}}) + "\n"


def _rest(log_path: str) -> str:
    return f"""\
# shadow: nothing is dropped, and `ids stats` counts what would have been (would_drop.*).
# When you trust it: enforce, and `ids reload`.
respond:
  mode: shadow
  # Never blocked, whatever a rule says: your own way in, monitoring, partners.
  allow: []

# Events, one JSON object a line, as Suricata's EVE; logrotate keeps two weeks of them.
{_yaml({"eve": {"path": log_path}})}
engine:
  # An interface that comes later (a tunnel, a modem) is waited for.
  wait_interfaces: true
  # The engine keeps the capabilities that it needs, and processes that only inspect keep none.
  drop_privileges: true
"""


def write_settings(path: Path, text: str, *, force: bool = False) -> Path | None:
    """Write the file; return where a former one went. Raises `UsageError`, also where there is one already."""
    try:
        if not path.parent.is_dir():
            os.makedirs(path.parent, mode=0o750)
    except OSError as error:
        raise UsageError(f"{path.parent} cannot be made: {error.strerror}; run it as root, or name another") from error
    try:
        if force and path.exists():
            former = path.with_name(f"{path.name}.before")
            write_whole(former, path.read_bytes(), path.stat().st_mode & 0o777)
            write_whole(path, text.encode(), 0o640)  # at no moment is there no file, or half of one
            return former
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; --force writes a new one, and keeps it as {path}.before") from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}; run it as root, or name another with -c"
        ) from error
    return None


def is_private(network: IPNetwork) -> bool:
    """Return whether a network is inside by default, or belongs to nobody: link-local, loopback."""
    if network.is_link_local or network.is_loopback or network.is_multicast:
        return True
    usual = (ipaddress.ip_network(text) for text in DEFAULT_VARIABLES["HOME_NET"])
    return any(network.version == one.version and network.subnet_of(one) for one in usual)  # type: ignore[arg-type]
