"""Random chains on single packets, judged by the engine and by Suricata itself where it is installed.

``python -m tests.rules.chains_oracle --rules 500 --packets 200``: one run of Suricata with that many rules over that
many UDP packets. What it reports, by packet and rule, is held against `judge`. They disagree on purpose in this:

- Suricata goes back only to the literal or expression right before a relative test; where a negated one stands between
  them, it does not go back, and finds less.
- It takes the low 32 bits of a variable as a place, signed, so that a large one may be a place before the cursor.
- It adds to ``within`` where ``distance`` is a variable (7.0; mended later).
- It looks for the literal of its prefilter too late where a negated one stands before it.
- A negated literal with ``endswith`` must be nowhere in the buffer (7.0; mended later), and ``base64_decode`` is not
  tried at another place; neither is in these chains.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from ids.rules.match.chains import judge
from ids.rules.match.reading import Variables
from ids.rules.model.chain import (
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Expression,
    Extract,
    Jump,
    Number,
    Step,
)
from tests.rules.chains_reference import Maker

CONFIG = """%YAML 1.1
---
vars: {address-groups: {HOME_NET: any}, port-groups: {HTTP_PORTS: "80"}}
default-log-dir: DIRECTORY
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, pcap-file: false, types: [{alert: {}}]}
logging: {default-log-level: error, outputs: [{file: {enabled: yes, level: error, filename: suricata.log}}]}
app-layer: {protocols: {}}
packet-alert-max: 255
detect: {profile: high, inspection-recursion-limit: 3000}
default-rule-path: /
rule-files: []
"""


def spell(steps: tuple[Step, ...], sid: int) -> str:
    """Return a rule of Suricata's language."""
    options = "; ".join(one for step in steps for one in spell_step(step))
    return f'alert udp any any -> any any (msg:"{sid}"; {options}; sid:{sid};)'


def spell_step(step: Step) -> list[str]:
    """Return the keywords of one step."""
    if isinstance(step, Content):
        name = f'content:{"!" if step.negated else ""}"|{step.value.hex(" ")}|"'
        bounds = [("offset", step.offset), ("depth", step.depth), ("distance", step.distance), ("within", step.within)]
        flags = ["nocase"] * step.nocase + ["endswith"] * step.at_end
        return [name, *(f"{key}:{value}" for key, value in bounds if value is not None), *flags]
    if isinstance(step, Expression):
        text = step.pattern.text.replace(";", "\\x3b")
        return [f'pcre:{"!" if step.negated else ""}"/{text}/{"R" if step.relative else ""}"']
    if isinstance(step, DataAt):
        return [f"isdataat:{'!' if step.negated else ''}{step.count}{',relative' if step.relative else ''}"]
    assert isinstance(step, Compare | Jump | Extract | Compute)
    size, offset, form = step.number.size, step.number.offset, spell_number(step.number)
    if isinstance(step, Compare):
        return [f"byte_test:{size},{'!' if step.negated else ''}{step.operator},{step.value},{offset}{form}"]
    if isinstance(step, Jump):
        more = f",multiplier {step.multiplier}" * (step.multiplier != 1) + ",align" * step.align
        more += {"begin": ",from_beginning", "end": ",from_end", "cursor": ""}[step.origin]
        return [f"byte_jump:{size},{offset}{form}{more}" + f",post_offset {step.post_offset}" * bool(step.post_offset)]
    if isinstance(step, Extract):
        more = f",multiplier {step.multiplier}" * (step.multiplier != 1) + f",align {step.align}" * bool(step.align)
        return [f"byte_extract:{size},{offset},{step.name}{form}{more}"]
    form = spell_number(step.number, math=True)
    return [
        f"byte_math:bytes {size}, offset {offset}, oper {step.operator}, rvalue {step.value}, result {step.name}{form}"
    ]


def spell_number(number: Number, math: bool = False) -> str:
    """Return a number's form."""
    form = ",relative" if number.relative else ""
    if number.base is not None:
        base = {8: "oct", 10: "dec", 16: "hex"}[number.base]
        return form + (f",string {base}" if math else f",string,{base}")
    if math:
        return form + f",endian {number.order}"
    return form + (",little" if number.order == "little" else "")


def capture(payloads: list[bytes]) -> bytes:
    """Return a capture file with a UDP packet for each payload, each a flow of its own."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)]  # LINKTYPE_RAW
    for number, payload in enumerate(payloads):
        udp = struct.pack(">HHHH", 10000 + number, 40001, 8 + len(payload), 0) + payload
        ip = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2"
        )
        total = sum(struct.unpack(">10H", ip))
        total = (total & 0xFFFF) + (total >> 16)
        ip = ip[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + ip[12:]
        out.append(struct.pack("<IIII", 1_700_000_000, number, len(ip) + len(udp), len(ip) + len(udp)) + ip + udp)
    return b"".join(out)


def ask(rules: list[str], payloads: list[bytes]) -> tuple[set[tuple[int, int]], set[int]]:
    """Return pairs of sid and packet (from 0) that Suricata alerts on, and the sids that it refuses."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "s.yaml").write_text(CONFIG.replace("DIRECTORY", name))
        (directory / "s.rules").write_text("\n".join(rules) + "\n")
        (directory / "s.pcap").write_bytes(capture(payloads))
        subprocess.run(
            ["suricata", "-c", directory / "s.yaml", "-r", directory / "s.pcap", "-S", directory / "s.rules",
             "-l", name, "-k", "none", "--runmode", "single"],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        log = (directory / "suricata.log").read_text()
        refused = {int(sid) for sid in re.findall(r"sid:(\d+);", log)}
        events = [json.loads(line) for line in (directory / "eve.json").read_text().splitlines()]
    alerts = {(one["alert"]["signature_id"], one["src_port"] - 10000) for one in events if one["event_type"] == "alert"}
    return alerts, refused


def compare(seed: int, rules: int, packets: int) -> tuple[int, int, int, list[str]]:
    """Return how many cases there were, how many hold, how many rules were refused, and the disagreements."""
    maker = Maker(seed, loadable=True)
    chains = {sid: maker.case()[0] for sid in range(1, rules + 1)}
    payloads = [maker.case()[1] or b"a" for _ in range(packets)]
    alerts, refused = ask([spell(steps, sid) for sid, steps in chains.items()], payloads)
    reasons: list[str] = []
    cases = held = 0
    for sid, steps in chains.items():
        if sid in refused:
            continue
        chain = Chain("payload", steps)
        for number, data in enumerate(payloads):
            cases += 1
            ours = judge(chain, data, data.lower, Variables()).held is not None
            held += ours
            if ours is not ((sid, number) in alerts):
                word = "more" if ours else "LESS"
                reasons.append(f"{word}: {spell(steps, sid)} on {data!r}")
    return cases, held, len(refused), reasons


def main() -> int:
    """Compare; print the first disagreement of each rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=250)
    parser.add_argument("--packets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if shutil.which("suricata") is None:
        print("suricata is not installed")
        return 2
    cases, held, refused, reasons = compare(options.seed, options.rules, options.packets)
    shown = {re.search(r"sid:\d+", reason)[0]: reason for reason in reversed(reasons)}  # type: ignore[index]
    print("\n".join(shown.values()))
    print(f"{cases:,} cases, {held:,} hold here, {refused} rules refused")
    print(f"{len(reasons)} disagreements ({len(shown)} rules)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
