"""Mails and sessions made by hand."""

from __future__ import annotations

from base64 import encodebytes

from tests.protocols.sessions import Turn

CONTENT = bytes(range(256)) * 3
MAIL = (
    b'From: "A" <a@x.example>\r\nTo: b@y.example,\r\n\tC <c@z.example>\r\nCc: d@y.example\r\n'
    b"Subject: =?utf-8?B?w6TDtg==?= =?iso-8859-1?Q?=FC?=\r\nMessage-ID: <1@x>\r\nDate: Mon, 1 Jan 2024\r\n"
    b"X-Mailer: mailer\r\nReceived: by one\r\nReceived: by two\r\n"
    b'Content-Type: multipart/mixed; boundary="B"\r\n\r\npreamble\r\n'
    b"--B\r\nContent-Type: multipart/alternative; boundary=Bin\r\n\r\n"
    b"--Bin\r\nContent-Type: text/plain\r\n\r\nsee http://One.example/A and https://two.example\r\n..dot\r\n"
    b'--Bin\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a href=3D"http://three.=\r\n'
    b'example/x">\r\n--Bin--\r\n'
    b'--B\r\nContent-Type: application/x; name="a.bin"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    + encodebytes(CONTENT).replace(b"\n", b"\r\n")
    + b"--B\r\nContent-Disposition: attachment; filename*0*=utf-8''b%2E; filename*1=txt\r\n\r\nhello"
    b"\r\n--B--\r\nend\r\n"
)
GREETING: Turn = (1, b"220 mx.example ESMTP\r\n")


def asked(command: bytes, reply: bytes = b"250 ok") -> tuple[Turn, Turn]:
    """Return a command and its reply."""
    return (0, command + b"\r\n"), (1, reply + b"\r\n")


HELLO = asked(b"EHLO me.example", b"250-mx.example\r\n250-PIPELINING\r\n250 OK")
ENVELOPE = (
    *asked(b"MAIL FROM:<a@x.example> SIZE=1000"),
    *asked(b"RCPT TO:<b@y.example> NOTIFY=NEVER"),
    *asked(b"rcpt to: <c@z.example>"),
)
SENT = (*ENVELOPE, *asked(b"DATA", b"354 go on"), *asked(MAIL + b".", b"250 queued"))
SESSION = (GREETING, *HELLO, *SENT, *asked(b"QUIT", b"221 bye"))
"""A client that sends a mail with two texts and two attachments."""
