"""Loads the rules of folders and plays what lies beside them, each in a process of its own; says what came of it.

    python -m tests.rules.bomb_child

A folder is a line on stdin, its answer a line of JSON on stdout. ``traffic`` in it is what a client sends to port 4444
over TCP, ``datagram`` the same over UDP.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path

from ids.rules.language.loader import SUFFIXES, load_rules
from ids.rules.model.patterns import SEARCHER
from ids.rules.model.scanning import COMPILER
from ids.testing import Session
from plugins.rules import Rules

CPU_S = 240
"""A net: nothing here takes a tenth of it."""
ADDRESS_SPACE = 8 << 30
"""Another: Hyperscan and NumPy reserve more than they use."""


def exploded(folder: Path) -> dict[str, object]:
    """Return what came of the rules of a folder, in this process, which is under limits from here on."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES and ".tests." not in path.name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded = load_rules(files)
    errors = [str(error) for error in (*loaded.errors, *loaded.refused)]
    found: dict[str, object] = {
        "errors": [*errors[:50], *errors[50:][-200:]],
        "loaded": len(loaded.rules) + len(loaded.yara.rules),
        "alerts": [],
        "counters": {},
    }
    if found["loaded"] and any((folder / name).exists() for name in ("traffic", "datagram")):
        session = Session(f"rules.paths={json.dumps([str(file) for file in files])}", rules=Rules())
        if (folder / "traffic").exists():
            session.tcp((folder / "traffic").read_bytes(), dport=4444)
        if (folder / "datagram").exists():
            session.udp((folder / "datagram").read_bytes(), dport=4444)
        session.end()
        found |= {"alerts": session.sids, "counters": dict(session.counters.values)}
    COMPILER.close()
    SEARCHER.close()
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found |= {
        "mebibytes": (own - before) // 1024,
        "mebibytes_aside": children // 1024,
        "cpu_s": round(sum(one.ru_utime + one.ru_stime for one in used), 1),
    }
    return found


def main() -> None:
    """Answer each line with what came of its folder, or how its process ended."""
    for line in sys.stdin:
        came = Path(line.rstrip("\n"), "came")
        process = os.fork()
        if not process:
            status = 1
            try:
                came.write_text(json.dumps(exploded(came.parent)))
                status = 0
            except BaseException:
                came.write_text(json.dumps({"raised": traceback.format_exc()[-3000:]}))
            finally:
                os._exit(status)
        _, status = os.waitpid(process, 0)
        answer = came.read_text() if came.exists() else json.dumps({"status": status})
        print(answer.replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
