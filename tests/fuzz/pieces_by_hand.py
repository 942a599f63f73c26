"""Seeds by hand of what is no parser of a flow, and of those parsers whose flows cannot be known by what they say."""

from __future__ import annotations

import gzip
import lzma
import zlib
from base64 import encodebytes
from binascii import b2a_qp, b2a_uu

import brotli
import zstandard

from ids.protocols import ntlmssp
from tests.fuzz.cases import Case
from tests.fuzz.handmade import _CERTIFICATE
from tests.protocols import directories, frames2, mails, said, shares, tickets
from tests.protocols.initials import ANSWER, HELLO, chlo, crypto

_TEXT = b"<html>some words that come again and again " * 12
_OCTETS = bytes(range(256)) * 2
_ENCODED = b"\x30\x0b\x02\x01\0\x06\x06\x2b\x06\x01\x04\x01\x37\x30\x82\0\x04\x02\x02\x7f\xff"
_PART = (
    b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="a.php"\r\n\r\n<?php ?>\r\n'
    b"--xyz\r\nContent-Disposition: form-data; filename*0=\"a b\"; filename*1*=UTF-8''%20c.txt\r\n\r\n"
    b"content\r\n--xyz--\r\n"
)
_CODED = (
    gzip.compress(_TEXT, mtime=0), zlib.compress(_TEXT), brotli.compress(_TEXT), zstandard.compress(_TEXT),
    lzma.compress(_TEXT, lzma.FORMAT_ALONE), lzma.compress(_TEXT), gzip.compress(gzip.compress(_TEXT, mtime=0)),
    gzip.compress(zlib.compress(_TEXT)[2:-4]), gzip.compress(brotli.compress(_TEXT)), _TEXT,
)  # fmt: skip
_DEFLATER = frames2.Deflater()
_BOUNDED = (
    b"From: a@host.example\r\nSubject: =?utf-8?B?YQ==?=\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nhttp://host.example/a\r\nbegin 644 a.bin\r\n" + b2a_uu(b"content") +
    b"end\r\n--b\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\n"
    + encodebytes(_OCTETS) + b"\r\n--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b2a_qp(_OCTETS) + b"\r\n--c--\r\n--b--\r\n"
)  # fmt: skip


def _alone(*datas: bytes) -> list[Case]:
    return [((0, data),) for data in datas]


BY_HAND: dict[str, list[Case]] = {
    "ftp-data.tcp": [((1, _TEXT),), ((0, _OCTETS), (0, _TEXT))],
    "ntp.udp": [
        ((0, said.NTP_CLIENT), (1, b"\x24" + said.NTP_CLIENT[1:])),
        ((0, said.NTP_MONLIST), (1, b"\xd7\0\3\x2a")),
    ],
    "certificate": _alone(_CERTIFICATE),
    "hpack": [
        *_alone(b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", b"\x3f\xe1\x1f\x40\1a\1b\xbe"),
        ((0, b"\x40\x03abc\x03def\x82"), (0, b"\xbe\xbe\x20"), (0, b"\x00\x85\xf2\xb2\x4a\x87\xff\x01x")),
    ],
    "quic.frames": [
        ((0, crypto(0, HELLO)), (1, crypto(0, ANSWER))),
        ((0, crypto(4, HELLO[4:]) + b"\x01\0\0\x02\x05\x05\x01\0\x02\x01"), (0, crypto(0, HELLO[:9]))),
        ((0, chlo(SNI=b"a.example", UAID=b"b")[-60:]), (0, chlo(SNI=b"a.example", UAID=b"b"))),
    ],
    "mime": [
        *_alone(mails.MAIL, _BOUNDED),
        tuple((0, line + b"\n") for line in mails.MAIL.split(b"\n")),
        tuple((0, line + b"\n") for line in _BOUNDED.split(b"\n")),
    ],
    "multipart": _alone(
        b"multipart/form-data; boundary=xyz\n" + _PART, b'Multipart/Form-Data; boundary="xyz"\n' + _PART
    ),
    "names": _alone(
        *_PART.split(b"\r\n"),
        b"attachment; filename==?utf-8?B?YS5leGU=?=",
        b"attachment; filename*=iso-8859-1''na%EFve.txt; name=b",
    ),
    "codings": _alone(*(bytes((number,)) + body for number, body in enumerate(_CODED))),
    "transfers": [
        *_alone(b"\0" + encodebytes(_OCTETS), b"\1" + b2a_qp(_OCTETS + b"a=b \n" * 9)),
        ((0, b"\2begin 644 a\n"), *((0, b2a_uu(_OCTETS[at : at + 45])) for at in range(0, 200, 45)), (0, b"`\nend\n")),
        tuple((0, line) for line in (b"\0" + encodebytes(_OCTETS)).split(b"\n")),
    ],
    "inflating": [
        ((0, _DEFLATER.message(_TEXT)), (0, _DEFLATER.message(_TEXT)), (0, _DEFLATER.message(b"x"))),
        *_alone(zlib.compress(_TEXT)[2:-4], b"\0"),
    ],
    "der": _alone(
        _ENCODED, _CERTIFICATE, tickets.request(), tickets.error(25), directories.search(2), said.SNMP_GET,
        said.SNMP_TRAP, directories.sasl(shares.logon("u", "d")),
    ),
    "ntlmssp": _alone(shares.logon("user", "DOM"), b"\x60\x20" + shares.logon("u", "d"), ntlmssp.SIGNATURE + bytes(80)),
}  # fmt: skip
"""By name of a target."""
