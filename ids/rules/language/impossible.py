"""What never comes to be: values that a buffer never has, because its parser writes it otherwise, and the like."""

from __future__ import annotations

from collections.abc import Callable

from ids.later import late_pattern
from ids.rules.model.buffers import CATALOGUE
from ids.rules.model.rule import Anchor, Rule

LOWER_CASE = frozenset({"email.url", "http.host"})
"""Buffers whose parser writes them in lower case, as the catalogue says."""

LOWER_HEX = frozenset({
    "ja3.hash", "ja3s.hash", "ssh.hassh", "ssh.hassh.server", "tls.cert_fingerprint", "quic.cyu.hash", "file.md5",
    "file.sha1", "file.sha256",
})  # fmt: skip
"""Buffers of digests in hexadecimal, whose letters are small ones."""

UPPER_HEX = frozenset({"tls.cert_serial"})
"""Those whose letters are capitals."""

LOWER_WORDS = frozenset({
    "tls.cert_validity", "rdp.event_type", "dhcp.type", "tftp.opcode", "ftp.mode", "mysql.command", "telnet.option",
    "redis.reply_type",
})  # fmt: skip
"""Buffers with one of a few words in small letters,"""

UPPER_WORDS = frozenset({
    "mqtt.type", "smb.command", "smb.status", "ftp.command", "ftpdata.command", "imap.command", "pop3.command",
    "redis.command", "nfs.operation", "nfs.status",
})  # fmt: skip
"""and with one in capitals."""

DECIMAL = frozenset(name for name, buffer in CATALOGUE.items() if "decimal" in buffer.text.replace("hexadecimal", ""))
"""Buffers with a number, spelt in digits: no name for it stands there."""

DIGITS = {
    "ja3.hash": 32, "ja3s.hash": 32, "ssh.hassh": 32, "ssh.hassh.server": 32, "quic.cyu.hash": 32, "file.md5": 32,
    "file.sha1": 40, "file.sha256": 64,
}  # fmt: skip
"""How many digits a digest has."""

BYTES = {
    "bittorrent.info_hash": 20, "bittorrent.peer_id": 20, "bittorrent.reserved": 8, "bittorrent_dht.info_hash": 20,
    "mysql.error_state": 5,
}  # fmt: skip
"""How many bytes a buffer always has."""

_NUMBER = b"0123456789,-"
_COLONS = frozenset(("tls.cert_serial", "tls.cert_fingerprint"))

_CASES = {"lower": ("lower", bytes.lower), "upper": ("upper", bytes.upper)}
_CASE_OF = {
    **dict.fromkeys(LOWER_CASE | LOWER_HEX | LOWER_WORDS, "lower"), **dict.fromkeys(UPPER_HEX | UPPER_WORDS, "upper"),
}  # fmt: skip
_KEEP_CASE = frozenset(("strip_whitespace", "compress_whitespace", "dotprefix"))
"""Transforms that leave letters as they are."""

HEADER_VALUES = frozenset(
    f"http.{name}"
    for name in (
        "user_agent", "referer", "accept", "accept_enc", "accept_lang", "server", "location", "connection",
        "content_type", "content_len", "cookie", "host.raw",
    )
)  # fmt: skip
"""Buffers of single headers: their lines are cut at line feeds, and what goes on in the next is joined by a space."""

_BARE_LINE_FEED = late_pattern(rb"(?s)[^\r]\n")
_LINE_END = late_pattern(rb"\A\r?\n")
_NAME_WITHOUT_SPACE = late_pattern(rb"[!-9;-~]+:(?=[^ ])")


def impossible(buffer: str, value: bytes, nocase: bool, anchor: Anchor) -> tuple[str, str] | None:
    """Return why a buffer never has a literal there, or hardly ever, and what to write; None where it may."""
    case, cased = _case_of(buffer)
    if not nocase and (fits := cased(value)) != value:
        spelled = fits.decode("utf-8", "backslashreplace")
        return f"{buffer} is in {case} case, so it never has {value!r}", f"write {spelled!r}"
    if (why := _form(buffer, value, anchor)) is not None:
        return why
    if buffer == "http.method":
        return _method(value, nocase)
    if buffer in HEADER_VALUES and b"\n" in value:
        return f"{buffer} has no line ends, so it never has {value!r}", "continued lines are joined by a space"
    return _header(value, anchor) if buffer == "http.header" else None


def _case_of(buffer: str) -> tuple[str, Callable[[bytes], bytes]]:
    """Return in which case a buffer is, with its transforms, and what puts a value into it."""
    name, *transforms = buffer.split("|")
    while transforms and transforms[-1] in _KEEP_CASE:
        transforms.pop()
    if transforms:
        return _CASES.get(transforms[-1], ("any", bytes))
    return _CASES.get(_CASE_OF.get(name, ""), ("any", bytes))


def _form(buffer: str, value: bytes, anchor: Anchor) -> tuple[str, str] | None:
    """Return why a value is not what a buffer of numbers or digests is made of."""
    if buffer in DECIMAL and value.strip(_NUMBER):
        return f"{buffer} is a number in digits, so it never has {value!r}", "write the number"
    digits = DIGITS.get(buffer)
    if digits is not None and (len(value) > digits or (anchor is Anchor.WHOLE and len(value) < digits)):
        return f"{buffer} has {digits} digits, so it never is {value!r}", "write all of them"
    size = BYTES.get(buffer)
    if size is not None and (len(value) > size or (anchor is Anchor.WHOLE and len(value) < size)):
        hint = "write its bytes, not their digits: |c1 2f|, or hex: in YAML" if len(value) == 2 * size else "shorten it"
        return f"{buffer} has {size} bytes, so it never is {value!r}", hint
    if buffer in _COLONS and len(value) > 2 and b":" not in value:
        return f"{buffer} has colons between its bytes, so it never has {value!r}", "write them: 5C:3C:D9"
    if buffer == "tls.version" and b"tls" in value.lower():
        return f"{buffer} is a number, so it never has {value!r}", "write 1.2, 1.3 or sslv3"
    return None


def never_unlogged(rule: Rule) -> str | None:
    """Return why a rule cannot keep events of exchanges from being written; None where it can."""
    if not any(name in CATALOGUE and CATALOGUE[name].protocol is not None for name in rule.buffers):
        return "it matches in no exchange, whose event it could keep from being written"
    signature = rule.signature
    if signature.state.tests or signature.after is not None or signature.distinct is not None:
        return "what rules remember is judged when events are written already"
    return None


def _method(value: bytes, nocase: bool) -> tuple[str, str] | None:
    if value.split() != [value]:
        return f"http.method is one word, so it never has {value!r}", "test http.request_line for what is behind it"
    if value != value.upper() and not nocase:
        spelled = value.upper().decode("utf-8", "backslashreplace")
        return f"methods count in upper case, so servers take no {value!r}", f"write {spelled!r}, or add nocase: true"
    return None


def _header(value: bytes, anchor: Anchor) -> tuple[str, str] | None:
    if _BARE_LINE_FEED.search(value):
        return (
            f"lines of http.header end in CRLF, so it never has {value!r}",
            'write "\\r\\n" in double quotes, or test http.header.raw',
        )
    if anchor not in (Anchor.START, Anchor.WHOLE) and not _LINE_END.match(value):
        return None  # it may begin anywhere in a line
    if _NAME_WITHOUT_SPACE.match(_LINE_END.sub(b"", value)):
        return f"http.header has a space behind each name's colon, so it never has {value!r}", "write one"
    return None
