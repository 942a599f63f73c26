"""Our alerts beside Suricata's: the same captures, the same rules in its language.

An alert is its rule, the ends of its flow and its packet. Suricata judges what the other side has acknowledged, and
reports the packet that brought the acknowledgement; here it is the packet that completed the match. So a packet is *the
same*, or *acknowledged later* where the peer's comes behind ours.

The peer is started anew for each capture, for flows of one must not go on in the next; that takes as long as it reads
its rules. So a capture is compared where one of both alerts at all in a run over all of them.

Each difference that is known and right is in `alerts_checked.txt` with its cause; others make the exit code 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tests.bench.bench_same import Event, replayed
from tests.bench.captures import ROOT, SHARED
from tests.bench.peer import require

CHECKED = Path(__file__).with_name("alerts_checked.txt")
"""A line a difference: whose alert it is (``ours``, ``peer``; ``packets`` where both have it, and not at the same
packets or as often), sid, capture, and behind two blanks the cause.
"""

Alert = tuple[int, tuple[str, ...]]
"""Rule and ends of the flow, whoever sends."""


def main(arguments: Sequence[str] = ()) -> int:
    """Compare; print what differs and the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench alerts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", type=Path, default=SHARED / "rules" / "et-open-2019.rules")
    parser.add_argument("captures", nargs="*", type=Path, help="captures (default: the peer's suite)")
    options = parser.parse_args(list(arguments))
    require()
    captures = options.captures or list(_distinct(sorted((SHARED / "suricata-verify" / "tests").rglob("*.pcap*"))))
    words = ["-S", str(options.rules), "-k", "none", "--fast-path", "off", "--set", "stream.midstream=false"]
    ours = {
        name: [event for event in events if event["event_type"] == "alert"]
        for name, events in replayed(ROOT, captures, words).events.items()
    }
    found = Found()
    for capture in _alerting(captures, ours, options.rules):
        found.compare(_shown(capture), ours.get(str(capture), []), peer_alerts(capture, options.rules))
    return found.print()


class Found:
    """What was the same, and what was not."""

    def __init__(self) -> None:
        self.same = Counter[str]()
        self.packets = Counter[str]()
        self.explained = Counter[str]()
        """Those of ``packets`` that have a cause in the list."""
        self.unknown: list[str] = []
        self.known = Counter[str]()
        self._checked = dict(_checked())

    def compare(self, capture: str, ours: Sequence[Event], peers: Sequence[Event]) -> None:
        """Compare the alerts of one capture."""
        mine, theirs = _by_alert(ours), _by_alert(peers)
        for alert in sorted(mine.keys() | theirs.keys()):
            whose = "both" if alert in mine and alert in theirs else "ours" if alert in mine else "peer"
            self.same[whose] += 1
            pairs = zip_longest(mine.get(alert, []), theirs.get(alert, []))
            relations = Counter(_relation(packet, peers_packet) for packet, peers_packet in pairs)
            self.packets += relations
            unlike = +(relations - Counter(dict.fromkeys(SAME, relations.total())))
            if unlike and self._differs("packets" if whose == "both" else whose, alert, capture):
                self.explained += unlike

    def _differs(self, whose: str, alert: Alert, capture: str) -> bool:
        """Take a difference; return whether it has a cause in the list."""
        cause = self._checked.get(f"{whose} {alert[0]} {capture}")
        if cause is None:
            self.unknown.append(f"{whose} {alert[0]} {capture}  {' '.join(alert[1])}")
            return False
        self.known[cause] += 1
        return True

    def print(self) -> int:
        """Print it all; return 1 where a difference has no cause in the list."""
        both, ours, peers = (self.same[whose] for whose in ("both", "ours", "peer"))
        print(f"alerts by rule and flow: {both} of both, {ours} only ours, {peers} only the peer's")
        print(f"precision {both / max(both + ours, 1):.3f}, recall {both / max(both + peers, 1):.3f}")
        print("by packet: " + ", ".join(f"{count} {name}" for name, count in self.packets.most_common()))
        for title, packets in (("", self.packets), (" but for what is explained", self.packets - self.explained)):
            print(
                f"by packet{title}: precision {_share(packets, 'ours'):.3f}, recall {_share(packets, 'the peer'):.3f}"
            )
        for cause, count in self.known.most_common():
            print(f"{count:5}  {cause}")
        print("".join(f"not in {CHECKED.name}: {line}\n" for line in self.unknown), end="")
        return 1 if self.unknown else 0


def peer_alerts(capture: Path, rules: Path) -> list[Event]:
    """Return the alerts of Suricata, started for one capture or a folder of them."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["suricata", "-r", str(capture), "-S", str(rules), "-l", folder, "-k", "none", "--runmode", "single"]
        subprocess.run(command, capture_output=True, timeout=600, check=False)
        eve = Path(folder) / "eve.json"
        events = (json.loads(line) for line in eve.read_text().splitlines()) if eve.exists() else ()
        return [event for event in events if event["event_type"] == "alert"]


def _alerting(captures: Sequence[Path], ours: dict[str, list[Event]], rules: Path) -> Iterator[Path]:
    """Yield the captures in which one of both alerts in a run over all."""
    if len(captures) == 1:
        yield from captures
        return
    with tempfile.TemporaryDirectory() as folder:
        for number, capture in enumerate(captures):
            (Path(folder) / f"{number:05}.pcap").write_bytes(capture.read_bytes())
        strange = {_ends(event) for event in peer_alerts(Path(folder), rules)}
    strange -= {_ends(event) for events in ours.values() for event in events}
    if strange:
        print(f"the peer alone alerts on flows of {len(strange)} pairs of ends; all captures are compared")
    yield from (capture for capture in captures if strange or ours.get(str(capture)))


def _by_alert(events: Iterable[Event]) -> dict[Alert, list[int]]:
    found: dict[Alert, list[int]] = {}
    for event in events:
        found.setdefault((event["alert"]["signature_id"], _ends(event)), []).append(event.get("pcap_cnt", 0))
    return {alert: sorted(packets) for alert, packets in found.items()}


def _ends(event: Event) -> tuple[str, ...]:
    ends: Any = ((event[f"{side}_ip"], event.get(f"{side}_port", "")) for side in ("src", "dest"))
    return tuple(sorted(f"{address} {port}" for address, port in ends))


SAME = ("the same", "acknowledged later")


def _share(packets: Counter[str], whose: str) -> float:
    """Return how many of one side's alerts the other has at the same packet, or at that which acknowledges it."""
    same = sum(packets[name] for name in SAME)
    return same / max(same + packets["earlier"] + packets["only ours" if whose == "ours" else "only the peer's"], 1)


def _relation(packet: int | None, peers: int | None) -> str:
    if packet is None or peers is None:
        return "only the peer's" if packet is None else "only ours"
    return "the same" if packet == peers else "acknowledged later" if packet < peers else "earlier"


def _checked() -> Iterator[tuple[str, str]]:
    for line in CHECKED.read_text().splitlines():
        if line and not line.startswith("#"):
            what, _, cause = line.partition("  ")
            yield what, cause


def _distinct(captures: Iterable[Path]) -> Iterator[Path]:
    known = set()
    for capture in captures:
        digest = hashlib.sha256(capture.read_bytes()).digest()
        if digest not in known:
            known.add(digest)
            yield capture.resolve()


def _shown(capture: Path) -> str:
    return f"{capture.parent.name}/{capture.name}"


if __name__ == "__main__":
    raise SystemExit(main())
