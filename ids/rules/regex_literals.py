"""Finds literals that every match of a regular expression must contain."""

from __future__ import annotations


def required_literals(text: str, nocase: bool) -> tuple[list[bytes], bool] | None:
    """Return literals of which each match contains at least one, and whether they are caseless; None: unknown."""
    return None
