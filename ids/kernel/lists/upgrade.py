"""Take over what a program of an older contract version has pinned: its lists, and what else is worth keeping.

The older program goes on dropping throughout, by maps that it holds itself; `FastPath.attach` exchanges it in one step
for one that has the same entries. Maps whose format is still the same stay as they are. The others are written anew
under another name, all of them; then the old configuration is unpinned, which is the moment from which on the old pins
do not count any more; then the new maps get their names. Who is interrupted before that moment begins again, and who is
interrupted behind it goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.lists.formats import FORMATS, LISTS, Format, current
from ids.kernel.lists.networks import set_all
from ids.kernel.maps.pins import pinned_version, refusal
from ids.kernel.maps.table import Map, MapSpec
from ids.kernel.system import syscall
from ids.kernel.system.bpffs import locked

_CONFIG = "ids_config"
_NEW = "new_"


def upgrade(pin_dir: Path, specs: Mapping[str, MapSpec]) -> list[str]:
    """Make the pins of an older version those of this one; return what is worth a note, nothing where they are.

    ``specs`` says what each map is to be. Raises `KernelError` where the version is newer, or not known any more, and
    where the entries do not fit: then nothing was changed.
    """
    with locked(pin_dir):
        version = pinned_version(pin_dir)
        if version is None:
            return _finish(pin_dir)
        if version in (0, contract.VERSION):
            return []
        formats = FORMATS.get(version) if version < contract.VERSION else None
        if formats is None:
            raise refusal(pin_dir, version)
        for path in pin_dir.glob(f"{_NEW}*"):
            path.unlink()
        try:
            kept = {name for name, was in formats.items() if _keep(pin_dir / name, was, specs[name])}
        except BaseException:
            for path in pin_dir.glob(f"{_NEW}*"):
                path.unlink()
            raise
        kept |= {path.name.removeprefix(_NEW) for path in pin_dir.glob(f"{_NEW}*")}  # until they are replaced
        for path in sorted(pin_dir.glob("ids_*")):
            if path.name not in kept and path.name != _CONFIG:
                path.unlink()
        (pin_dir / _CONFIG).unlink()
        _finish(pin_dir)
    return [f"took over the lists under {pin_dir} from contract version {version}; this is {contract.VERSION}"]


def renew(config: NDArray[Any], maps: Mapping[str, Map]) -> None:
    """Have a fresh configuration ask the lists, where they are older than it and have entries.

    Flows and blocks remember the generation in which a list had nothing for them: that is not to come again by chance.
    """
    if all(next(iter(maps[name]), None) is None for name in LISTS):
        return
    config["lists"][0] |= contract.Lists.PREFIX4 | contract.Lists.PREFIX6
    for name in ("generation", "allow_generation"):
        config[name][0] = int.from_bytes(os.urandom(8), "little") >> 1 | 1


def _keep(path: Path, was: Format, spec: MapSpec) -> bool:
    """See to it that a map is there in today's format; return whether its pin stays as it is."""
    pinned = Map.open_pin(str(path), path.name)
    if pinned is None:
        return False
    now = current()[path.name]
    with pinned:
        if was == now and pinned.spec.same_layout(spec):
            return True
        if path.name not in LISTS and was.key != now.key:
            return False
        if (pinned.spec.key_bytes, pinned.spec.value_bytes) != (was.key.itemsize, was.value.itemsize):
            raise KernelError(f"{path} is not what its version says", "Remove the pins with `ids detach`")
        keys, values = pinned.entries(_plain(was.key), was.value)
    keys, values = _plain_of(converted(keys.view(was.key), now.key)), converted(values, now.value)
    with Map.create(spec) as table:
        set_all(table, keys, values)
        syscall.obj_pin(table.fd, str(path.with_name(_NEW + path.name)))
    return False


def converted(rows: NDArray[Any], to: np.dtype[Any]) -> NDArray[Any]:
    """Return structs in another format: fields of the same name and shape are kept, new ones are zero."""
    if rows.dtype == to:
        return rows
    made = np.zeros(len(rows), to)
    for name in to.names or ():
        if name in (rows.dtype.names or ()) and rows.dtype[name].shape == to[name].shape:
            made[name] = rows[name]
    return made


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"V{dtype.itemsize}")


def _plain_of(rows: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows).view(_plain(rows.dtype))


def _finish(pin_dir: Path) -> list[str]:
    """Give the maps that were written anew their names."""
    renamed = sorted(pin_dir.glob(f"{_NEW}*"))
    for path in renamed:
        path.replace(path.with_name(path.name.removeprefix(_NEW)))
    return ["finished taking over the lists, which was interrupted"] if renamed else []
