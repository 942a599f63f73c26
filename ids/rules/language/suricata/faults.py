"""Why a rule is left out: something in it is wrong, or is right and not supported here."""

from __future__ import annotations


class Fault(ValueError):
    """A rule cannot be used; ``remedy`` says what to do where that is known."""

    cause = "malformed"
    """What the summary of a load counts it under."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(message)


class Malformed(Fault):
    """The rule says something that Suricata would refuse as well."""


class Unsupported(Fault):
    """The rule is right, and asks for something that there is not here; ``cause`` names it."""

    def __init__(self, cause: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.cause = cause


class NotMeant(Fault):
    """The rule says itself that it is for another engine or version (``requires``): it is skipped."""

    cause = "requires"
