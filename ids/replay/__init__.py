"""Replay: captures through the same engine, and through the same XDP program, as live traffic.

In: capture files. Out: a `ReplayReport`, the engine's events, and on request the verdict on every packet.

    captures.py   which files are meant
    runner.py     `replay`: one capture after the other through engine and gate
    crew.py       the workers of a replay: each reads the captures, and inspects its share of the flows
    judges.py     who judges the packets: the program by ``BPF_PROG_RUN``, its model in Python, or nobody
    frames.py     captured frames as the program would have met them
    gate.py       `ReplayGate`: orders carried out right behind the packets that caused them
    verdicts.py   the verdict on every packet as JSON lines
    report.py     what was found
"""

from typing import TYPE_CHECKING

from ids.later import exported

if TYPE_CHECKING:
    from ids.replay.captures import find_captures
    from ids.replay.gate import ReplayGate
    from ids.replay.report import BlockReport, CaptureReport, DroppedFlowReport, ReplayReport, Tally
    from ids.replay.runner import replay
    from ids.replay.verdicts import VerdictWriter
else:
    __getattr__ = exported(
        __name__,
        {
            "BlockReport": "report",
            "CaptureReport": "report",
            "DroppedFlowReport": "report",
            "ReplayGate": "gate",
            "ReplayReport": "report",
            "Tally": "report",
            "VerdictWriter": "verdicts",
            "find_captures": "captures",
            "replay": "runner",
        },
    )

__all__ = [
    "BlockReport",
    "CaptureReport",
    "DroppedFlowReport",
    "ReplayGate",
    "ReplayReport",
    "Tally",
    "VerdictWriter",
    "find_captures",
    "replay",
]
