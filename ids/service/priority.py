"""Who waits for a processor where there are too few: forwarding, and whatever else a gateway does, goes before us.

Niceness alone says little: by default the kernel shares its time between sessions first, and looks at niceness within
each (sched(7), "The autogroup feature"). A service is a session of its own, so its session is made nicer as well.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def give_way(niceness: int) -> None:
    """Wait for others as nice(1) counts it, 0 to 19, and have everything started from here on wait likewise.

    A session that others began, such as that of a terminal, is left as it is. Nothing is raised where the kernel or a
    service's limits refuse: whoever is not nicer works all the same.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
    if niceness > 0 and os.getsid(0) == os.getpid():
        with suppress(OSError):
            AUTOGROUP.write_text(f"{niceness}")
