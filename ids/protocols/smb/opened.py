"""A file or a pipe that a client has open."""

from __future__ import annotations

from typing import NamedTuple

from ids.protocols.dcerpc.calls import Association
from ids.protocols.framing import Frames
from ids.protocols.smb import names
from ids.protocols.smb.about import Exchange
from ids.protocols.smb.transfers import Ordered
from ids.types import Direction


class Open:
    """An open file or pipe."""

    __slots__ = ("association", "file_id", "key", "loud", "name", "pieces", "pipe", "share", "transfers")

    def __init__(self, name: bytes, share: bytes, pipe: bool | None) -> None:
        self.name = name
        self.share = share
        self.pipe = pipe
        """None: the tree was not seen, so that what it carries has to tell."""
        self.file_id = b""
        """Empty until the server has said it."""
        self.key: bytes | None = None
        """By what its connection keeps it; None while it does not: before it is open, and once it is closed or has
        given way to others. Answers about it may still come."""
        self.loud = False
        """Calls through it have events of their own, whatever it is called."""
        self.association: Association | None = None
        self.pieces: list[Frames] = []
        """By direction: messages of DCE/RPC, which reads and writes may cut anywhere."""
        self.transfers: dict[Direction, Ordered] = {}

    @property
    def logged(self) -> bool:
        """Calls through it have events of their own, as in Suricata."""
        return self.loud or self.pipe is None or self.name.removeprefix(b"\\") in names.RPC_SERVICES


class Part(NamedTuple):
    """A piece of a file that a message carries."""

    opened: Open
    offset: int
    """Of the file's byte behind the piece."""
    like: Exchange
    """Version, command, session and tree of its exchange."""
