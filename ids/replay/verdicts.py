"""The verdict on every packet, one JSON object a line: ``capture``, ``number``, ``ts_ns``, ``verdict``, ``reason``."""

from __future__ import annotations

from typing import BinaryIO

import orjson

from ids.kernel.contract import REASON_NAMES, Reason
from ids.kernel.model.program import XDP_DROP, XDP_PASS, XDP_TX
from ids.types import U8, PacketBatch

_WORDS = {XDP_DROP: "drop", XDP_PASS: "pass", XDP_TX: "answer"}
"""``answer``: the packet was turned around into a challenge of its sender."""


class VerdictWriter:
    """Writes what it is called with; made to be the gate's ``on_verdicts``."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, batch: PacketBatch, actions: U8, reasons: U8) -> None:
        """Write the verdicts of one batch."""
        names = {reason: REASON_NAMES[Reason(reason)] for reason in set(reasons.tolist())}
        columns = zip(batch.number.tolist(), batch.ts_ns.tolist(), actions.tolist(), reasons.tolist(), strict=True)
        self._file.writelines(
            orjson.dumps(
                {
                    "capture": batch.source,
                    "number": number,
                    "ts_ns": ts_ns,
                    "verdict": _WORDS[action],
                    "reason": names[reason],
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for number, ts_ns, action, reason in columns
        )
