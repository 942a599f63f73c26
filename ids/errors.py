"""Everything this package raises on purpose, as one tree.

Each message says what is wrong, where, what was expected and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class IdsError(Exception):
    """Base of all errors meant for the user; the CLI prints them without a traceback."""

    exit_code = 2

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error travel to another process: a worker reports it to the engine."""
        return _travelled, (type(self), self.args, self.__dict__)


def _travelled(kind: type[IdsError], words: tuple[Any, ...], state: dict[str, Any]) -> IdsError:
    error = kind.__new__(kind, *words)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file that a person wrote; lines and columns count from 1, 0 means unknown."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        where = self.path
        if self.line:
            where += f":{self.line}"
            if self.column:
                where += f":{self.column}"
        return where


class SourceError(IdsError):
    """Something is wrong at a place in a file."""

    def __init__(self, message: str, location: Location, remedy: str = "") -> None:
        self.message = message
        self.location = location
        self.remedy = remedy
        super().__init__(f"{location}: {message}" + (f" ({remedy})" if remedy else ""))


class ConfigError(SourceError):
    """A setting is unknown, has the wrong type or is out of range."""


class RuleError(SourceError):
    """A rule cannot be loaded; every rule of the file may carry its own."""


class RuleLeftOut(RuleError):
    """A rule of another engine's language is left out, and the rest of its file loads."""

    def __init__(self, message: str, location: Location, remedy: str = "", cause: str = "malformed") -> None:
        self.cause = cause
        """What summaries count it under, such as ``keyword geoip``."""
        super().__init__(message, location, remedy)


class RulesRefused(IdsError):
    """Some rules could not be loaded; ``errors`` has all of them."""

    def __init__(self, errors: list[RuleError]) -> None:
        self.errors = errors
        super().__init__("\n".join(str(error) for error in errors))


class CaptureError(SourceError):
    """A capture cannot be read, or not to its end."""


class UsageError(IdsError):
    """The command's words do not fit together."""


class NotRunning(UsageError):
    """No engine of this instance is there to be asked."""


class NoAnswer(UsageError):
    """An engine of this instance is there, and does not answer."""


class KernelError(IdsError):
    """The kernel side refused; the message ends with the remedy."""

    exit_code = 3

    def __init__(self, message: str, remedy: str = "") -> None:
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}" if remedy else message)


class NoGate(KernelError):
    """Nothing is pinned where it was looked for: no engine of this instance has been up."""


class PluginError(IdsError):
    """A plugin cannot be loaded or declares a hook that does not exist."""
