"""Sends datagrams."""

from __future__ import annotations

import errno
import socket


def sent(to: socket.socket, message: bytes) -> bool:
    """Send a message; return false where it is too long, as it always will be. Raises `OSError` for anything else."""
    try:
        to.send(message)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return False
    return True
