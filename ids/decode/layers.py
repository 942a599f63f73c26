"""Layers of a batch: what came on the wire, what fragments and tunnels held, and all of it in one order at the end."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ids.decode.columns import Columns
from ids.decode.orderly import Datagrams
from ids.decode.tunnels import LINKTYPE_RAW, Inner
from ids.types import I64, U8, U16, Notes, PacketBatch, Packets


@dataclass(frozen=True, slots=True)
class Layer:
    """Packets that came out of those of the layers before; all layers one behind the other number all packets."""

    columns: Columns
    base: int
    """Number of the first one."""
    root: I64
    """Row of the frame that each came in."""
    parent: I64
    """Number of the packet that each came out of; empty in the first layer."""

    @property
    def end(self) -> int:
        """Number behind the last one."""
        return self.base + len(self.root)


def datagram_batch(batch: PacketBatch, whole: Datagrams) -> PacketBatch:
    """Make a batch of raw IP frames of the datagrams, in the name of the frames that completed them."""
    linktype = np.full(len(whole), LINKTYPE_RAW, np.uint16)
    return _batch(batch, whole.data, whole.row, whole.offset, whole.length, whole.length, linktype)


def inner_batch(level: list[Layer], found: list[Inner]) -> tuple[PacketBatch, Inner, I64, I64]:
    """Make a batch of what one or two layers carry in tunnels, in the order of the frames that it came in.

    Returns with it what it was made of, and for each packet its root and the number of its parent.
    """
    root = np.concatenate([layer.root[inner.row] for layer, inner in zip(level, found, strict=True)])
    parent = np.concatenate([layer.base + inner.row for layer, inner in zip(level, found, strict=True)])
    order = np.argsort(root, kind="stable")
    inner = Inner(*(np.concatenate([getattr(part, name) for part in found])[order] for name in Inner.__slots__))
    root, parent = root[order], parent[order]
    data = level[-1].columns.data  # that of datagrams begins with that of their fragments
    frames = level[0].columns.batch
    # a frame's number and time are those of all that came in it
    row = np.searchsorted(level[0].root, root)
    return _batch(frames, data, row, inner.offset, inner.caplen, inner.wirelen, inner.linktype), inner, root, parent


def _batch(
    batch: PacketBatch, data: U8, row: I64, offset: I64, caplen: I64, wirelen: I64, linktype: U16
) -> PacketBatch:
    """Make a batch in the name of some rows of another."""
    return replace(batch.rows(row), data=data, offset=offset, caplen=caplen, wirelen=wirelen, linktype=linktype)


def joined(layers: list[Layer]) -> Packets:
    """Put all layers into one batch: what came out of a row stands directly behind it."""
    parts = [layer.columns.packets() for layer in layers]
    order = np.argsort(np.concatenate([layer.root for layer in layers]), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))

    def column(name: str, of: list[Any]) -> Any:
        return np.concatenate([getattr(part, name) for part in of])[order]

    batches = [part.batch for part in parts]
    known = [field.name for field in fields(PacketBatch) if field.name not in ("data", "source")]
    names = [name for name in known if getattr(batches[0], name) is not None]
    batch = PacketBatch(
        data=batches[-1].data,  # each layer's data begins with that of the one before
        source=batches[0].source,
        **{name: column(name, batches) for name in names},
    )
    carrier = _carriers(layers)
    inside = carrier >= 0
    carrier[inside] = place[carrier[inside]]
    row = np.concatenate([part.notes.row + layer.base for part, layer in zip(parts, layers, strict=True)])
    code = np.concatenate([part.notes.code for part in parts])
    names = [field.name for field in fields(Packets) if field.name not in ("batch", "carrier", "notes")]
    return Packets(
        batch=batch,
        carrier=carrier[order],
        notes=Notes(place[row], code),
        **{name: column(name, parts) for name in names},
    )


def _carriers(layers: list[Layer]) -> I64:
    """Return the number of the outermost packet around each; -1: there is none."""
    found = np.full(layers[-1].end, -1, np.int64)
    depth = np.concatenate([layer.columns.depth for layer in layers])
    for layer in layers[1:]:
        own = found[layer.parent]
        inside = layer.columns.depth > depth[layer.parent]
        found[layer.base : layer.end] = np.where(inside & (own < 0), layer.parent, own)
    return found
