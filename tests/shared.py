"""Where the peer's test data stands, if it is here: captures and schemas under other licences, never copied."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("IDS_SHARED", ROOT.parent / "shared"))


def shared(name: str) -> Path:
    """Return a file or folder of the shared data; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here: set IDS_SHARED to the folder that holds it")
    return path


@cache
def event_validator() -> jsonschema.Draft202012Validator:
    """Return who judges events by Suricata's schema; skips the test where that is absent."""
    return jsonschema.Draft202012Validator(json.loads(shared("eve-schema.json").read_text()))
