"""The kernel's blocklist as a table of networks.

It opens from its pins alone, so ``ids block`` works beside a running engine and without one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.lists import imports
from ids.kernel.lists.claims import Kind, Rows, chosen, together, without
from ids.kernel.lists.entries import Entries
from ids.kernel.lists.networks import (
    KEY_TYPES,
    NetworkSet,
    is_exact,
    key_of,
    network_of,
    not_in,
)
from ids.kernel.lists.tables import BlockTables, ended
from ids.kernel.maps.table import Map
from ids.kernel.system.bpffs import at_work, in_turn
from ids.kernel.system.clock import sample_offset_ns
from ids.types import BlockMode, IPNetwork

SWEEP_SHARE = 50
"""A sweep that took t is not repeated before 50 t: sweeping a million entries must not become the main work."""

MAX_AGAIN = 10_000
"""Blocks that are remembered for `repeat`: more than rules order while an import lasts."""

MAX_ENDS = 1000
"""Claims that ended of which a sweep says which they are; a feed's million would take seconds, and nobody reads it."""

_MODES = (BlockMode.ENFORCE, BlockMode.SHADOW)
_MAX_NS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of the blocklist, or one source's claim on a network. Times are UNIX nanoseconds."""

    network: IPNetwork
    expires_ns: int | None = None
    """None: until it is deleted."""
    mode: BlockMode = BlockMode.ENFORCE
    sid: int = 0
    """The rule that asked; 0 for an operator or a feed."""
    label: str = ""
    """Who put it here."""
    added_ns: int = 0
    packets: int = 0
    bytes: int = 0
    last_hit_ns: int | None = None
    others: tuple[Block, ...] = ()
    """Weaker claims of others on this network, as `Blocklist.list` found them: the strongest steps in for this one."""


