"""The secret that whoever asks the console has to know: a file that its owner alone may read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from ids.errors import UsageError

TOKEN_BYTES = 32
MAX_FILE_BYTES = 4096
FEWEST_CHARACTERS = 24
"""Of a token that somebody wrote by hand: less can be guessed."""


def read_token(path: Path) -> str:
    """Return the token in a file, making one where there is none; raises `UsageError` for a file others may read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return _read(path)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
        return token
    except OSError as error:
        raise UsageError(f"token {path}: {error.strerror}; choose another console.token_file") from error


def _read(path: Path) -> str:
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.geteuid():
            raise UsageError(f"token {path}: it is to be a file of its owner alone; chmod 600 it, or remove it")
        token = file.read(MAX_FILE_BYTES).strip().decode("ascii", "replace")
    if len(token) < FEWEST_CHARACTERS or not token.isprintable() or " " in token:
        raise UsageError(
            f"token {path}: it is to have {FEWEST_CHARACTERS} characters or more, without blanks; remove it"
        )
    return token
