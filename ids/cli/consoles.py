"""A console of rich that shows what is hostile as it is."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from ids.literal import literal


class LiteralConsole(Console):
    """A console that takes text for text: no markup, no emoji codes, and control characters escaped."""

    def render_str(self, text: str, **options: Any) -> Text:  # all plain text comes by here, that of tables too
        """Return the text as it is to be seen."""
        return super().render_str(literal(text), **options | {"markup": False, "emoji": False, "highlight": False})
