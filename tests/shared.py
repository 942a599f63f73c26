"""Where the peer's test data stands, if it is here: captures and schemas under other licences, never copied."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("IDS_SHARED", ROOT.parent / "shared"))


def shared(name: str) -> Path:
    """Return a file or folder of the shared data; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here: set IDS_SHARED to the folder that holds it")
    return path
