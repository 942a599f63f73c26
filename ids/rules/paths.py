"""Where compiled rules are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ids.cache import cache_home
from ids.rules.settings import RulesSettings


def cache_directory(settings: RulesSettings, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the directory of the settings, or that of the user's caches; None where there is none."""
    if settings.cache_dir is not None:
        return Path(settings.cache_dir)
    return cache_home(environment)
