"""Every hook that the engine calls, in the order of a packet's life.

A plugin is a module or an object with functions of these names, marked with ``ids.hookimpl``; arguments that it does
not need may be left out. The host calls the plugins one at a time, in the order of their registration, each call timed
and guarded: a plugin that raises loses that one call, is counted, and is quarantined when it keeps failing or
overruns its time budget. Hooks run in the engine's thread: none may block on a network or a disk. With workers, what
looks at traffic runs in the worker that the flow belongs to, all else in the process that decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:  # a plugin, and each start of the command line, imports this module for its markers alone
    from ids.events import Events
    from ids.plugin.context import EngineContext
    from ids.plugin.session import FlowSession
    from ids.types import (
        I64,
        Bool,
        Change,
        Datagrams,
        Direction,
        Flow,
        FlowBatch,
        FlowColumns,
        Match,
        Packets,
        StreamChunk,
        Streams,
        Transaction,
        Transactions,
    )

PROJECT = "ids"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of the same name."""


@hookspec
def ids_start(context: EngineContext) -> None:
    """Called once, before the first packet and before any worker is forked.

    ``context`` gives the settings, the counters and the plugin's own options. An `ids.errors.IdsError` raised here
    stops the engine with that message: this is the place to refuse bad rules or a file that cannot be opened.
    """


@hookspec
def ids_reload(context: EngineContext) -> Callable[[], None] | None:
    """Called when the operator asks for a reload, between two batches.

    Load again what ``ids_start`` loaded, and return a function that puts it in force; it is called when no plugin
    refused, and must not fail: one that raises all the same is counted and named in the answer, and all others are
    called. When ``ids_reload`` itself raises, none of those functions is called, all go on with what they had, and
    the error is reported: a reload with bad rules changes nothing. With workers, each of them loads, and all of them
    put it in force or none. Packets wait meanwhile: what takes longer than a moment loads in a thread, while this one
    calls ``context.go_on`` where there is one.
    """


@hookspec
def ids_interest() -> set[str] | None:
    """Called after ``ids_start`` and ``ids_reload``: which traffic does this plugin look into, with what it has loaded?

    Return some of ``tcp``, ``udp`` and ``other`` (all other protocols); None means all. The kernel shows the beginning
    of every flow in any case, and the rest of those that some plugin is interested in. A plugin that inspects packets,
    streams or transactions and does not answer is taken to want all.
    """


@hookspec
def ids_needs(flows: FlowColumns, slots: I64, direction: Direction) -> Bool | None:
    """Called for TCP flows of which no parser reads more: into which does this plugin look, as they go on?

    What they speak is known by now, or known not to be. Return for each of the slots, shape (n,), whether anything that
    is loaded looks at packets or payload that this direction's sender sends from here on; None means all. Where nobody
    does, in neither direction, the kernel lets the rest of the flow pass unseen. A plugin that inspects packets or
    streams and does not answer is taken to want all.
    """


@hookspec
def ids_event_types() -> set[str] | None:
    """Called once after ``ids_start``: which event types does this output read? None means all.

    Events that nobody reads are not made. An output that does not answer is taken to read all.
    """


@hookspec
def ids_packets(packets: Packets, flows: FlowBatch) -> list[Match] | None:
    """Called once a batch, before the batch's other hooks; for detectors that look at columns, not at bytes of streams.

    ``packets`` has one row a packet. ``flows.slot`` has each row's flow, -1 where there is none; leave out rows that
    are not ``packets.usable``. Return the matches, or None. No implementation may loop over packets in Python.
    """


@hookspec
def ids_flow_start(flow: Flow) -> None:
    """Called once for each new flow, before any of its bytes; ``ids_packets`` of the same batch came before."""


@hookspec
def ids_streams(streams: Streams) -> list[Match] | None:
    """Called once a batch that brought new bytes of TCP streams, or closed one; a row for each contiguous piece.

    The rows of a direction are in stream order. Protocols were recognised by then, and the rows' transactions come
    right after. Return the matches, or None.
    """


