"""One direction of a TLS connection: records become handshake messages, until the rest is encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 1, 2, 11, 13, 14
"""Types of handshake messages."""
_OTHERS_IN_CLEAR = 0, 4, 12, 15, 16, 20, 21, 22
IN_CLEAR = frozenset(
    (*_OTHERS_IN_CLEAR, CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE)
)
"""Types that Suricata takes for valid before the rest is encrypted; besides these HelloRequest, NewSessionTicket,
ServerKeyExchange, CertificateVerify, ClientKeyExchange, Finished, CertificateURL, and CertificateStatus."""
INVALID_MESSAGE = b"tls.invalid_handshake_message"
INVALID_LENGTH = b"tls.handshake_invalid_length"
"""Says of a hello that its parts do not fit into it."""
CHANGE_CIPHER = -1
"""What a record that says that the rest is encrypted counts as."""
SSL2_CLIENT_HELLO = -2
"""A ClientHello of SSL 2, which is no handshake message."""

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _DATA, _HEARTBEAT = range(20, 25)
"""Types of records."""
_SSL2_ERROR = 0
"""The type of a message of SSL 2, which is not read otherwise."""
_RECORD, _MESSAGE, _SSL2 = 5, 4, 2
"""Bytes of the head of a record, of a handshake message, and of a record of SSL 2."""
_HEARTBEAT_HEAD, _HEARTBEAT_PADDING = 3, 16
"""Bytes before the payload of a heartbeat, and behind it at least."""
_MAX_RECORD = (1 << 14) + 2048
"""Bytes of the content of a record (RFC 5246 section 6.2.3)."""


class Said(NamedTuple):
    """A handshake message."""

    kind: int
    body: bytes
    behind: int
    """Bytes that were fed behind the record that completed it."""
    whole: bool = True
    """False: it was cut off where the bound was reached."""


class Direction:
    """What is in the middle of one direction."""

    __slots__ = (
        "_changed", "_invalid", "_limit", "_message", "_record", "_taken", "begun", "clear", "done", "ended",
        "malformed", "odd",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        """Read a handshake of at most ``limit`` bytes."""
        self._limit = limit
        self._taken = 0
        self._record = b""
        """The beginning of a record."""
        self._message = bytearray()
        """The beginning of a handshake message, or of several."""
        self._changed = False
        self._invalid = False
        """A message of a type that is none of `IN_CLEAR` was noted."""
        self.begun = False
        """A whole record has come."""
        self.done = False
        """Nothing more is read."""
        self.malformed = False
        """What came is not TLS."""
        self.clear = False
        """It ended before anything was encrypted."""
        self.ended: list[int] = []
        """Of each record that ended in what was fed last: the bytes behind it."""
        self.odd: list[bytes] = []
        """What was odd, by Suricata's names for it; the parser takes it from here."""

    @property
    def held(self) -> int:
        """Bytes that are kept."""
        return len(self._record) + len(self._message)

    def finish(self) -> None:
        """Read no more."""
        self.done = True
        self._record = b""
        self._message = bytearray()

    def feed(self, data: bytes) -> Iterator[Said]:
        """Yield the handshake messages that bytes complete."""
        if self._record:
            data = self._record + data
        at, size = 0, len(data)
        if not self.begun and data[:1] >= b"\x80":
            if size < _SSL2 + 1:
                self._record = data
                return
            end = _SSL2 + ((data[0] & 0x7F) << 8 | data[1])
            if _is_ssl2_error(data, 0):
                self._end_of_ssl2()
                return
            if data[2] != CLIENT_HELLO or end > _MAX_RECORD:
                self._fail(b"tls.invalid_sslv2_header")
                return
            if size < end:
                self._record = data
                return
            self.begun, self._record = True, b""
            yield Said(SSL2_CLIENT_HELLO, data[_SSL2:end], size - end)
            at = end
        while not self.done and at + _RECORD <= size:
            if _is_ssl2_error(data, at):
                self._end_of_ssl2()
                return
            kind, length = data[at], data[at + 3] << 8 | data[at + 4]
            if data[at + 1] != 3 or not _CHANGE_CIPHER_SPEC <= kind <= _HEARTBEAT or length > _MAX_RECORD:
                self._fail(_why(data[at + 1], kind))
                return
            end = at + _RECORD + length
            if end > size:
                break
            self.begun = True
            self.ended.append(size - end)
            self._taken += end - at
            if kind == _HANDSHAKE:
                yield from self._handshake(data[at + _RECORD : end], size - end)
            elif kind == _CHANGE_CIPHER_SPEC:
                self._changed = True
                yield Said(CHANGE_CIPHER, b"", size - end)
            elif kind == _DATA:
                self.finish()
            elif kind == _HEARTBEAT:
                self._heartbeat(data[at + _RECORD : end])
            at = end
            if self._taken >= self._limit and not self.done:
                yield from self._cut_off(size - end)
        self._record = b"" if self.done else data[at:]

    def _handshake(self, content: bytes, behind: int) -> Iterator[Said]:
        """Yield the messages that the content of a record completes."""
        message = self._message
        if self._changed and not message and content[:2] != b"\x01\x00":
            self.finish()  # encrypted: all but the second ClientHello of TLS 1.3 is
            return
        message += content
        at = 0
        while at + _MESSAGE <= len(message) and not self.done:
            if message[at] not in IN_CLEAR and not self._invalid:
                self._invalid = True
                self.odd.append(INVALID_MESSAGE)
            end = at + _MESSAGE + int.from_bytes(message[at + 1 : at + _MESSAGE], "big")
            if end > len(message):
                break
            yield Said(message[at], bytes(message[at + _MESSAGE : end]), behind)
            at = end
        del message[:at]

    def _cut_off(self, behind: int) -> Iterator[Said]:
        """Yield the beginning of the message at which the bound was reached; read no more."""
        if len(self._message) > _MESSAGE:
            yield Said(self._message[0], bytes(self._message[_MESSAGE:]), behind, whole=False)
        self.finish()

    def _heartbeat(self, content: bytes) -> None:
        """Note a heartbeat (RFC 6520), and one that asks for more than it brings: CVE-2014-0160."""
        asks_or_answers = self._changed or content[:1] in (b"\1", b"\2")
        noted = {b"tls.heartbeat_message" if asks_or_answers else b"tls.invalid_heartbeat_message"}
        asked = int.from_bytes(content[1:_HEARTBEAT_HEAD], "big")
        if not self._changed and asked > len(content) - _HEARTBEAT_HEAD - _HEARTBEAT_PADDING:
            noted.add(b"tls.overflow_heartbeat_message")
        self.odd += sorted(noted.difference(self.odd))

    def _end_of_ssl2(self) -> None:
        """Note an error of SSL 2, with which a handshake is over, and nothing behind it is encrypted."""
        self.odd.append(b"tls.error_message_encountered")
        self.clear = True
        self.finish()

    def _fail(self, why: bytes) -> None:
        self.odd += [why, b"tls.invalid_ssl_record"]
        self.malformed = True
        self.finish()


def _is_ssl2_error(data: bytes, at: int) -> bool:
    """Return whether a record of SSL 2 begins there that is an error; there are three bytes at least."""
    return data[at] >= 0x80 and data[at + 2] == _SSL2_ERROR


def _why(major: int, kind: int) -> bytes:
    """Return what Suricata calls what is wrong with the head of a record."""
    if major != 3:
        return b"tls.invalid_record_version"
    return b"tls.invalid_tls_header" if _CHANGE_CIPHER_SPEC <= kind <= _HEARTBEAT else b"tls.invalid_record_type"
