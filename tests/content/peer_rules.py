"""Rules in Suricata's language, read and matched by the engine and by Suricata itself: where they differ.

    python -m tests.content.peer_rules odd.rules                       # which rules one of both refuses
    python -m tests.content.peer_rules odd.rules capture.pcap ...      # and how often the others match

Each rule stands in a line of its own and has a sid. Of each rule that both load, the alerts of both are counted over
each capture; a rule that differs is printed with the first packets of both. Suricata alerts on no more than 255 rules a
packet, so rules are run `AT_ONCE`. Where only a packet's number differs, nothing is said: Suricata looks into a stream
when it is acknowledged.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from click.testing import CliRunner

from ids.cli import cli
from ids.rules.language.suricata.files import ConfigFiles
from ids.rules.language.suricata.loader import SuricataLoader
from ids.rules.language.variables import Variables
from ids.rules.settings import DEFAULT_VARIABLES

AT_ONCE = 200
SHOWN = 8
"""Packets of a rule that are printed."""
CONFIG = """\
%YAML 1.1
---
vars:
  address-groups: {HOME_NET: any, EXTERNAL_NET: any}
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, types: [alert]}
packet-alert-max: 255
stream: {midstream: no, checksum-validation: no}
app-layer:
  protocols:
    tls: {enabled: yes, detection-ports: {dp: 443}, ja3-fingerprints: yes, ja4-fingerprints: yes}
    ssh: {enabled: yes, hassh: yes}
    pgsql: {enabled: yes, stream-depth: 0}
    modbus: {enabled: yes, detection-ports: {dp: 502}}
    dnp3: {enabled: yes, detection-ports: {dp: 20000}}
    enip: {enabled: yes, detection-ports: {dp: 44818, sp: 44818}}
    quic: {enabled: yes, ja3-fingerprints: yes, ja4-fingerprints: yes}
"""

_SID = re.compile(r"\bsid:\s*(\d+)\s*;")
_REFUSED = re.compile(r'error parsing signature "(.*)" from file .* at line \d+')
Alerts = dict[int, list[int]]
"""By sid, the packets."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A rule that matches otherwise in one capture."""

    rule: str
    capture: str
    theirs: list[int]
    ours: list[int]


def by_sid(text: str) -> dict[int, str]:
    """Return the rules of a file by their sids."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return {int(found[1]): line for line in lines if (found := _SID.search(line))}


def refused_here(rules: dict[int, str]) -> dict[int, str]:
    """Return which rules the engine leaves out, and why."""
    numbers = list(rules)
    loader = SuricataLoader(Variables(DEFAULT_VARIABLES), ConfigFiles())
    loader.take("r.rules", "\n".join(rules.values()))
    return {numbers[fault.location.line - 1]: fault.message for fault in loader.left_out}


def refused_there(rules: dict[int, str], folder: Path) -> dict[int, str]:
    """Return which rules Suricata refuses, and what it says of each."""
    command = [*_command(rules, folder), "-T", "-v"]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    refused, before = {}, ""
    for line in (result.stdout + result.stderr).splitlines():
        found = _REFUSED.search(line)
        if found is not None and (sid := _SID.search(found[1])) is not None:
            refused[int(sid[1])] = before
            before = ""
        elif line.startswith(("Error", "E: ")):
            before = line.partition(": ")[2][:200]
    return refused


def matched_there(rules: dict[int, str], capture: Path, folder: Path) -> Alerts:
    """Return the alerts of Suricata."""
    command = [*_command(rules, folder), "-r", str(capture), "-k", "none", "--runmode", "single"]
    subprocess.run(command, capture_output=True, check=False)
    return alerts(folder / "eve.json")


def matched_here(rules: dict[int, str], capture: Path, folder: Path) -> Alerts:
    """Return the alerts of the engine."""
    _command(rules, folder)
    words = ["replay", str(capture), "-S", "r.rules", "--eve", "ours.json", "--config=suricata.yaml"]
    with chdir(folder):
        CliRunner().invoke(cli, [*words, "--fast-path", "off", "--set", "stream.midstream=false"])
    return alerts(folder / "ours.json")


def _command(rules: dict[int, str], folder: Path) -> list[str]:
    """Write rules and settings; return how Suricata is called with them."""
    (folder / "r.rules").write_text("\n".join(rules.values()) + "\n", encoding="latin-1", errors="replace")
    (folder / "suricata.yaml").write_text(CONFIG)
    return ["suricata", "-c", str(folder / "suricata.yaml"), "-S", str(folder / "r.rules"), "-l", str(folder)]


def alerts(path: Path) -> Alerts:
    """Return the packets of each rule's alerts; 0: one that Suricata made up."""
    found: Alerts = defaultdict(list)
    for line in path.read_text().splitlines() if path.exists() else ():
        event = json.loads(line)
        if event["event_type"] == "alert":
            found[event["alert"]["signature_id"]].append(event.get("pcap_cnt", 0))
    path.unlink(missing_ok=True)
    return found


def differences(rules: dict[int, str], captures: Iterable[Path]) -> Iterator[Difference]:
    """Yield each rule that matches more or less often here, by capture."""
    numbers = list(rules)
    groups = [numbers[at : at + AT_ONCE] for at in range(0, len(numbers), AT_ONCE)]
    with TemporaryDirectory() as name:
        for capture in captures:
            for group in groups:
                some = {sid: rules[sid] for sid in group}
                theirs = matched_there(some, capture.resolve(), Path(name))
                ours = matched_here(some, capture.resolve(), Path(name))
                for sid in group:
                    if len(theirs.get(sid, [])) != len(ours.get(sid, [])):
                        yield Difference(rules[sid], capture.name, theirs.get(sid, []), ours.get(sid, []))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what differs; return how much that is, 125 at most."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rules", type=Path)
    parser.add_argument("captures", type=Path, nargs="*")
    given = parser.parse_args(arguments)
    if shutil.which("suricata") is None:
        parser.error("Suricata is not installed: nothing to compare with")
    rules = by_sid(given.rules.read_text(encoding="latin-1"))
    here = refused_here(rules)
    with TemporaryDirectory() as name:
        there = refused_there(rules, Path(name))
    wrong = 0
    for sid in sorted(here.keys() ^ there.keys()):
        wrong += 1
        who, why = ("only here", here[sid]) if sid in here else ("only there", there[sid])
        print(f"refused {who}: {rules[sid]}\n    {why}")
    both = {sid: rule for sid, rule in rules.items() if sid not in here and sid not in there}
    for one in differences(both, given.captures):
        wrong += 1
        print(f"{one.capture}: {len(one.theirs)} there, {len(one.ours)} here: {one.rule}")
        print(f"    packets {one.theirs[:SHOWN]} there, {one.ours[:SHOWN]} here")
    print(f"{len(rules)} rules, {len(both)} load in both, {wrong} differences")
    return min(wrong, 125)


if __name__ == "__main__":
    sys.exit(main())
