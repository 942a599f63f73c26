"""Conversations of Windows' protocols made by hand, with everything in them that their parsers read."""

from __future__ import annotations

from struct import pack

from tests.fuzz.seeds import Conversation
from tests.protocols import calls, desktops, directories, shares, tickets
from tests.protocols.shares import TRANSCEIVE, compound, netbios, second

_BIND = calls.bind((0, calls.SRVSVC, 3), (1, calls.SVCCTL, 2))
_PIPE, _FILE = b"\x33" * 16, b"\x44" * 16
_RPC = (
    (0, _BIND),
    (1, calls.bind_ack(2, 0)),
    (0, calls.request(1, b"one", flags=1) + calls.request(1, b"two", flags=2) + calls.pdu(calls.AUTH3, bytes(8))),
    (1, calls.response(b"A" * 20, flags=1) + calls.response(b"B", flags=2)),
    (0, calls.request(9, bytes(40), flags=0x83, call_id=2)),
    (1, calls.pdu(calls.FAULT, bytes(16), call_id=2)),
)
_BIG = (
    (0, calls.bind((0, calls.SVCCTL, 2), little=False)),
    (1, calls.bind_ack(0, little=False)),
    (0, calls.request(1, b"x", little=False)),
    (1, calls.response(b"y", little=False)),
)
_DATAGRAMS = (
    (0, calls.datagram(0, b"one ", flags=4)),
    (0, calls.datagram(0, b"two", flags=6)),
    (1, calls.datagram(2, b"answer", little=False)),
    (1, calls.datagram(2, b"answer")),
)


def _asked(command: int, body: bytes, number: int, tree: int = 5) -> tuple[int, bytes]:
    return 0, netbios(second(command, body, message_id=number, tree=tree))


def _answered(command: int, body: bytes, number: int, tree: int = 5, status: int = 0) -> tuple[int, bytes]:
    return 1, netbios(second(command, body, message_id=number, tree=tree, answer=True, status=status))


