"""Our events beside the peer's, field by field, over all public captures.

Both engines read each capture with the same ``suricata.yaml``, without rules and with all events of protocols. Events
of one type and one conversation are paired, the most alike first; of each pair all fields are compared. An event that
the other does not have differs in all of its fields. What says when and by which packet an engine noticed something is
set aside (`ASIDE`): the peer reads a stream when it is acknowledged.

    python -m tests.content.peer_events                      # the figures of all types of events
    python -m tests.content.peer_events fileinfo http        # of these, and what differs how often
    python -m tests.content.peer_events fileinfo --each      # and each difference, with its capture
    python -m tests.content.peer_events --valid              # judge all our events by the schema, and compare none

``peer_events.txt`` has the differences that are known, each with its cause; the suite holds some captures to it. Where
the peer is wrong, or says what is true of its own working alone, the cause begins with ``aside:``. There are two
figures: of all fields, and of all but those.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from click.testing import CliRunner
from jsonschema import Draft7Validator

from ids.cli import cli
from ids.protocols import BY_NAME
from tests.content.peer_suite import names
from tests.shared import SHARED

TYPES = (
    "http", "dns", "tls", "ssh", "smtp", "fileinfo", "ftp", "ftp_data", "smb", "dcerpc", "krb5", "rdp", "snmp", "dhcp",
    "sip", "mqtt", "quic", "ike", "tftp", "rfb", "pgsql", "modbus", "dnp3", "nfs", "bittorrent_dht", "flow", "anomaly",
)  # fmt: skip
"""All that both engines write without rules, but `stats`, whose counters are each engine's own."""
KNOWN = Path(__file__).with_name("peer_events.txt")
SET_ASIDE = "aside: "
"""Begins a cause where it is the peer that is wrong."""
ASIDE = frozenset({
    "timestamp", "flow_id", "pcap_cnt", "pcap_filename", "in_iface", "ip_v", "ids", "tunnel", "metadata",
    "parent_id",
})  # fmt: skip
"""Fields that are not compared: when, by which packet, and what only one of both writes beside the event's own."""

CONFIG = """\
%YAML 1.1
---
vars:
  address-groups: {HOME_NET: any, EXTERNAL_NET: any}
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      community-id: true
      types:
        - http: {extended: yes}
        - http2
        - dns: {version: 2}
        - tls: {extended: yes, session-resumption: yes}
        - ssh
        - smtp
        - ftp
        - smb
        - dcerpc
        - krb5
        - rdp
        - snmp
        - dhcp: {extended: yes}
        - sip
        - mqtt
        - quic
        - ike
        - nfs
        - tftp
        - rfb
        - pgsql
        - modbus
        - dnp3
        - bittorrent-dht
        - flow
        - anomaly: {types: {decode: yes, stream: yes, applayer: yes}}
        - files: {force-magic: yes, force-hash: [md5, sha1, sha256]}
stream: {midstream: no, checksum-validation: no}
app-layer:
  protocols:
    tls: {enabled: yes, detection-ports: {dp: 443}, ja3-fingerprints: yes, ja4-fingerprints: yes}
    ssh: {enabled: yes, hassh: yes}
    pgsql: {enabled: yes, stream-depth: 0}
    smtp: {enabled: yes, mime: {decode-mime: yes, decode-base64: yes, decode-quoted-printable: yes, extract-urls: yes}}
    modbus: {enabled: yes, detection-ports: {dp: 502}}
    dnp3: {enabled: yes, detection-ports: {dp: 20000}}
    bittorrent-dht: {enabled: yes}
    enip: {enabled: yes, detection-ports: {dp: 44818, sp: 44818}}
    quic: {enabled: yes, ja4-fingerprints: yes}
    http2: {enabled: yes}
    http:
      enabled: yes
      libhtp: {default-config: {personality: IDS, request-body-limit: 100kb, response-body-limit: 100kb,
        request-body-minimal-inspect-size: 32kb, request-body-inspect-window: 4kb,
        response-body-minimal-inspect-size: 40kb, response-body-inspect-window: 16kb,
        response-body-decompress-layer-limit: 2, http-body-inline: auto}}
"""

Event = dict[str, Any]
Difference = tuple[str, str, Any, Any]
"""Type of the event, field, the peer's value and ours; None: there is none."""


