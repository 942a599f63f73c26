"""An engine as it runs live, over a capture: ``python -m tests.bench.operator_client CONFIG CAPTURE PACKETS``.

Prints the processor time of the work as JSON: the start left out, the end, in which outputs write what waits, in it.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ids.capture import open_capture
from ids.config import load_config
from ids.control import ControlServer, socket_path
from ids.counters import Counters
from ids.engine import Engine, settle_memory
from ids.replay.gate import ReplayGate


def main(config_path: str, capture_path: str, most: int) -> None:
    """Inspect up to ``most`` packets, and answer whoever asks meanwhile."""
    config = load_config(Path(config_path))
    counters = Counters()
    engine = Engine(config, ReplayGate(), counters=counters, live=True)
    asked = packets = 0

    def counted() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return engine.counted(time.time_ns())

    with ExitStack() as stack:
        control = ControlServer(socket_path(config.engine.runtime_dir, config.instance), {"stats": counted})
        stack.callback(control.close)
        settle_memory()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        with open_capture(Path(capture_path)) as capture:
            for batch in capture:
                engine.process(batch)
                control.serve()
                packets += len(batch)
                if packets >= most:
                    break
        engine.stop()
        spent = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
    found = {"packets": packets, "asked": asked, "alerts": counters["detect.alerts"], "flows": counters["flow.ended"]}
    print(json.dumps(spent | found | {"lost": counters["store.lost"]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
