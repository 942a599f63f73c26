"""The kernel's blocklist as a table of networks.

It opens from its pins alone, so ``ids block`` works beside a running engine and without one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.contract import Lists
from ids.kernel.lists.claims import Claims, Kind, Rows, chosen, strongest, together, without
from ids.kernel.lists.entries import Entries
from ids.kernel.lists.networks import (
    KEY_TYPES,
    NetworkSet,
    is_exact,
    key_of,
    network_of,
    not_in,
    places,
    set_all,
    sortable,
)
from ids.kernel.lists.pinned import PinnedList
from ids.kernel.maps.table import Map
from ids.kernel.system.bpffs import at_work, in_turn, is_at_work, locked
from ids.kernel.system.clock import sample_offset_ns
from ids.types import BlockMode, IPNetwork

TABLES = {(4, True): "ids_block4", (6, True): "ids_block6", (4, False): "ids_prefix4", (6, False): "ids_prefix6"}
"""Name of the map by IP version and whether it holds single addresses."""

SWEEP_SHARE = 50
"""A sweep that took t is not repeated before 50 t: sweeping a million entries must not become the main work."""

MAX_AGAIN = 10_000
"""Blocks that are remembered for `repeat`: more than rules order while an import lasts."""

KEPT_SHARE = 64
"""An import leaves a 64th of each table free: a feed that fills it up would keep rules from blocking anybody."""

MAX_ENDS = 1000
"""Claims that ended of which a sweep says which they are; a feed's million would take seconds, and nobody reads it."""

_ORDERED = ["expires_ns", "added_ns", "sid", "label", "mode"]
_COUNTED = ["packets", "bytes", "last_hit_ns"]
"""Columns of an entry: what a claim says, and what the program counts of the network, whosever claim is in force."""

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


