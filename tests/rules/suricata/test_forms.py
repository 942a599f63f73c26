"""Which forms of options are taken, and which are refused: as Suricata 7.0.10 does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.content.peer_rules import refused_here, refused_there

LINES = [line for line in Path(__file__).with_name("forms.txt").read_text().splitlines() if line[:1] in ("+", "-")]
RULES = {
    sid: f"alert {line[2:].partition(' ')[0]} any any -> any any ({line[2:].partition(' ')[2]} sid:{sid};)"
    for sid, line in enumerate(LINES, 1)
}
REFUSED = {sid for sid, line in enumerate(LINES, 1) if line[0] == "-"}
OURS = ['+ nfs file.name; content:"a";', '+ nfs file_data; content:"a";', '+ nfs filename:"a";']
"""What is refused here alone: files that go over NFS are not read."""


def named(sids: set[int]) -> list[str]:
    """Return forms as the table has them."""
    return [LINES[sid - 1] for sid in sorted(sids)]


def test_each_form_is_taken_or_refused() -> None:
    assert named(REFUSED ^ refused_here(RULES).keys()) == OURS


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
def test_the_table_is_what_suricata_says(tmp_path: Path) -> None:
    assert named(REFUSED ^ refused_there(RULES, tmp_path).keys()) == []
