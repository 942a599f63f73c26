"""Options on messages of Kerberos."""

from __future__ import annotations

from ids.later import late_pattern
from ids.protocols.krb5.names import ENCRYPTIONS
from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import number, required
from ids.rules.model.chain import Chain, Compare, Content, Length, Number
from ids.rules.model.rule import Any_, Node, NotAny

_ENCRYPTION = "krb5.ticket_encryption"
_NUMBER = late_pattern(r"-?\d{1,10}")
_MOST = 0x7FFFFFFF


def error_code(draft: Draft, value: str | None) -> None:
    """``krb5_err_code:6``: the code of an error."""
    least = -_MOST - 1
    code = number(required(value), least, _MOST)
    draft.conditions.append(Chain(require("krb5.err_code"), (_whole(b"%d" % code),)))


def message_type(draft: Draft, value: str | None) -> None:
    """``krb5_msg_type:10``: the type of a message."""
    kind = number(required(value), 0, 255)
    draft.conditions.append(Chain(require("krb5.msg_type"), (Compare(Number(0, base=10), "=", kind),)))


def ticket_encryption(draft: Draft, value: str | None) -> None:
    """``krb5.ticket_encryption:weak`` (``!weak``), or a list of kinds: ``rc4-hmac, des-cbc-crc, -128``."""
    text = required(value)
    require(_ENCRYPTION)
    if text in ("weak", "!weak"):
        weak: Node = Chain(_ENCRYPTION, (_whole(b"weak"),))
        there: Node = Chain(_ENCRYPTION, (Length(1),))
        draft.conditions += [weak] if text == "weak" else [there, NotAny((weak,))]
        return
    words = text.replace(",", " ").split()
    for word in words:
        if word not in ENCRYPTIONS.values() and _NUMBER.fullmatch(word) is None:
            raise Malformed(f"{word[:40]!r} is no kind of encryption", "such as rc4-hmac, or a number")
    draft.conditions.append(Any_(tuple([Chain(_ENCRYPTION, (_whole(word.encode()),)) for word in words])))


def _whole(value: bytes) -> Content:
    return Content(value, offset=0, depth=len(value), at_end=True)
