"""What Suricata's decoder says of frames, where it is installed."""

from __future__ import annotations

import json
import struct
import subprocess
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path


def peer_events(frames: Sequence[bytes], events: Collection[str], linktype: int = 1) -> dict[int, set[str]]:
    """Return which of the decoder's events each frame has, by its number from 1 on; frames without one are left out."""
    names = dict(enumerate(sorted(events), 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "t.rules").write_text(
            "".join(
                f"alert pkthdr any any -> any any (decode-event:{event}; sid:{sid};)\n" for sid, event in names.items()
            )
        )
        (folder / "t.pcap").write_bytes(_capture(frames, linktype))
        command = ["suricata", "-r", "t.pcap", "-S", "t.rules", "-l", ".", "-k", "none", "--runmode", "single"]
        subprocess.run([*command, "--set", "packet-alert-max=255"], cwd=folder, check=True, capture_output=True)
        found: dict[int, set[str]] = {}
        for line in (folder / "eve.json").read_text().splitlines():
            event = json.loads(line)
            if event["event_type"] == "alert":
                found.setdefault(event["pcap_cnt"], set()).add(names[event["alert"]["signature_id"]])
        return found


def _capture(frames: Sequence[bytes], linktype: int) -> bytes:
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, linktype)]
    for number, frame in enumerate(frames):
        out.append(struct.pack("<IIII", 1_700_000_000, number, len(frame), len(frame)) + frame)
    return b"".join(out)