@hookspec
def ids_stream(chunk: StreamChunk) -> list[Match] | None:
    """Called for each newly contiguous piece of a TCP stream, in stream order within a direction: the convenient form
    of ``ids_streams``, which costs a call a piece.

    The last call of a direction has ``chunk.closed`` set, exactly once. A gap is reported by ``chunk.gap``; bytes are
    never made up. Return the matches, or None.
    """


@hookspec
def ids_datagrams(datagrams: Datagrams) -> list[Match] | None:
    """Called once a batch that brought payloads of UDP, ICMP or whatever else is no stream; a row for each packet.

    Return the matches, or None.
    """


@hookspec
def ids_transactions(transactions: Transactions, parts: Transactions) -> list[Match] | None:
    """Called once a batch in which protocol parsers completed sides of exchanges: their buffers are final.

    A request and its response are two rows, usually of different batches. ``transactions.column(name)`` has all
    instances of one buffer. ``parts`` has the same rows and, between them, sides that go on (``partial``), whose end
    may never come: the buffers of their heads are final, those of their bodies may grow. Such a side comes again as its
    body grows, and at its end; so who counts looks at ``transactions``, which is empty where there are only such.
    Return the matches, or None.
    """


@hookspec
def ids_transaction(transaction: Transaction) -> list[Match] | None:
    """Called when a protocol parser has completed one side of an exchange: the convenient form of
    ``ids_transactions``, which costs a call a side.

    Called for the request, and again for the response. Return the matches, or None.
    """


@hookspec
def ids_flagged(session: FlowSession) -> list[Match] | None:
    """Called after a rule or plugin flagged a flow (``flow.flagged``), with its packets as Scapy packets.

    Called for each batch with packets of the flow, until somebody sets ``flow.flagged`` to False. ``session.packets``
    holds the flow's latest packets, bounded; dissection costs hundreds of microseconds a packet, so only flagged flows
    get here. Return the matches, or None.
    """


@hookspec
def ids_veto_block(address: str, match: Match) -> str | None:
    """Called before a source is blocked. Return a reason to forbid the block, or None to have no objection.

    One objection is enough. A veto that raises forbids the block too: in doubt nobody is cut off. Runs where decisions
    are made, once all hooks of the batch have been called.
    """


@hookspec
def ids_events(events: Events) -> None:
    """Called once a batch with the events that the engine emits: for outputs.

    ``events`` is a sequence of EVE objects (dicts ready for JSON; do not change them), and has them as lines of JSON,
    made once for all outputs. No implementation may wait for a disk or a network: hand the lines to a thread.
    """


@hookspec
def ids_event(event: dict[str, Any]) -> None:
    """Called for each event that the engine emits, as the EVE object (a dict ready for JSON); do not change it. The
    convenient form of ``ids_events``, which costs a call an event.
    """


@hookspec
def ids_changes(changes: Sequence[Change]) -> None:
    """Called with what was done, soon after: blocks that the gate has, their ends, and the engine's starts, reloads
    and stops; in order, none of them empty.

    A block is here whether its rule alerts or not. What somebody changes by hand (``ids block add``) is made by another
    process and not among them, but its end is. Runs where decisions are made, for blocks after the events of the same
    batch. ``start`` comes when packets are being inspected, ``stop`` before ``ids_stop``; a replay has neither. No
    implementation may wait for a disk or a network: hand it to a thread.
    """


@hookspec
def ids_flow_end(flow: Flow) -> None:
    """Called once when a flow closed, timed out, was evicted, or the engine stops; after all other hooks of the flow.

    Its counts have by then what the gate did not show (``flow.unseen_packets``, ``flow.unseen_bytes``).
    """


@hookspec
def ids_stop() -> None:
    """Called once, after the last event: flush and close what you opened. Not called in workers."""
