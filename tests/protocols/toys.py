"""Protocols made up for tests: small parsers that do what real ones may."""

from __future__ import annotations

from ids.protocols import Buffer, Handover, Protocol, Setup
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction


class Echo:
    """Hands on what it is fed, a transaction each; ``boom`` makes it raise, ``over`` hands the flow over."""

    def __init__(self, setup: Setup, slot: int, tx_id: int) -> None:
        self.setup = setup
        self.slot = slot
        self.tx_id = tx_id

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take bytes of a stream."""
        data, over, rest = stretch.data.partition(b"over")
        if data:
            self.datagram(stretch.direction, data, stretch.ts_ns, stretch.number, out)
        if not over:
            return None
        return Handover(self.tx_id, (b"", rest) if stretch.direction else (rest, b""))

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take a datagram."""
        if b"boom" in data:
            raise ValueError("hostile")
        first, *more = data.split(b",")
        buffers, further = {"toy.word": first}, {"toy.word": tuple(more)} if more else {}
        fields = {"words": 1 + len(more)}
        flows, slot, tx_id = self.setup.flows, self.slot, self.tx_id
        out.append(
            Transaction(
                flows, slot, "toy", tx_id, direction, buffers, fields, ts_ns, number, complete=True, more=further
            )
        )
        self.tx_id += 1

    def release(self) -> None:
        """Count that it was let go."""
        self.setup.counters.add("toy.released")


TOY = Protocol(
    name="toy",
    from_client=b"toy ",
    from_server=b"yot ",
    datagram=lambda data: data.startswith(b"toy "),
    buffers=(Buffer("toy.word", "toy", None, "words between commas", several=True),),
    event="toy",
    streams=lambda setup: lambda slot, tx_id: Echo(setup, slot, tx_id),
    datagrams=lambda setup: lambda slot, tx_id: Echo(setup, slot, tx_id),
)
