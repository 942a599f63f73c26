"""Where compiled prefilters are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ids.rules.settings import RulesSettings


def cache_directory(settings: RulesSettings, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory of the settings, or the one of the XDG base directory specification."""
    if settings.cache_dir is not None:
        return Path(settings.cache_dir)
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "ids"
