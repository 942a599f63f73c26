"""The child of `ids.aside`: carries out orders, each within its bounds.

It runs as a script, and imports nothing of this package. Its arguments are the socket that orders come in on, and the
file that knows them: ``orders()`` there returns functions by their names, ``DECLINED`` has what these raise where an
order cannot be carried out, and ``said(error)`` returns why. An order that exceeds its processor time ends the process
(SIGPROF); what exceeds the memory fails.
"""

from __future__ import annotations

import importlib.util
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType


def loaded(path: str) -> ModuleType:
    """Return the module of a file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(line: Connection, known: ModuleType) -> None:
    """Carry out orders until there is nobody to give any."""
    orders = known.orders()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    own_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    line.send("ready")
    while True:
        try:
            order, cpu_s, memory_bytes, *arguments = line.recv()
        except EOFError:
            return
        wanted = own_bytes + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (wanted if most < 0 else min(wanted, most), most))
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        try:
            answer = True, orders[order](*arguments)
        except known.DECLINED as error:
            answer = False, known.said(error)
        except MemoryError:
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        line.send(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), loaded(sys.argv[2]))
