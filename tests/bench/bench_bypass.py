"""What is kept from the engine because nobody could find anything in it: packets, bytes, and processor time.

Downloads from nginx and from ``openssl s_server`` through a gateway, at a rate that leaves the engine time to say what
it needs no more of: twelve of a megabyte over TLS, one of 24 MB over TLS and one over HTTP. All shown: no bypass, and a
depth that nothing reaches.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ids.errors import KernelError
from ids.lab.guard import Guard, rules_directory
from ids.lab.removal import wait_until
from ids.lab.topology import BENIGN, SERVER, Lab
from ids.lab.website import start_website
from tests.bench.report import CannotRun, Row, show

PORT = 4433
SMALL, LARGE, PAGES = 1_000_000, 24_000_000, 12
RATE = "12M"
MAKE_KEY = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
SERVE_TLS = ("openssl", "s_server", "-quiet", "-WWW", "-accept", str(PORT))
ON_HTTP = 'alert http any any -> any any (http.uri; content:"/evil"; sid:1;)\n'
ALL_SHOWN = {
    "engine": {"bypass": [], "bypass_unneeded": False},
    "fastpath": {"depth_tcp_bytes": 1 << 30},
    "stream": {"depth_bytes": 1 << 30},
}


def _cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken (proc(5): the 14th and 15th field)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(lab: Lab) -> None:
    """Start both servers, with a small file and a large one."""
    start_website(lab)
    pages = lab.directory / "web-server" / "pages"
    for name, size in (("small.bin", SMALL), ("large.bin", LARGE)):
        (pages / name).write_bytes(os.urandom(size))
    key, certificate = lab.directory / "key.pem", lab.directory / "certificate.pem"
    made = [*MAKE_KEY, "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=server.example"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    served = ["env", "-C", str(pages), *SERVE_TLS, "-key", str(key), "-cert", str(certificate)]
    lab.spawn(lab.server, served, "tls.log")
    time.sleep(1)


def _download(lab: Lab) -> None:
    """Fetch everything, each file on a connection of its own."""
    tls = f"https://{SERVER}:{PORT}"
    for url in [f"{tls}/small.bin"] * PAGES + [f"{tls}/large.bin", f"http://{SERVER}/large.bin"]:
        command = ["curl", "-sk", "--limit-rate", RATE, "--interface", BENIGN, "-o", "/dev/null", url]
        lab.attacker.run(*command, timeout_s=60)


def _measured(lab: Lab, rules: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Let the engine see the downloads; return what was shown, what was left out, and the processor time it took."""
    guard = Guard(lab, rules={"paths": [str(rules)]}, **settings)
    guard.start()
    before, counted = _cpu_s(guard.pid), guard.command("stats")["kernel"]  # the gate counts on from one to the next
    _download(lab)
    stats: dict[str, Any] = {}

    def read() -> bool:
        stats.update(guard.command("stats"))
        new = stats["kernel"]["pass.shown"]["packets"] - counted.get("pass.shown", {"packets": 0})["packets"]
        return bool(stats["engine"]["ids"]["decode"]["packets"] >= new * 0.99)

    wait_until(read, 5)
    for reason, counts in counted.items():
        for unit, count in counts.items():
            stats["kernel"][reason][unit] -= count
    stats["cpu_s"] = _cpu_s(guard.pid) - before
    guard.stop()
    return stats


def _rows(name: str, stats: dict[str, Any]) -> list[Row]:
    kernel = stats["kernel"]
    passed = {reason: counts for reason, counts in kernel.items() if reason.startswith("pass.")}
    total = sum(counts["packets"] for counts in passed.values())
    flows = {row["reason"]: row["flows"] for row in stats["uninspected"]}
    left_out = ", ".join(
        f"{reason.removeprefix('pass.')} {counts['packets']:,} packets, {counts['bytes'] / 1e6:.1f} MB"
        + (f" of {flows[of]} flows" if (of := reason.removeprefix("pass.")) in flows and flows[of] else "")
        for reason, counts in passed.items()
        if reason in ("pass.bypass", "pass.unneeded", "pass.depth") and counts["packets"]
    )
    shown = 100 * kernel["pass.shown"]["packets"] / total
    return [Row(f"{name}: packets shown", shown, "%", note=left_out), Row(f"{name}: processor", stats["cpu_s"], "s")]


def main() -> None:
    """Measure without, and with the rules on HTTP alone, and with those that ship."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("nginx", "openssl", "curl"))):
        raise CannotRun("needs root, nginx, openssl and curl")
    rows: list[Row] = []
    try:
        with Lab() as lab:
            _serve(lab)
            on_http = lab.directory / "http.rules"
            on_http.write_text(ON_HTTP)
            for name, rules, settings in (
                ("all shown, a rule on HTTP", on_http, ALL_SHOWN),
                ("as it comes, a rule on HTTP", on_http, {}),
                ("all shown, starter rules", rules_directory(), ALL_SHOWN),
                ("as it comes, starter rules", rules_directory(), {}),
            ):
                rows += _rows(name, _measured(lab, rules, settings))
    except KernelError as error:
        raise CannotRun(str(error)) from error
    show("What is not shown of downloads", rows, "python -m tests.bench bypass")


if __name__ == "__main__":
    main()
