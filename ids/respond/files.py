"""What EVE says of a file: the ``fileinfo`` object, key for key as Suricata writes it."""

from __future__ import annotations

from collections.abc import Sequence

from ids.events import Event, spell
from ids.protocols.files import File, State
from ids.protocols.spelling import text

_OF_COMPLETE = ("md5", "sha1")
"""Digests that are written of complete files only; the SHA-256 is that of the bytes there are."""


def file_fields(file: File, hashes: Sequence[str], *, magic: bool) -> Event:
    """Return the object of a file that has ended, with these digests and, if wanted, what it is by its content.

    That of a stored file has the SHA-256 by which it is named there.
    """
    said: Event = {}
    if file.name:
        said["filename"] = text(file.name)
    if magic and (kind := file.magic()) is not None:
        said["magic"] = kind
    said["gaps"] = file.gaps
    said["state"] = file.state.value
    for name in ("md5", "sha1", "sha256"):
        wanted = name in hashes or (file.stored and name == "sha256")
        if wanted and (file.state is State.CLOSED or name not in _OF_COMPLETE):
            digest = file.digest(name)
            if digest is not None:
                said[name] = digest
    if file.sids:
        said["sid"] = list(file.sids)
    said["stored"] = file.stored
    if file.stored:
        said["file_id"] = file.file_id
    elif file.store:
        said["storing"] = True
    said["size"] = file.size
    if file.end:
        said["start"], said["end"] = file.start, file.end
    said["tx_id"] = file.tx_id
    return said


def body_fields(name: bytes, size: int, tx_id: int) -> str:
    """Return the object of a file of which no more than this is wanted, and which is complete, as JSON."""
    filename = f'"filename":{spell(text(name))},' if name else ""
    return f'{{{filename}"gaps":false,"state":"CLOSED","stored":false,"size":{size},"tx_id":{tx_id}}}'
