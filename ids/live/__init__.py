"""The engine behind the kernel's gate: rings in, blocks out, until it is asked to stop.

loop       `Live`: start, the loop, reload, stop
opening    the gate as it is opened, alone, and left
reload     which changed settings a reload puts in force, and what the others need
guard      which interfaces are guarded, and that they stay so
gate       the engine's orders, carried out in the kernel's maps
crew       the processes that inspect, each behind rings of its own
watch      what passes uninspected, in the log
lag        how far inspection is behind the wire
bites      whether blocks bite, or their sources go on
inside     who counts as inside, and is spared
notices    events that only a live gate has
"""

from ids.live.loop import Live

__all__ = ["Live"]