class Blocklist(BlockTables):
    """Blocked addresses and prefixes of both families. The program obeys each change from the next packet on.

    Each label has its own claim on a network; the strongest is the entry. See `ids.kernel.lists.claims`.
    """

    def __init__(self, pin_dir: Path, maps: dict[str, Map], owned: bool = False) -> None:
        super().__init__(pin_dir, maps, owned)
        self._next_sweep_ns = 0
        self._size = 0
        self._again: dict[tuple[IPNetwork, str], Block] = {}
        """What was added while somebody changed a list as a whole, who may have overwritten it unseen."""

    def __len__(self) -> int:
        """Return how many entries there are, expired ones that are not swept yet included: as of the last sweep."""
        if not self._next_sweep_ns:
            self.sweep()
        return self._size

    def add(self, blocks: Iterable[Block]) -> int:
        """Block networks; return how many claims that makes, one for each network and label.

        An earlier claim of the same label is replaced; where it was in force, the network's counters start from zero.
        Raises `KernelError` when a table is full: entries of a blocklist are never evicted for others. It waits for no
        import; `repeat` is for what one may have overwritten.
        """
        disturbed = self.changing
        groups: dict[Kind, dict[tuple[IPNetwork, str], Block]] = {}
        for block in blocks:
            network = block.network
            groups.setdefault((network.version, is_exact(network)), {})[network, block.label] = block
        for kind, group in groups.items():
            keys = [key_of(network) for network, _ in group]
            ours = np.frombuffer(b"".join(keys), dtype=KEY_TYPES[kind]), self._values(list(group.values()))
            with self.announced(kind):
                held, waiting = self.look(kind, dict.fromkeys(keys))
                others = without(kind, together(held, waiting), ours)
                self.settle(kind, held, waiting, together(others, ours))
        disturbed = disturbed or self.changing
        for claim, block in (one for group in groups.values() for one in group.items()):
            if disturbed and len(self._again) < MAX_AGAIN:
                self._again[claim] = block
            else:
                self._again.pop(claim, None)
        return sum(len(group) for group in groups.values())

    def repeat(self, *, wait: bool = False) -> None:
        """Add once more what was added beside an import, once that is over; ``wait`` for that, or leave it for later.

        An import compares what it read with what it wants, seconds before it writes: it knows nothing of these.
        """
        if self._again and wait:
            with in_turn(self._pin_dir):
                pass
        if not self._again or (self.changing and not wait):
            return
        now_ns = time.monotonic_ns() + sample_offset_ns()
        again, self._again = self._again, {}
        self.add(block for block in again.values() if block.expires_ns is None or block.expires_ns > now_ns)

    def delete(self, network: IPNetwork) -> bool:
        """Unblock a network, whoever claims it; return whether there was exactly this entry."""
        self._again = {claim: block for claim, block in self._again.items() if claim[0] != network}
        kind, key = (network.version, is_exact(network)), key_of(network)
        with self.announced(kind):
            waited = self._claims.forget(kind, key, self._labels.numbers())
            return self._tables[kind].delete(key) or waited

    def get(self, network: IPNetwork) -> Block | None:
        """Return the entry of exactly this network, expired or not, or None."""
        raw = self.entry((network.version, is_exact(network)), key_of(network))
        return None if raw is None else self._block(network, np.frombuffer(raw, contract.BLOCK)[0], sample_offset_ns())

    def claims_on(self, network: IPNetwork) -> Sequence[Block]:
        """Return the live claims on exactly this network; the one in force comes first."""
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        held, waiting = self.look((network.version, is_exact(network)), [key_of(network)])
        values = (value for _, rows in (held, waiting) for value in rows[~ended(rows, now_ns)])
        return [self._block(network, value, offset_ns) for value in values]

    def list(self) -> list[Block]:
        """Return all entries that have not expired, IPv4 first, single addresses before prefixes."""
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        waiting = self._claims.all()
        blocks = []
        for kind in sorted(self._tables, key=lambda kind: (kind[0], not kind[1])):
            others: dict[bytes, list[Block]] = {}
            for network, key, value in _live(kind, waiting[kind], now_ns):
                others.setdefault(key, []).append(self._block(network, value, offset_ns))
            blocks += [
                self._block(network, value, offset_ns, others.get(key, ()))
                for network, key, value in _live(kind, self.entries(kind), now_ns)
            ]
        return blocks

    def covering(self, network: IPNetwork) -> Sequence[Block]:
        """Return the live entries that hold this network, with all their claims, the narrowest first: at once,
        however many entries there are."""
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        found = []
        for length in range(network.prefixlen, -1, -1):
            wider = network.supernet(new_prefix=length)
            kind, key = (wider.version, is_exact(wider)), key_of(wider)
            held, waiting = (chosen(rows, ~ended(rows[1], now_ns)) for rows in self.look(kind, [key]))
            claims = [self._block(wider, value, offset_ns) for rows in (held, waiting) for value in rows[1]]
            if claims:
                found.append(replace(claims[0], others=tuple(claims[1:])))
        return found

    def columns(self) -> tuple[Entries, Entries]:
        """Return all live entries, and the claims that wait behind them, a row each."""
        held = Entries.of((kind, self.entries(kind)) for kind in self._tables)
        return held.live(), Entries.of(self._claims.all().items()).live()

    def put(self, claims: Entries, *, partly: bool = False) -> int:
        """Add claims, a row each, as `add` does; return how many. Labels are numbers, as `label_numbers` gives them.

        A claim that is in force already keeps what was counted of it. Raises `KernelError` where they do not all fit,
        and changes nothing; with ``partly``, as many as fit are added before.
        """
        with in_turn(self._pin_dir), at_work(self._pin_dir):
            return imports.put(self, claims, partly=partly)

    def label_numbers(self, names: Iterable[str]) -> dict[str, int]:
        """Return the numbers of labels, giving them some where they have none; raises `KernelError`."""
        return {name: self._labels.number(name) for name in names}

    def label_names(self, numbers: Iterable[int]) -> dict[int, str]:
        """Return the labels of numbers."""
        return {number: self._labels.name(number) for number in numbers}

    def replace(
        self, label: str, networks: NetworkSet, *, expires_ns: int | None = None, mode: BlockMode = BlockMode.ENFORCE
    ) -> tuple[int, int]:
        """Make ``networks`` the whole set of one label; return how many claims were added and deleted.

        New entries come before old ones go, so what is in both sets stays blocked throughout, with its counters. What
        others claim too stays theirs, before and after: imports of several processes wait for each other. Raises
        `KernelError` where they do not all fit, and changes nothing.
        """
        with in_turn(self._pin_dir), at_work(self._pin_dir):
            return imports.replace(self, networks, self._values([Block(_ANY, expires_ns, mode, label=label)]))

    def sweep(self, now_ns: int | None = None, ends: MutableSequence[Block] | None = None) -> int:
        """Delete claims that have expired by ``now_ns`` (UNIX; None: now); return how many.

        The first `MAX_ENDS` of them are added to ``ends``, where that is given.

        The program ignores an expired entry already; a claim that waited behind it, a shadow, steps in now.
        Does nothing when it is asked again too soon, see `SWEEP_SHARE`, and leaves for later what somebody else changes
        meanwhile: an import may just have given a claim that had ended another end.
        """
        started = time.monotonic_ns()
        if now_ns is None:
            limit_ns = started
        elif started < self._next_sweep_ns:
            return 0
        else:
            limit_ns = now_ns - sample_offset_ns()
        if self.changing:
            return 0
        swept = size = 0
        moment, all_waiting = self.changes, self._claims.all()
        for kind in self._tables:
            held, waiting = self.entries(kind), all_waiting[kind]
            over, waited = (ended(rows[1], limit_ns) for rows in (held, waiting))
            left = chosen(held, over)
            if self.changing or self.changes != moment:
                return swept
            if ends is not None:
                ends.extend(self._first(kind, together(left, chosen(waiting, waited)), MAX_ENDS - len(ends)))
            near = waited | ~not_in(waiting[0], left[0])
            heirs = chosen(waiting, near & ~waited)
            # What only goes is not announced: the program ignored it already, and so does who compares.
            with self.announced(kind) if len(heirs[0]) else nullcontext():
                self.settle(kind, left, chosen(waiting, near), heirs)
            moment = self.changes
            swept += int(over.sum() + waited.sum())
            size += len(over) - len(left[0]) + len(set(heirs[0].tolist()))
        self._size = size
        finished = time.monotonic_ns()
        self._next_sweep_ns = finished + SWEEP_SHARE * (finished - started)
        return swept

    def _first(self, kind: Kind, rows: Rows, limit: int) -> Sequence[Block]:
        """Return some rows as objects."""
        offset_ns, (keys, values) = sample_offset_ns(), rows
        pairs = zip(keys[:limit].tolist(), values[:limit], strict=True)
        return [self._block(network_of(key, kind[1]), value, offset_ns) for key, value in pairs]

    def clear(self) -> int:
        """Delete all entries; return how many there were."""
        deleted = 0
        for kind, table in self._tables.items():
            with self.announced(kind):
                deleted += table.delete_many(self.entries(kind)[0])
        self._claims.clear()
        return deleted

    def _values(self, blocks: Sequence[Block]) -> NDArray[Any]:
        """Return the kernel's values of fresh entries; dtype `contract.BLOCK`."""
        values = np.zeros(len(blocks), dtype=contract.BLOCK)
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        values["expires_ns"] = [
            0 if block.expires_ns is None else min(_MAX_NS, max(1, block.expires_ns - offset_ns)) for block in blocks
        ]
        values["added_ns"] = [max(0, block.added_ns - offset_ns) if block.added_ns else now_ns for block in blocks]
        values["sid"] = [block.sid for block in blocks]
        values["label"] = [self._labels.number(block.label) for block in blocks]
        values["mode"] = [_MODES.index(block.mode) for block in blocks]
        return values

    def _block(self, network: IPNetwork, value: np.void, offset_ns: int, others: Iterable[Block] = ()) -> Block:
        return Block(
            network,
            int(value["expires_ns"]) + offset_ns if value["expires_ns"] else None,
            _MODES[int(value["mode"]) % len(_MODES)],
            int(value["sid"]),
            self._labels.name(int(value["label"])),
            int(value["added_ns"]) + offset_ns,
            int(value["packets"]),
            int(value["bytes"]),
            int(value["last_hit_ns"]) + offset_ns if value["last_hit_ns"] else None,
            tuple(others),
        )


_ANY = network_of(bytes(4), exact=True)


def _live(kind: Kind, rows: Rows, now_ns: int) -> Iterator[tuple[IPNetwork, bytes, np.void]]:
    """Yield network, key and value of what has not expired, one Python object each."""
    keys, values = chosen(rows, ~ended(rows[1], now_ns))
    for key, value in zip(keys.tolist(), values, strict=True):
        yield network_of(key, kind[1]), key, value
