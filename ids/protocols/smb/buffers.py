"""What rules test of an exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ids.protocols.dcerpc import buffers as dcerpc
from ids.protocols.dcerpc.buffers import Side
from ids.protocols.made import Makers
from ids.protocols.protocol import ODDITY
from ids.protocols.smb import names
from ids.protocols.smb.about import Create, Disposition, Exchange, Rename, Setup, Transfer, Tree

_NONE: tuple[bytes, ...] = ()


class Said(NamedTuple):
    """What a side has said of an exchange."""

    exchange: Exchange
    odd: tuple[bytes, ...] = ()
    """What is odd about it, by Suricata's names."""
    call: Side | None = None
    """Of a call through a pipe."""


def _command(said: Said) -> tuple[bytes, ...]:
    return (names.command(said.exchange.version, said.exchange.command).encode(),)


def _version(said: Said) -> tuple[bytes, ...]:
    return (b"%d" % said.exchange.version,)


def _status(said: Said) -> tuple[bytes, ...]:
    exchange = said.exchange
    return _NONE if exchange.status is None else (names.status(exchange.status, exchange.dos)[0].encode(),)


def _tree(pipe: bool) -> Callable[[Said], tuple[bytes, ...]]:
    def made(said: Said) -> tuple[bytes, ...]:
        about = said.exchange.about
        return (about.name,) if isinstance(about, Tree) and about.pipe is pipe else _NONE

    return made


def _user(said: Said) -> tuple[bytes, ...]:
    about = said.exchange.about
    if not isinstance(about, Setup):
        return _NONE
    user = about.logon.user if about.logon is not None else about.user
    return (user,) if user else _NONE  # nobody's name is empty: it is a logon without one


def _domain(said: Said) -> tuple[bytes, ...]:
    about = said.exchange.about
    if not isinstance(about, Setup):
        return _NONE
    domain = about.logon.domain if about.logon is not None else about.domain
    return (domain,) if domain else _NONE


def _filename(said: Said) -> tuple[bytes, ...]:
    about = said.exchange.about
    if isinstance(about, Create | Disposition | Transfer):
        return (about.name,) if about.name else _NONE
    return (about.old, about.new) if isinstance(about, Rename) else _NONE


def _odd(said: Said) -> tuple[bytes, ...]:
    return said.odd


def _of_call(make: Callable[[Side], tuple[bytes, ...]]) -> Callable[[Said], tuple[bytes, ...]]:
    return lambda said: make(said.call) if said.call is not None else _NONE


_OF_BOTH: Makers[Said] = {
    "smb.command": _command,
    "smb.version": _version,
    ODDITY: _odd,
    **{name: _of_call(make) for name, make in dcerpc.MAKERS.items()},
}
OF_CLIENT: Makers[Said] = {
    "smb.share": _tree(pipe=False),
    "smb.named_pipe": _tree(pipe=True),
    "smb.ntlmssp_user": _user,
    "smb.ntlmssp_domain": _domain,
    "smb.filename": _filename,
    **_OF_BOTH,
}
OF_SERVER: Makers[Said] = {"smb.status": _status, **_OF_BOTH}
