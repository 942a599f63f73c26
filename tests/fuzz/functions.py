"""What is fuzzed one input at a time, and is no parser of a flow: readers and decoders within the parsers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import ids.protocols
from ids.counters import Counters
from ids.protocols import der, ntlmssp
from ids.protocols.files import FILE_BUFFERS, Files, FileSettings
from ids.protocols.files.names import encoded_words, file_name
from ids.protocols.framing import Pool
from ids.protocols.http.content import boundary_of, decode_content, file_parts, find_files
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http2.hpack import MAX_HEADERS, Decoder
from ids.protocols.mime import Mail, MailSettings
from ids.protocols.mime.decoding import decoder
from ids.protocols.quic.frames import Handshake, cyu, pieces, tags
from ids.protocols.quic.packet import Malformed as NoPacket
from ids.protocols.quic.packet import read_packet
from ids.protocols.tls.certificate import Malformed, fingerprint, read_certificate
from ids.protocols.websocket.inflating import Inflater
from ids.types import Direction, FlowColumns, Transaction
from tests.fuzz.cases import Case, Step
from tests.fuzz.corpus import Hook
from tests.fuzz.subjects import PromiseBroken, Subject

_PACKAGE = Path(ids.protocols.__file__).parent
LIMIT = 64 * 1024
"""Bytes of content that are decoded at most."""
_CODINGS = (b"gzip", b"deflate", b"br", b"zstd", b"lzma", b"xz", b"gzip, gzip", b"deflate, gzip", b"br, gzip", b"x")
_TRANSFERS = (b"base64", b"quoted-printable", b"x-uuencode", b"7bit")
_BODY = HttpSettings()


class Function(Subject):
    """A function of what one step says, or of what all do."""

    def __init__(self, cases: Sequence[Case], call: Callable[[Sequence[Step]], int], *code: str) -> None:
        super().__init__(cases)
        self._call = call
        self.code = [_PACKAGE / one for one in code]

    def execute(self, steps: Sequence[Step]) -> int:
        return self._call(steps)


def certificate(steps: Sequence[Step]) -> int:
    """Read certificates."""
    made = 0
    for step in steps:
        try:
            read_certificate(step.data)
        except Malformed:
            continue
        fingerprint(step.data)
        made += 1
    return made


def hpack(steps: Sequence[Step]) -> int:
    """Decode blocks of headers, one after the other, by one table."""
    decoding, made = Decoder(4096), 0
    for step in steps:
        if step.gap:
            decoding.forget()
        block = decoding.decode(step.data)
        if len(block.entries) > MAX_HEADERS or decoding.held > 4096:
            raise PromiseBroken(f"{len(block.entries)} headers, a table of {decoding.held} bytes")
        made += len(block.headers)
    return made


def quic_frames(steps: Sequence[Step]) -> int:
    """Read frames of Initial packets, as they are behind their protection, and lists of tags; and heads of packets."""
    sides, made = [Handshake(LIMIT), Handshake(LIMIT)], 0
    for step in steps:
        try:
            for piece in pieces(step.data):
                if sides[step.side].add(piece):
                    made += 1
                if piece.tagged:
                    found = tags(piece.data)
                    cyu(0x51303436, found)
                    made += len(found)
        except NoPacket:
            pass
        sides[step.side].message()
        try:
            read_packet(step.data, 0)
            made += 1
        except NoPacket:
            pass
    return made


def mail(steps: Sequence[Step]) -> int:
    """Read a mail that comes in pieces; ask for all that it says."""
    counters, columns, limits = Counters(), _COLUMNS, MailSettings()
    files, pool = Files(FileSettings(), counters, columns), Pool("smtp", 1 << 20, counters)
    out: list[Transaction] = []
    flow = (0, "smtp", 0, Direction.TO_SERVER)
    mails = [Mail(files, flow, limits, pool, counters, {}, dict)]
    for step in steps:
        if step.gap:
            mails[0].gap(step.gap)
        for one in mails:
            one.feed(step.data, 1, 1, out)
        if len(mails) == 1 and len(step.data) & 7 == 7 and (other := mails[0].fork()) is not None:
            mails.append(other)
    made = 0
    for one in mails:
        one.close(1, 1, out, whole=one is mails[0])
        one.email(True)
        made += len(one.buffers[0])
        one.release()
    if pool.held or files.held:
        raise PromiseBroken(f"{pool.held} bytes of mails, {files.held} of files are held of none")
    for transaction in out[-4:]:
        for name in FILE_BUFFERS[:4]:
            if name != "file.magic":
                transaction.buffers.get(name)
    return made + len(out)


def multipart(steps: Sequence[Step]) -> int:
    """Find files in bodies: the first line is the Content-Type."""
    made = 0
    for step in steps:
        kind, _, body = step.data.partition(b"\n")
        names, _ = find_files(kind, body, Counters())
        boundary = boundary_of(kind)
        made += bool(names) + (len(file_parts(body, boundary)) if boundary is not None else 0)
    return made


def names(steps: Sequence[Step]) -> int:
    """Read names of files in headers."""
    return sum(
        bool(file_name(step.data, also_name=True)) + bool(file_name(step.data)) + bool(encoded_words(step.data))
        for step in steps
    )


def codings(steps: Sequence[Step]) -> int:
    """Undo content codings: the first byte says which."""
    made = 0
    for step in steps:
        if step.data:
            coding = _CODINGS[step.data[0] % len(_CODINGS)]
            readings = decode_content(step.data[1:], coding, LIMIT, _BODY, Counters(), step.closed)
            if max(map(len, readings), default=0) > max(LIMIT, len(step.data)):
                raise PromiseBroken(f"{max(map(len, readings))} bytes of {coding!r}")
            made += len(readings)
    return made


def transfers(steps: Sequence[Step]) -> int:
    """Undo transfer encodings of pieces: the first byte says which."""
    if not steps or not steps[0].data:
        return 0
    machine = decoder(_TRANSFERS[steps[0].data[0] % len(_TRANSFERS)])
    made = len(machine.decode(steps[0].data[1:]))
    for step in steps[1:]:
        made += len(machine.decode(step.data))
    return int(made + len(machine.end()) > 0)


def inflating(steps: Sequence[Step]) -> int:
    """Decompress messages of a WebSocket."""
    machine, made = Inflater(), 0
    for step in steps:
        if machine.broken:
            break
        found, _ = machine.inflate(step.data, LIMIT, not step.closed)
        if len(found) > LIMIT:
            raise PromiseBroken(f"{len(found)} bytes")
        made += bool(found)
    return made


def elements(steps: Sequence[Step]) -> int:
    """Walk elements of DER and BER, to a depth."""
    made = 0
    for step in steps:
        data = step.data
        der.size_of(data, 0)
        rest, limit = [der.Element(0, 0, len(data))], 200
        while rest and limit:
            limit -= 1
            of = rest.pop()
            try:
                for child in der.children(data, of):
                    if not of.start <= child.start <= child.end <= of.end:
                        raise PromiseBroken(f"{child} is outside of {of}")
                    made += 1
                    if child.tag & 0x20 and len(rest) < 64:
                        rest.append(child)
                    elif child.tag == der.OID:
                        der.oid(data, child)
                    elif child.tag in (der.INTEGER, der.ENUMERATED):
                        der.integer(data, child)
                der.by_tag(data, of)
            except der.Malformed:
                pass
    return made


def logons(steps: Sequence[Step]) -> int:
    """Find out who logs on by NTLM."""
    made = 0
    for step in steps:
        with suppress(ntlmssp.Malformed):
            made += ntlmssp.logon(step.data) is not None
    return made


_COLUMNS = FlowColumns(1)


def _all(data: bytes, *_: object, **__: object) -> bytes:
    return data


def _second(_: object, data: bytes, *__: object, **___: object) -> bytes:
    return data


def _coded(body: bytes, coding: bytes, *_: object, **__: object) -> bytes:
    for number, name in enumerate(_CODINGS):
        if name in coding:
            return bytes((number,)) + body
    return b""


FUNCTIONS: dict[str, tuple[Callable[[Sequence[Step]], int], tuple[str, ...]]] = {
    "certificate": (certificate, ("tls/certificate.py",)),
    "hpack": (hpack, ("http2/hpack.py",)),
    "quic.frames": (quic_frames, ("quic/frames.py", "quic/packet.py")),
    "mime": (mail, ("mime/mail.py", "mime/reader.py", "mime/headers.py", "mime/decoding.py", "mime/lines.py")),
    "multipart": (multipart, ("http/content.py", "files/names.py")),
    "names": (names, ("files/names.py",)),
    "codings": (codings, ("http/content.py", "http/codings.py")),
    "transfers": (transfers, ("mime/decoding.py",)),
    "inflating": (inflating, ("websocket/inflating.py",)),
    "der": (elements, ("der.py",)),
    "ntlmssp": (logons, ("ntlmssp.py",)),
}
"""By name of a target: the function, and the files whose lines it is to reach."""

HOOKS: dict[str, list[Hook]] = {
    "certificate": [("ids.protocols.tls.parser.read_certificate", _all)],
    "hpack": [("ids.protocols.http2.hpack.Decoder.decode", _second)],
    "quic.frames": [("ids.protocols.quic.parser.pieces", _all)],
    "mime": [("ids.protocols.mime.mail.Mail.feed", _second)],
    "multipart": [
        (
            "ids.protocols.http.files.file_parts",
            lambda body, boundary: b"multipart/form-data; boundary=" + boundary + b"\n" + body,
        )
    ],
    "names": [("ids.protocols.http.files.file_name", _all)],
    "codings": [("ids.protocols.http.body.decode_content", _coded)],
    "ntlmssp": [("ids.protocols.ntlmssp.logon", _all)],
}
"""By name of a target: what is noted of captures for it."""