class Blocklist(PinnedList):
    """Blocked addresses and prefixes of both families. The program obeys each change from the next packet on.

    Each label has its own claim on a network; the strongest is the entry. See `ids.kernel.lists.claims`.
    """

    map_names = (*TABLES.values(), "ids_claims", *PinnedList.map_names)

    def __init__(self, pin_dir: Path, maps: dict[str, Map], owned: bool = False) -> None:
        super().__init__(pin_dir, maps, owned)
        self._tables = {kind: maps[name] for kind, name in TABLES.items()}
        self._claims = Claims(maps["ids_claims"])
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
            with self._changing(kind):
                held, waiting = self._look(kind, dict.fromkeys(keys))
                others = without(kind, together(held, waiting), ours)
                self._settle(kind, held, waiting, together(others, ours))
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
        with self._changing(kind):
            waited = self._claims.forget(kind, key, self._labels.numbers())
            return self._tables[kind].delete(key) or waited

    def get(self, network: IPNetwork) -> Block | None:
        """Return the entry of exactly this network, expired or not, or None."""
        raw = self._entry((network.version, is_exact(network)), key_of(network))
        return None if raw is None else self._block(network, np.frombuffer(raw, contract.BLOCK)[0], sample_offset_ns())

    def claims_on(self, network: IPNetwork) -> Sequence[Block]:
        """Return the live claims on exactly this network; the one in force comes first."""
        offset_ns, now_ns = sample_offset_ns(), time.monotonic_ns()
        held, waiting = self._look((network.version, is_exact(network)), [key_of(network)])
        values = (value for _, rows in (held, waiting) for value in rows[~_ended(rows, now_ns)])
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
            held, waiting = (chosen(rows, ~_ended(rows[1], now_ns)) for rows in self._look(kind, [key]))
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
            return self._put(claims, partly)

    def _put(self, claims: Entries, partly: bool) -> int:
        for kind in () if partly else self._tables:
            there, wanted = self.entries(kind)[0], claims.of_kind(kind)[0]
            fresh = np.unique(sortable(wanted[not_in(wanted, there)]))
            self._require_room(kind, len(there), len(fresh))
        all_waiting = self._claims.all()
        for kind in self._tables:
            ours = claims.of_kind(kind)
            if not len(ours[0]):
                continue
            held, waiting = self.entries(kind), all_waiting[kind]
            _hand_on_counts(ours, held)
            alone = _alone(ours, held, waiting)
            with self._changing(kind):
                self._set(kind, *chosen(ours, alone))
                rest = chosen(ours, ~alone)
                near, near_waiting = (chosen(rows, ~not_in(rows[0], rest[0])) for rows in (held, waiting))
                others = without(kind, together(near, near_waiting), rest)
                self._settle(kind, near, near_waiting, together(others, rest))
        return len(claims)

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
            return self._replace(networks, self._values([Block(_ANY, expires_ns, mode, label=label)]))

    def _replace(self, networks: NetworkSet, template: NDArray[Any]) -> tuple[int, int]:
        all_waiting = self._claims.all()
        plans = []
        for kind in self._tables:
            wanted = networks.keys.get(kind, np.empty(0, dtype=KEY_TYPES[kind]))
            held = self.entries(kind)
            fresh = wanted[not_in(wanted, held[0])]
            self._require_room(kind, len(held[0]), len(fresh))
            plans.append((kind, wanted, held, fresh))
        added = deleted = 0
        for kind, wanted, held, fresh in plans:
            waiting = all_waiting[kind]
            alone = (held[1]["label"] == template["label"][0]) & not_in(held[0], waiting[0])
            with self._changing(kind):
                self._set(kind, *_repeat(fresh, template))
                gone = self._replace_alone(kind, chosen(held, alone), wanted, template)
                more, fewer = self._replace_shared(kind, chosen(held, ~alone), waiting, wanted, template)
            added += len(fresh) + more
            deleted += gone + fewer
        return added, deleted

    def _require_room(self, kind: Kind, held: int, fresh: int) -> None:
        """Raise `KernelError` for what would fill a table up: then no rule could block anybody any more."""
        most = self._tables[kind].spec.max_entries
        kept = most // KEPT_SHARE
        if fresh and held + fresh > most - kept:
            raise KernelError(
                f"nothing was changed: {fresh:,} new entries do not fit into {TABLES[kind]}, which has {held:,} of"
                f" {most:,} already and keeps room for {kept:,} that rules and operators block",
                "Raise the fast path's `blocks_entries` or `prefixes_entries` and start with fresh pins",
            )

    def _replace_alone(self, kind: Kind, ours: Rows, wanted: NDArray[Any], template: NDArray[Any]) -> int:
        """Renew the entries that nobody else claims, nearly all of a feed's; return how many were deleted."""
        gone = not_in(ours[0], wanted)
        stale = _renew(ours[1], template) & ~gone
        self._set(kind, *chosen(ours, stale))
        return self._tables[kind].delete_many(ours[0][gone])

    def _replace_shared(
        self, kind: Kind, held: Rows, waiting: Rows, wanted: NDArray[Any], template: NDArray[Any]
    ) -> tuple[int, int]:
        """Renew our claims on networks that others claim too; return how many were added and deleted."""
        held_by_us, waiting_by_us = (rows[1]["label"] == template["label"][0] for rows in (held, waiting))
        beside = ~not_in(wanted, held[0][~held_by_us]) & not_in(wanted, waiting[0][waiting_by_us])
        ours = together(chosen(held, held_by_us), chosen(waiting, waiting_by_us))
        gone = not_in(ours[0], wanted)
        stale = _renew(ours[1], template) & ~gone
        changed = together(chosen(ours, stale), _repeat(wanted[beside], template))
        touched = np.concatenate([changed[0], ours[0][gone]])
        near, near_waiting = ~not_in(held[0], touched), ~not_in(waiting[0], touched)
        others = together(chosen(held, near & ~held_by_us), chosen(waiting, near_waiting & ~waiting_by_us))
        self._settle(kind, chosen(held, near), chosen(waiting, near_waiting), together(others, changed))
        return int(beside.sum()), int(gone.sum())

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
            ended, waited = (_ended(rows[1], limit_ns) for rows in (held, waiting))
            left = chosen(held, ended)
            if self.changing or self.changes != moment:
                return swept
            if ends is not None:
                ends.extend(self._first(kind, together(left, chosen(waiting, waited)), MAX_ENDS - len(ends)))
            near = waited | ~not_in(waiting[0], left[0])
            heirs = chosen(waiting, near & ~waited)
            # What only goes is not announced: the program ignored it already, and so does who compares.
            with self._changing(kind) if len(heirs[0]) else nullcontext():
                self._settle(kind, left, chosen(waiting, near), heirs)
            moment = self.changes
            swept += int(ended.sum() + waited.sum())
            size += len(ended) - len(left[0]) + len(set(heirs[0].tolist()))
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
            with self._changing(kind):
                deleted += table.delete_many(self.entries(kind)[0])
        self._claims.clear()
        return deleted

    @property
    def changes(self) -> int:
        """A number that moves before and after every change that is made through this class, by any process."""
        return int(self._config["changes"][0])

    @property
    def changing(self) -> bool:
        """Whether a change is under way, in any process: tables are neither as they were nor as they are to be."""
        return is_at_work(self._pin_dir)

    def entries(self, kind: tuple[int, bool]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all keys (dtype as in `KEY_TYPES`) and values (`contract.BLOCK`) of one of `TABLES`, both (n,)."""
        return self._tables[kind].entries(KEY_TYPES[kind], contract.BLOCK)

    def repair(self, kind: tuple[int, bool], keys: NDArray[Any], values: NDArray[Any], extra: NDArray[Any]) -> None:
        """Put entries back as they were, and delete those that nobody ordered; see `reconcile`."""
        with self._changing(kind):
            self._set(kind, keys, values)
            self._tables[kind].delete_many(extra)

    def _entry(self, kind: Kind, key: bytes) -> bytes | None:
        """Return the value of exactly this entry."""
        raw = self._tables[kind].get(key)
        # A trie answers with the longest match, which may be another entry.
        if raw is None or (not kind[1] and np.frombuffer(raw, contract.BLOCK)["prefixlen"][0] != key[0]):
            return None
        return raw

    def _look(self, kind: Kind, keys: Iterable[bytes]) -> tuple[Rows, Rows]:
        """Return the entries of some networks, and the claims that wait behind them."""
        held = [(key, value) for key in keys if (value := self._entry(kind, key)) is not None]
        labels = self._labels.numbers() if held else []
        waiting = [(key, value) for key, _ in held for value in self._claims.of(kind, key, labels)]
        return _rows(kind, held), _rows(kind, waiting)

    def _settle(self, kind: Kind, held: Rows, waiting: Rows, claims: Rows) -> None:
        """Give some networks the claims that they are to have, instead of those that are held and wait.

        Those that wait come first, then what is in force changes, then goes what has no claim: at no moment is a
        network without a block that is to have one. An entry keeps its counts when another's claim takes its place.
        """
        wins = strongest(claims, time.monotonic_ns())
        beaten = chosen(claims, ~wins)
        self._claims.set(kind, beaten)
        keys, values = chosen(claims, wins)
        at = places(keys, held[0])
        before = held[1][at[at >= 0]]
        now = values[at >= 0]
        handed = before["label"] != now["label"]
        for column in _COUNTED:
            now[column][handed] = before[column][handed]
        values[at >= 0] = now
        same = at >= 0
        same[same] = before[_ORDERED] == now[_ORDERED]
        self._set(kind, keys[~same], values[~same])
        self._claims.delete(kind, without(kind, waiting, beaten))
        self._tables[kind].delete_many(held[0][not_in(held[0], keys)])

    def _set(self, kind: tuple[int, bool], keys: NDArray[Any], values: NDArray[Any]) -> None:
        """Write entries, those of prefixes with their own length; the program cannot ask the trie for it."""
        version, exact = kind
        if not exact:
            values["prefixlen"] = keys.view(contract.PREFIX4 if version == 4 else contract.PREFIX6)["prefixlen"]
        set_all(self._tables[kind], keys, values)

    @contextmanager
    def _changing(self, kind: tuple[int, bool]) -> Iterator[None]:
        """Enclose a change of a table: announce it, and then have flows judged by the prefixes again.

        Announced before, throughout and after, so that whoever compares a table with an earlier look at it knows that
        it was changed on purpose; see `reconcile`. `locked` is not held meanwhile: an import must not hold up a block.
        """
        version, exact = kind
        with at_work(self._pin_dir):
            with locked(self._pin_dir):
                self._config["changes"][0] += 1
            try:
                yield
            finally:
                with locked(self._pin_dir):
                    self._config["changes"][0] += 1
                    if not exact:
                        self._config["lists"][0] |= Lists.PREFIX4 if version == 4 else Lists.PREFIX6
                        self._config["generation"][0] += 1

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


def _ended(values: NDArray[Any], limit_ns: int) -> NDArray[np.bool_]:
    """Return which entries have expired by a time (monotonic)."""
    ended: NDArray[np.bool_] = (values["expires_ns"] != 0) & (values["expires_ns"] <= limit_ns)
    return ended


def _live(kind: Kind, rows: Rows, now_ns: int) -> Iterator[tuple[IPNetwork, bytes, np.void]]:
    """Yield network, key and value of what has not expired, one Python object each."""
    keys, values = chosen(rows, ~_ended(rows[1], now_ns))
    for key, value in zip(keys.tolist(), values, strict=True):
        yield network_of(key, kind[1]), key, value


def _alone(ours: Rows, held: Rows, waiting: Rows) -> NDArray[np.bool_]:
    """Return which claims are the only ones on their networks, nearly all: they need not be compared with others."""
    _, which, often = np.unique(sortable(ours[0]), return_inverse=True, return_counts=True)
    at = places(ours[0], held[0])
    foreign = (at >= 0) & (held[1]["label"][at] != ours[1]["label"]) if len(held[0]) else np.zeros(len(at), np.bool_)
    only: NDArray[np.bool_] = (often[which.reshape(-1)] == 1) & ~foreign & not_in(ours[0], waiting[0])
    return only


def _hand_on_counts(ours: Rows, held: Rows) -> None:
    """Give claims that are in force already what was counted of them."""
    at = places(ours[0], held[0])
    mine = at >= 0
    mine[mine] = held[1]["label"][at[mine]] == ours[1]["label"][mine]
    for column in _COUNTED:
        ours[1][column][mine] = held[1][column][at[mine]]


def _renew(values: NDArray[Any], template: NDArray[Any]) -> NDArray[np.bool_]:
    """Give claims the end and mode of a template; return for which that is new."""
    stale = np.zeros(len(values), dtype=np.bool_)
    for column in ("expires_ns", "mode"):
        stale |= values[column] != template[column][0]
        values[column] = template[column][0]
    return stale


def _repeat(keys: NDArray[Any], template: NDArray[Any]) -> Rows:
    return keys, np.repeat(template, len(keys))


def _rows(kind: Kind, pairs: Sequence[tuple[bytes, bytes]]) -> Rows:
    """Return keys and values as arrays."""
    keys, values = b"".join(key for key, _ in pairs), b"".join(value for _, value in pairs)
    return np.frombuffer(keys, dtype=KEY_TYPES[kind]), np.frombuffer(values, dtype=contract.BLOCK)