@dataclass(slots=True)
class Tally:
    """What came of comparing events of one type."""

    theirs: int = 0
    ours: int = 0
    equal: int = 0
    """Events that are equal in all fields."""
    fields: int = 0
    fields_equal: int = 0
    aside: int = 0
    """Fields that differ, and of which the list says that the peer is wrong."""
    unparsed: int = 0
    """Events of theirs, of protocols for which there is no parser here: these are not compared."""
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what came of another capture."""
        for name in ("theirs", "ours", "equal", "fields", "fields_equal", "aside", "unparsed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.differences += other.differences

    def forgive(self, differences: Iterable[Difference]) -> None:
        """Take some of the differences for none: these fields are not compared."""
        for one in differences:
            self.differences.remove(one)
            self.fields -= 1

    @property
    def share(self) -> float:
        """Fields that are equal, of all."""
        return self.fields_equal / self.fields if self.fields else 1.0

    @property
    def share_aside(self) -> float:
        """Fields that are equal, of all but those that are set aside."""
        left = self.fields - self.aside
        return self.fields_equal / left if left else 1.0


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Return the fields of an event by their dotted names."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def fields_of(event: Event) -> dict[str, Any]:
    """Return what is compared of an event; addresses in one spelling, for the peer writes IPv6 without ``::``."""
    found = {name: value for name, value in flat(event) if name.partition(".")[0] not in ASIDE}
    return {name: address(value) if name.endswith("_ip") else value for name, value in found.items()}


def address(text: Any) -> Any:
    """Return an address in its shortest spelling."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def conversation(event: Event) -> tuple[Any, ...]:
    """Return what two events must have in common to be paired: their type and who talks, in either direction."""
    ends = [(address(event.get(f"{end}_ip")), event.get(f"{end}_port")) for end in ("src", "dest")]
    return event["event_type"], event.get("proto"), *sorted(ends, key=str)


def compared(theirs: Iterable[Event], ours: Iterable[Event], capture: str = "") -> dict[str, Tally]:
    """Compare the events of one capture, by type."""
    groups: dict[tuple[Any, ...], tuple[list[Event], list[Event]]] = defaultdict(lambda: ([], []))
    for side, events in enumerate((theirs, ours)):
        for event in events:
            groups[conversation(event)][side].append(fields_of(event))
    tallies: dict[str, Tally] = defaultdict(Tally)
    for (kind, *_), (peers, own) in groups.items():
        tally = tallies[kind]
        tally.theirs += len(peers)
        tally.ours += len(own)
        for peer, mine in paired(peers, own):
            compare(kind, peer, mine, tally, capture)
    return tallies


def paired(theirs: list[Event], ours: list[Event]) -> Iterator[tuple[Event, Event]]:
    """Pair events, the most alike first; what is left over meets an event without fields."""
    alike = sorted(
        ((likeness(peer, mine), -i, -j) for i, peer in enumerate(theirs) for j, mine in enumerate(ours)), reverse=True
    )
    left, right = set(range(len(theirs))), set(range(len(ours)))
    for _, i, j in alike:
        if -i in left and -j in right:
            left.discard(-i)
            right.discard(-j)
            yield theirs[-i], ours[-j]
    yield from ((theirs[i], {}) for i in sorted(left))
    yield from (({}, ours[j]) for j in sorted(right))


def likeness(peer: Event, mine: Event) -> int:
    """Return how many fields two events have in common."""
    return sum(name in mine and mine[name] == value for name, value in peer.items())


def compare(kind: str, peer: Event, mine: Event, tally: Tally, capture: str) -> None:
    """Compare two events; one without fields is one that is not there."""
    spoken = peer.get("app_proto", "http")
    if not mine and not (spoken in BY_NAME and BY_NAME[spoken].parsed):
        tally.unparsed += 1
        return
    union = peer.keys() | mine.keys()
    wrong = sorted(name for name in union if name not in peer or name not in mine or peer[name] != mine[name])
    tally.fields += len(union)
    tally.fields_equal += len(union) - len(wrong)
    tally.equal += not wrong
    found: list[Difference]
    if not (peer and mine):
        of = peer or mine
        what = str(of.get("app_proto", of.get("fileinfo.filename", "")))
        found = [(kind, "missing" if peer else "extra", what, None)]
        weight = len(union)
    else:
        found = [(kind, name, peer.get(name), mine.get(name)) for name in wrong]
        weight = 1
    tally.aside += weight * sum(cause(capture, one).startswith(SET_ASIDE) for one in found)
    tally.differences += found


def read(path: Path, types: Iterable[str] | None) -> list[Event]:
    """Return the events of some types in a file, or of all."""
    wanted = None if types is None else frozenset(types)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [event for event in map(json.loads, lines) if wanted is None or event["event_type"] in wanted]


def of_peer(capture: Path, folder: Path, types: Iterable[str]) -> list[Event]:
    """Return the peer's events of a capture."""
    config, rules = folder / "suricata.yaml", folder / "none.rules"
    config.write_text(CONFIG)
    rules.touch()
    options = ["-c", config, "-r", capture, "-S", rules, "-l", folder, "-k", "none", "--runmode", "single"]
    subprocess.run(["suricata", *map(str, options)], capture_output=True, timeout=120, check=False)
    return read(folder / "eve.json", types)


def of_ours(capture: Path, folder: Path, types: Iterable[str] | None) -> list[Event]:
    """Return our events of a capture by the same configuration; all events, by our own."""
    config, eve = folder / "ours.yaml", folder / "ours.json"
    config.write_text(CONFIG if types is not None else "files: {hashes: [md5, sha1, sha256], magic: true}\n")
    words = ["replay", capture, "--eve", eve, f"--config={config}", "--fast-path", "off", "--set", "rules.paths=[]"]
    with chdir(folder):
        CliRunner().invoke(cli, [str(word) for word in words])
    return read(eve, types)


