"""Plugin host: hooks in, matches and events out. Detectors feed `ids.respond`; outputs receive its events."""

from ids.plugin.hookspec import hookimpl

__all__ = ["hookimpl"]
