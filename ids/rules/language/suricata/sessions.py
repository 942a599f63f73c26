"""Options that are about one protocol's session: SSH, FTP."""

from __future__ import annotations

from ids.later import late_pattern
from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.content import literal_bytes
from ids.rules.language.suricata.draft import Draft, Part, Piece
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import refuse_value, required, unquoted
from ids.rules.model.chain import Expression, Length
from ids.rules.model.patterns import Pattern

_SSH_VERSION = late_pattern(r"[0-9]+(?:[.\-0-9]+)?")
_COMPATIBLE = r"\A(?:2|1\.99\z)"
"""Versions of a side that speaks version 2 (RFC 4253 section 5.1)."""


def ssh_version(draft: Draft, value: str | None) -> None:
    """``ssh.protoversion:2_compat``, or the version as sent."""
    version = unquoted(required(value)).strip()
    part = Part(require("ssh.proto"))
    if version == "2_compat":
        part.steps.append(Expression(Pattern.lazy(_COMPATIBLE)))
    elif _SSH_VERSION.fullmatch(version):
        part.steps.append(_exactly(version.encode(), part))
    else:
        raise Malformed(f"{version[:40]!r} is no version of SSH", "write 2.0, or 2_compat")
    draft.parts.append(part)


def ssh_software(draft: Draft, value: str | None) -> None:
    """``ssh.softwareversion:"OpenSSH_9.2"``: all of it."""
    part = Part(require("ssh.software"))
    part.steps.append(_exactly(literal_bytes(unquoted(required(value))), part))
    draft.parts.append(part)


def ftp_bounce(draft: Draft, value: str | None) -> None:
    """``ftpbounce``: a client asks the server to connect to somebody else."""
    refuse_value(value)
    part = Part(require("ftp.bounce"))
    part.steps.append(Length(1, None))
    draft.parts.append(part)


def _exactly(value: bytes, part: Part) -> Piece:
    """Return a test that a buffer is this, letter by letter."""
    return Piece(value, False, part, at_start=True, at_end=True)