def faults(capture: Path, folder: Path, schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with our events of a capture by the schema; beside ``ids``, which is ours."""
    validator = Draft7Validator(schema)
    found: dict[str, None] = {}
    for event in of_ours(capture, folder, None):
        event.pop("ids", None)
        for fault in validator.iter_errors(event):
            place = ".".join(map(str, fault.absolute_path))
            found[f"{event['event_type']} {place}: {fault.message[:160]}"] = None
    return list(found)


def captures(*lists: str) -> dict[str, Path]:
    """Return the captures of the public tests by name; of a test with several, each."""
    suite = SHARED / "suricata-verify" / "tests"
    found: dict[str, Path] = {}
    for name in names(*lists):
        paths = sorted([*(suite / name).glob("*.pcap"), *(suite / name).glob("*.pcapng")])
        for path in paths:
            found[name if len(paths) == 1 else f"{name}/{path.name}"] = path
    return found


def of_capture(capture: Path, types: Iterable[str], name: str = "") -> dict[str, Tally]:
    """Compare what both engines write of a capture, of that name in the list."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        return compared(of_peer(capture, place, types), of_ours(capture, place, types), name)


def can_compare() -> bool:
    """Return whether the peer is installed."""
    return shutil.which("suricata") is not None


@lru_cache(maxsize=1)
def known() -> dict[tuple[str, str, str], str]:
    """Return the causes of known differences, by type of event, capture (``*``: of any) and field."""
    lines = (line for line in KNOWN.read_text().splitlines() if line and not line.startswith("#"))
    parts = (line.split("  ", 3) for line in lines)
    return {(kind, capture, name): cause for kind, capture, name, cause in parts}


def cause(capture: str, difference: Difference) -> str:
    """Return why a capture has a difference; nothing where no line of the list has it."""
    causes = known()
    kind, name, peer, _ = difference
    keys = [(kind, of, said) for of in (capture, "*") for said in (f"{name}:{peer}", name)]
    return next((causes[key] for key in keys if key in causes), "")


def unknown(capture: str, differences: Iterable[Difference]) -> list[Difference]:
    """Return those differences of a capture that no line of the list has."""
    return [difference for difference in differences if not cause(capture, difference)]


def judge_all(*lists: str) -> int:
    """Print what is wrong with our events of all public captures by the schema."""
    schema = json.loads((SHARED / "eve-schema.json").read_text())
    read_of, wrong = 0, 0
    for name, capture in captures(*lists).items():
        with TemporaryDirectory() as folder:
            found = faults(capture, Path(folder), schema)
        read_of += 1
        wrong += bool(found)
        print("".join(f"{name}  {fault}\n" for fault in found), end="", flush=True)
    print(f"{read_of - wrong} of {read_of} captures have valid events alone")
    return int(bool(wrong))


def main() -> int:
    """Print the figures of some types over all public captures."""
    parser = argparse.ArgumentParser(description="Compare our events with the peer's.")
    parser.add_argument("types", nargs="*", default=[], help=f"such as fileinfo; none: {' '.join(TYPES)}")
    parser.add_argument("--each", action="store_true", help="print each difference, with its capture")
    parser.add_argument("--list", action="append", default=[], help="such as public_log.txt; none: all")
    parser.add_argument("--valid", action="store_true", help="judge all our events by the schema")
    given = parser.parse_args()
    if given.valid:
        return judge_all(*given.list)
    types = given.types or TYPES
    if not can_compare():
        print("suricata is not installed")
        return 1
    totals: dict[str, Tally] = {kind: Tally() for kind in types}
    unlisted: Counter[str] = Counter()
    for name, capture in captures(*given.list).items():
        for kind, tally in of_capture(capture, types, name).items():
            totals[kind].add(tally)
            unlisted[kind] += len(unknown(name, tally.differences))
            for difference in tally.differences if given.each else ():
                mark = " " if not unknown(name, [difference]) else "*"
                print(
                    f"{mark} {name}  {kind}  {difference[1]}  {difference[2]!r} -> {difference[3]!r}"[:300], flush=True
                )
    for kind, tally in totals.items():
        print(
            f"{kind}: {tally.theirs} of theirs ({tally.unparsed} of protocols without a parser here), {tally.ours} of"
            f" ours, {tally.equal} equal; fields {tally.fields_equal} of {tally.fields}: {tally.share:.4f},"
            f" {tally.share_aside:.4f} without the {tally.aside} where the peer is wrong;"
            f" {unlisted[kind]} of {len(tally.differences)} differences are not in the list"
        )
        counts = Counter(
            name if name not in ("missing", "extra") else f"{name}:{peer}" for _, name, peer, _ in tally.differences
        )
        print("".join(f"    {count:5}  {name}\n" for name, count in counts.most_common(40)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
