"""Sessions of Telnet, made by hand for tests."""

from __future__ import annotations

from tests.protocols.said import CLIENT, SERVER

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240


def option(*verbs_and_options: int) -> bytes:
    """Return negotiations of options: a verb and an option each."""
    pairs = zip(verbs_and_options[::2], verbs_and_options[1::2], strict=True)
    return b"".join([bytes((IAC, verb, number)) for verb, number in pairs])


def details(number: int, content: bytes) -> bytes:
    """Return a subnegotiation of an option."""
    return bytes((IAC, SB, number)) + content.replace(b"\xff", b"\xff\xff") + bytes((IAC, SE))


TELNET = (
    (SERVER, option(DO, 24, DO, 39, WILL, 1, WILL, 3)),
    (CLIENT, option(WILL, 24, WILL, 39, DO, 1, WONT, 200)),
    (SERVER, details(24, b"\1") + details(39, b"\1")),
    (CLIENT, details(24, b"\0XTERM") + details(39, b"\0\0USER\1-f root\3A\2\1B\1\xff\0EMPTY")),
    (SERVER, b"Debian\r\nhost login: "),
    (CLIENT, b"al"), (SERVER, b"al"), (CLIENT, b"ice\r\0"), (SERVER, b"ice\r\nPassword: "),
    (CLIENT, b"secret\r\0"), (SERVER, b"\r\nWelcome\r\n$ "),
    (CLIENT, b"wgx\x7fet http://192.0.2.1/\xff\xff" + bytes((IAC, 241)) + b"\r\n"),
    (SERVER, b"wget\r\n" + b"".join([b"%d\r\n" % at for at in range(20)]) + b"$ "),
    (CLIENT, b"\r\nexit\n"), (SERVER, b"bye"),
)  # fmt: skip
