"""Who waits for a processor where there are too few: forwarding, and whatever else a gateway does, goes before us.

Niceness alone says little: by default the kernel shares its time between sessions first, and looks at niceness within
each (sched(7), "The autogroup feature"). A service is a session of its own, so its session is made nicer as well.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

AUTOGROUP = Path("/proc/self/autogroup")
ATTEMPTS = 5
AGAIN_S = 0.11


def give_way(niceness: int) -> None:
    """Wait for others as nice(1) counts it, 0 to 19, and have everything started from here on wait likewise.

    Who waits longer already is left as he is, and everybody where it is 0. A session that others began, such as that of
    a terminal, is left as it is. Where the kernel or a service's limits refuse, the log says so: whoever is not nicer
    works all the same.
    """
    if not niceness:
        return
    for make_nicer in (_make_process_nicer, _make_session_nicer):
        try:
            make_nicer(niceness)
        except OSError as error:
            log.warning(
                "this process does not give way to others as it should (niceness %d): %s. Allow it setpriority(2) and"
                " %s, or give its service a CPUWeight=", niceness, error.strerror, AUTOGROUP,
            )  # fmt: skip


def _make_process_nicer(niceness: int) -> None:
    if os.getpriority(os.PRIO_PROCESS, 0) < niceness:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


def _make_session_nicer(niceness: int) -> None:
    """Raises `OSError`. Of those without CAP_SYS_ADMIN the kernel takes one such order in a tenth of a second, of all
    sessions together (kernel/sched/autogroup.c): at a boot several of ours are given at once."""
    if os.getsid(0) != os.getpid() or not AUTOGROUP.exists():
        return  # it is another's; or the kernel knows no such thing, and niceness is enough
    now = AUTOGROUP.read_text().split()  # "/autogroup-12 nice 0"; nothing where time is shared between cgroups
    if not now or int(now[-1]) >= niceness:
        return
    for further in reversed(range(ATTEMPTS)):
        try:
            AUTOGROUP.write_text(f"{niceness}")
        except BlockingIOError:
            if not further:
                raise
            time.sleep(AGAIN_S)
        else:
            return