_COMPOUND = compound(
    second(5, shares.create("c.exe"), message_id=20),
    second(9, shares.write(0, b"MZ", shares.SAME), message_id=21, related=True),
    second(17, shares.set_info(10, shares.renamed("d.exe"), shares.SAME), message_id=22, related=True),
    second(6, shares.close(shares.SAME), message_id=23, related=True),
)
_SECOND = (
    _asked(0, shares.negotiate(0x0202, 0x0311), 1),
    _answered(0, shares.negotiated(0x0311), 1),
    _asked(1, shares.setup(shares.logon("user", "DOM")), 2),
    _answered(1, shares.was_set_up(b"NTLMSSP\0\2\0\0\0"), 2, status=shares.MORE),
    _asked(3, shares.connect("\\\\s\\IPC$"), 3),
    _answered(3, shares.connected(2), 3),
    _asked(5, shares.create("svcctl"), 4),
    _answered(5, shares.created(_PIPE), 4),
    _asked(9, shares.write(0, _BIND, _PIPE), 5),
    _answered(9, shares.was_written(116), 5),
    _asked(8, shares.read(0, 1024, _PIPE), 6),
    _answered(8, shares.was_read(calls.bind_ack(2, 0)), 6),
    _asked(11, shares.control(TRANSCEIVE, calls.request(12, b"x", context=1), _PIPE), 7),
    _answered(11, shares.controlled(TRANSCEIVE, calls.response(b"y"), _PIPE), 7),
    _asked(3, shares.connect("\\\\s\\data"), 8),
    _answered(3, shares.connected(1), 8, tree=6),
    _asked(5, shares.create("a.txt"), 9, tree=6),
    _answered(5, shares.created(_FILE), 9, tree=6),
    _asked(9, shares.write(5, b"late", _FILE), 10, tree=6),
    _asked(9, shares.write(0, b"early", _FILE), 11, tree=6),
    _asked(8, shares.read(0, 10, _FILE), 12, tree=6),
    _answered(8, shares.was_read(b"content"), 12, tree=6),
    _asked(17, shares.set_info(13, b"\1", _FILE), 13, tree=6),
    _asked(6, shares.close(_FILE), 14, tree=6),
    _answered(6, bytes(60), 14, tree=6),
    (0, netbios(_COMPOUND)),
    (0, netbios(b"\xfdSMB" + bytes(60))),
)
_SETUP = pack("<HHHIHII", 4096, 1, 0, 0, len(shares.logon("u", "d")), 0, 0)
_FIRST = (
    (0, netbios(b"\x20" + b"CA" * 16 + b"\0", 0x81)),
    (1, netbios(b"", 0x82)),
    (0, netbios(shares.first(0x72, b"", b"\2NT LM 0.12\0\2SMB 2.???\0"))),
    (1, netbios(shares.first(0x72, pack("<H", 0) + bytes(32), bytes(16), answer=True))),
    (0, netbios(shares.first(0x73, shares.ALONE + _SETUP, shares.logon("u", "d") + shares.utf16("\0os\0lm\0")))),
    (1, netbios(shares.first(0x73, shares.ALONE + bytes(4), shares.utf16("os\0lm\0"), answer=True))),
    (0, netbios(shares.first(0x75, shares.ALONE + pack("<HH", 0, 1), b"\0" + shares.utf16("\\\\s\\a\0") + b"A:\0"))),
    (1, netbios(shares.first(0x75, shares.ALONE + bytes(2), b"A:\0", answer=True))),
    (0, netbios(shares.create1("\\eicar"))),
    (1, netbios(shares.created1(0x4000))),
    (0, netbios(shares.write1(0x4000, 0, b"X5O!"))),
    (0, netbios(shares.read1(0x4000, 0, 10))),
    (1, netbios(shares.was_read1(b"data"))),
    (0, netbios(shares.transact(0x4000, _BIND))),
    (1, netbios(shares.transacted(calls.bind_ack(0, 0)))),
    (0, netbios(shares.first(0x07, b"\0\0", b"\4old\0\4new\0", unicode=False))),
    (1, netbios(shares.first(0x07, b"", b"", answer=True, nt_status=False, status=0x10002))),
    (0, netbios(shares.first(0x04, pack("<HI", 0x4000, 0), b""))),
)

_KERBEROS = (
    (0, tickets.request()),
    (1, tickets.error(25)),
    (0, tickets.request(tickets.TGS_REQUEST, sname=(b"HTTP", b"web"))),
    (1, tickets.reply(tickets.TGS_REPLY, (b"HTTP", b"web"), 23, 23)),
)

_LDAP = (
    (0, directories.sasl(shares.logon("u", "d")) + directories.search(2)),
    (1, directories.result(1, 0x61) + directories.entry(2, b"cn=a", b"sn", b"x") + directories.result(2, 0x65)),
    (0, directories.modify(3, b"cn=a", b"sn", b"y") + directories.wrapped(directories.search(4))),
    (1, directories.result(3, 0x67)),
    (0, directories.start_tls(9)),
    (1, directories.result(9, 0x78)),
)
_RDP = (
    (0, desktops.request(flags=1)),
    (1, desktops.confirm(0, 0x1F)),
    (0, desktops.connect(desktops.core(), desktops.network(b"rdpdr", b"cliprdr"))),
    (1, desktops.CONNECTED),
)

CONVERSATIONS = (
    Conversation(False, _LDAP),
    Conversation(True, ((0, directories.search(2)), (1, directories.result(2, 0x65)))),
    Conversation(False, _RDP),
    Conversation(False, ((0, desktops.request()), (1, desktops.refuse(5)))),
    Conversation(True, _KERBEROS),
    Conversation(False, tuple((side, tickets.framed(data)) for side, data in _KERBEROS)),
    Conversation(False, _RPC),
    Conversation(False, _BIG),
    Conversation(True, _DATAGRAMS),
    Conversation(False, _SECOND),
    Conversation(False, _FIRST),
)
