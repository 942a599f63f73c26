"""Blocklist claims and the allow-list in one file, as they were, to be in force again after a reboot.

Ends are kept as UNIX times, beside the time of saving. Where the clock is wrong after a reboot, what is left of a block
is never more than when it was saved, and a clock that is years away is not believed: then as much is left as there was.
Within one boot (only the pins were removed) a clock that nobody can set says how much time has passed.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ids.errors import IdsError, KernelError
from ids.kernel import Allow, AllowList, Blocklist, contract
from ids.kernel.lists.entries import NETWORK, Entries, networks_from, texts_of
from ids.kernel.maps.counts import pinned_heartbeat_age_s
from ids.kernel.system.clock import sample_offset_ns
from ids.state.files import set_aside, write_state
from ids.types import ascending

log = logging.getLogger(__name__)

FILE_NAME = "lists"
VERSION = 1
SETTINGS = "settings"
"""Label of what `respond.allow` puts on the allow-list: that comes from the settings, or is not wanted any more."""

ALIVE_S = 10.0
"""An engine that showed itself within this time saves changes itself, once a few seconds."""

ABSURD_NS = 366 * 86_400_000_000_000
"""A machine that was off for longer than a year is taken for one whose clock was set wrong: before, or now."""

_MAGIC = b"ids-lists\n"
_DIGEST = 32
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
CLAIM = np.dtype([("until_ns", "<i8"), ("added_ns", "<i8"), ("sid", "<u4"), ("label", "<u2"), ("mode", "u1")])
"""What is kept of a claim; times are UNIX, ``until_ns`` is 0 for no end."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file has."""

    saved_ns: int
    boot: str
    boot_ns: int
    """The clock of that boot when it was saved."""
    labels: dict[int, str]
    networks: NDArray[Any]
    claims: NDArray[Any]
    allowed: NDArray[Any]
    """Networks, and in ``allowed_labels`` the label of each."""
    allowed_labels: list[str]

    def elapsed_ns(self) -> int:
        """Return how much time has passed since, as far as that can be believed."""
        if self.boot and self.boot == boot_id():
            return max(0, boot_time_ns() - self.boot_ns)
        passed = time.time_ns() - self.saved_ns
        if 0 <= passed <= ABSURD_NS:
            return passed
        log.warning("the clock is %d days from when the lists were saved; blocks go on as if no time had passed",
                    passed // 86_400_000_000_000)  # fmt: skip
        return 0


def save(blocks: Blocklist, allowed: AllowList, path: Path) -> int:
    """Write both lists in place of what is there; return how many claims. Raises `OSError`, `KernelError`."""
    parts = blocks.columns()
    held = Entries(np.concatenate([part.networks for part in parts]), np.concatenate([part.values for part in parts]))
    claims, offset_ns = np.zeros(len(held), CLAIM), sample_offset_ns()
    ends = held.values["expires_ns"].astype(np.int64)
    claims["until_ns"] = np.where(ends == 0, 0, ends + offset_ns)
    claims["added_ns"] = held.values["added_ns"].astype(np.int64) + offset_ns
    for name in ("sid", "label", "mode"):
        claims[name] = held.values[name]
    keep = [entry for entry in allowed.list() if entry.label != SETTINGS]
    head = {
        "version": VERSION, "saved_ns": time.time_ns(), "boot": boot_id(), "boot_ns": boot_time_ns(),
        "labels": blocks.label_names(ascending(claims["label"]).tolist()),
        "claims": len(claims), "allowed": [entry.label for entry in keep],
    }  # fmt: skip
    data = b"".join(
        [
            _MAGIC, orjson.dumps(head, option=orjson.OPT_NON_STR_KEYS), b"\n",
            held.networks.tobytes(), claims.tobytes(), _networks(keep).tobytes(),
        ]
    )  # fmt: skip
    write_state(path, data + hashlib.blake2b(data, digest_size=_DIGEST).digest())
    return len(claims)


def keep(pins: Path, folder: Path) -> str:
    """Save the lists after a change by hand, where no engine is there that would; return why that failed, or nothing.

    ``pins`` is the folder of the instance's maps, ``folder`` that of what outlives them.
    """
    try:
        age_s = pinned_heartbeat_age_s(pins)
        if age_s is None or age_s >= ALIVE_S:
            with Blocklist.open(pins) as blocks, AllowList.open(pins) as allowed:
                save(blocks, allowed, folder / FILE_NAME)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    except IdsError as error:
        return str(error)
    return ""


def load(path: Path) -> Saved | None:
    """Return what was saved; None where nothing was, or where it is damaged: then it is moved aside."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.error("%s cannot be read: %s; its blocks are not in force", path, error.strerror)
        return None
    try:
        return _parsed(data)
    except (ValueError, KeyError, TypeError) as error:
        set_aside(path, str(error))
        return None


def restore(blocks: Blocklist, allowed: AllowList, saved: Saved) -> tuple[int, int]:
    """Put saved lists in force; return how many claims that is, and how many have run out. Raises `KernelError`."""
    for label in dict.fromkeys(saved.allowed_labels):
        mine = [number for number, name in enumerate(saved.allowed_labels) if name == label]
        allowed.add([ipaddress.ip_network(text) for text in texts_of(saved.allowed[mine])], label)
    numbers = blocks.label_numbers(saved.labels.values())
    label_of = np.zeros(1 << 16, np.uint16)
    for number, name in saved.labels.items():
        label_of[number] = numbers[name]
    claims, elapsed_ns, now_ns = saved.claims, saved.elapsed_ns(), time.monotonic_ns()
    left = claims["until_ns"] - saved.saved_ns - elapsed_ns
    values = np.zeros(len(claims), contract.BLOCK)
    values["expires_ns"] = np.where(claims["until_ns"] == 0, 0, now_ns + np.maximum(left, 1))
    values["added_ns"] = np.maximum(1, now_ns - np.maximum(0, saved.saved_ns - claims["added_ns"]) - elapsed_ns)
    values["sid"], values["mode"], values["label"] = claims["sid"], claims["mode"], label_of[claims["label"]]
    lasting = (claims["until_ns"] == 0) | (left > 0)
    count = blocks.put(Entries(saved.networks, values).chosen(lasting), partly=True) if lasting.any() else 0
    return count, int((~lasting).sum())


def restore_file(blocks: Blocklist, allowed: AllowList, path: Path) -> None:
    """Put saved lists in force where the kernel has none of its own yet, and say so in the log."""
    if blocks.changes or any(len(part) for part in blocks.columns()) or allowed.list():
        return
    saved = load(path)
    if saved is None:
        return
    try:
        count, ended = restore(blocks, allowed, saved)
    except KernelError as error:
        log.error("the saved lists are not all in force: %s", error)
        return
    log.info("the saved lists are in force again: %d claims, %d allowed; %d have run out", count,
             len(saved.allowed_labels), ended)  # fmt: skip


def boot_id() -> str:
    """Return what names this boot of the machine; empty where it cannot be read."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def boot_time_ns() -> int:
    """Return the time since the boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _parsed(data: bytes) -> Saved:
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not data.startswith(_MAGIC) or hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise ValueError("it is not whole")
    end = body.index(b"\n", len(_MAGIC))
    head = orjson.loads(body[len(_MAGIC) : end])
    if head["version"] != VERSION:
        raise ValueError(f"it is of version {head['version']}, this program reads {VERSION}")
    rows, at = int(head["claims"]), end + 1
    networks = np.frombuffer(body, NETWORK, rows, at)
    at += networks.nbytes
    claims = np.frombuffer(body, CLAIM, rows, at)
    allowed = np.frombuffer(body, NETWORK, len(head["allowed"]), at + claims.nbytes)
    labels = {int(number): str(name) for number, name in head["labels"].items()}
    when = int(head["saved_ns"]), str(head["boot"]), int(head["boot_ns"])
    return Saved(*when, labels, networks, claims, allowed, list(head["allowed"]))


def _networks(entries: Sequence[Allow]) -> NDArray[Any]:
    networks = [entry.network for entry in entries]
    return networks_from([(net.version, net.prefixlen, int(net.network_address)) for net in networks])
