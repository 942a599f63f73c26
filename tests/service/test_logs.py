"""The log is one of priorities where a journal reads it, and one with times elsewhere."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import pytest

from ids.service.logs import JournalFormatter, goes_to_journal


@pytest.mark.parametrize(
    ("level", "text"), [(logging.ERROR, "<3>lost"), (logging.WARNING, "<4>lost"), (logging.INFO, "<6>lost")]
)
def test_each_line_has_its_priority(level: int, text: str) -> None:
    record = logging.LogRecord("ids", level, "file", 1, "%s", ("lost",), None)
    assert JournalFormatter().format(record) == text


def test_each_line_of_several_has_it() -> None:
    record = logging.LogRecord("ids", logging.ERROR, "file", 1, "refused:\nids.yaml:3: no", (), None)
    assert JournalFormatter().format(record) == "<3>refused:\n<3>ids.yaml:3: no"


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream, (tmp_path / "other").open("w") as other:
        status = os.fstat(stream.fileno())
        environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert goes_to_journal(stream, environment)
        assert not goes_to_journal(other, environment), "systemd's, but somebody sent it elsewhere"
        assert not goes_to_journal(stream, {})
        assert not goes_to_journal(stream, {"JOURNAL_STREAM": "nonsense"})
        assert not goes_to_journal(io.StringIO(), environment), "no file at all"
