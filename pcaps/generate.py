#!/usr/bin/env python3
"""Write the captures of this folder, or check that they are what this program writes.

    python pcaps/generate.py            write all
    python pcaps/generate.py --check    compare; exit 1 and name each file that differs

`index.yaml` beside this file says what every capture shows, and which rules it must fire.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from captures import bodies, hosts, shapes, web
from captures.wire import Capture

FOLDER = Path(__file__).resolve().parent

FAMILIES: tuple[Callable[[], Capture], ...] = (
    web.scanners,
    web.traversal,
    web.sqli,
    web.injection,
    web.log4shell,
    web.frameworks,
    web.appliances,
    web.webshells,
    hosts.shells,
    hosts.smb,
    hosts.c2,
    hosts.miners,
    hosts.cleartext,
    bodies.leaks,
    bodies.downloads,
    bodies.tools,
    bodies.scripts,
    shapes.benign,
    shapes.syn_flood,
    shapes.fragments,
    shapes.out_of_order,
    shapes.ipv6,
    shapes.vlan,
    shapes.scanning,
)


def captures() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file, the variants of a format after the plain ones."""
    for family in FAMILIES:
        yield f"{family.__name__}.pcap", family().pcap()
    yield "log4shell.pcapng", web.log4shell().pcapng()
    yield "traversal.pcap.gz", web.traversal().pcap_gz()


def content(path: Path) -> bytes:
    """Return a file's bytes, decompressed: the compressed form depends on the version of zlib."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the captures of this folder.")
    parser.add_argument("--check", action="store_true", help="only compare with what is there")
    check = parser.parse_args().check
    wrong = []
    known = {"index.yaml"}
    for name, made in captures():
        path = FOLDER / name
        known.add(name)
        if not check:
            path.write_bytes(made)
        elif not path.exists():
            wrong.append(f"{name}: missing; run {Path(__file__).name} and commit it")
        elif content(path) != (gzip.decompress(made) if path.suffix == ".gz" else made):
            wrong.append(f"{name}: differs from what {Path(__file__).name} makes; run it, look, and commit")
    strays = {path.name for pattern in ("*.pcap", "*.pcap.gz", "*.pcapng") for path in FOLDER.glob(pattern)} - known
    wrong += [f"{name}: nothing here makes it" for name in sorted(strays)]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
