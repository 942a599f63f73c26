"""The version of this program, for all that names it: rules that require one, the command line, what fetches feeds."""

from __future__ import annotations

__version__ = "0.1.0"
