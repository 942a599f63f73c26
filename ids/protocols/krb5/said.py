"""What rules test and EVE logs of a message, key for key as Suricata 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ids.protocols.krb5 import names
from ids.protocols.krb5.message import Message
from ids.protocols.made import Makers
from ids.protocols.protocol import ODDITY

_NONE: tuple[bytes, ...] = ()


def _decimal(field: str) -> Callable[[Message], tuple[bytes, ...]]:
    def made(message: Message) -> tuple[bytes, ...]:
        value = getattr(message, field)
        return _NONE if value is None else (b"%d" % value,)

    return made


def _parts(field: str) -> Callable[[Message], tuple[bytes, ...]]:
    return lambda message: getattr(message, field) or _NONE


def _ticket(message: Message) -> tuple[bytes, ...]:
    number = message.ticket_encryption
    if number is None:
        return _NONE
    return (b"%d" % number, names.encryption(number).encode(), *([b"weak"] if names.is_weak(number) else []))


def _offered(message: Message) -> tuple[bytes, ...]:
    return tuple([names.encryption(number).encode() for number in message.offered])


def _realm(message: Message) -> tuple[bytes, ...]:
    return _NONE if message.realm is None else (message.realm,)


def _odd(message: Message) -> tuple[bytes, ...]:
    odd = [b"krb5.malformed_data"] if message.malformed else []
    if message.encryption is not None and names.is_weak(message.encryption):
        odd.append(b"krb5.weak_encryption")
    return tuple(odd)


_OF_BOTH: Makers[Message] = {"krb5.msg_type": _decimal("kind"), "krb5.realm": _realm, ODDITY: _odd}
OF_REQUEST: Makers[Message] = {
    "krb5.request_cname": _parts("cname"),
    "krb5.request_sname": _parts("sname"),
    "krb5.request_encryption": _offered,
    **_OF_BOTH,
}
OF_REPLY: Makers[Message] = {
    "krb5.cname": _parts("cname"),
    "krb5.sname": _parts("sname"),
    "krb5.err_code": _decimal("error"),
    "krb5.ticket_encryption": _ticket,
    **_OF_BOTH,
}


def fields(message: Message) -> dict[str, Any]:
    """Return the object of a message."""
    said: dict[str, Any] = {"msg_type": names.message_type(message.kind)}
    if message.error is not None:
        said["failed_request"] = names.message_type(message.failed) if message.failed is not None else "UNKNOWN"
        said["error_code"] = names.error(message.error)
    said["cname"] = _spelt(message.cname)
    said["realm"] = "<empty>" if message.realm is None else message.realm.decode("utf-8", "replace")
    said["sname"] = _spelt(message.sname)
    encryption = message.encryption
    said["encryption"] = "<none>" if encryption is None else names.encryption(encryption)
    said["weak_encryption"] = encryption is not None and names.is_weak(encryption)
    if message.ticket_encryption is not None:
        said["ticket_encryption"] = names.encryption(message.ticket_encryption)
        said["ticket_weak_encryption"] = names.is_weak(message.ticket_encryption)
    return said


def _spelt(parts: tuple[bytes, ...] | None) -> str:
    return "<empty>" if parts is None else b"/".join(parts).decode("utf-8", "replace")
