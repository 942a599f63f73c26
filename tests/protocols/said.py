"""Messages of protocols of the second line, made by hand for tests; and the two kinds of flow that they come in."""

from __future__ import annotations

from collections.abc import Iterable
from struct import pack

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.rare.dnp3 import checksum
from ids.types import Datagram, Direction, Flow, StreamChunk, Transaction
from tests.factory import NO_DATAGRAMS, T0, make_datagrams, make_flow, make_streams

CLIENT, SERVER = Direction
Turns = Iterable[tuple[Direction, bytes]]


class Heard:
    """What the stage makes of a flow: its name, and the transactions."""

    def __init__(self, flow: Flow, counters: Counters) -> None:
        self.flow = flow
        self.counters = counters
        self.seen: list[Transaction] = []

    @property
    def events(self) -> list[dict[str, object]]:
        """The objects that EVE logs."""
        return [dict(found.fields) for found in self.seen if found.complete]

    def of(self, buffer: str) -> list[bytes]:
        """Return all instances of a buffer, over all transactions."""
        return [value for found in self.seen for value in found.instances(buffer)]

    @property
    def odd(self) -> list[bytes]:
        """What was odd."""
        return self.of(ODDITY)


def over_udp(*turns: tuple[Direction, bytes], dport: int = 40000, **settings: object) -> Heard:
    """Return what comes of datagrams, each in a batch of its own."""
    counters, flow = Counters(), make_flow(proto=17, sport=50000, dport=dport)
    heard = Heard(flow, counters)
    stage = Protocols(ProtocolSettings.model_validate(settings), counters, flow.columns)
    for number, (direction, data) in enumerate(turns, 1):
        rows = [Datagram(flow, direction, data, T0, number)]
        heard.seen += stage.feed(make_streams([]), make_datagrams(rows))
    return heard


def over_tcp(
    *turns: tuple[Direction, bytes], step: int = 0, closed: bool = True, dport: int = 80, **settings: object
) -> Heard:
    """Return what comes of the bytes of a connection, ``step`` at a time or as they are."""
    counters, flow = Counters(), make_flow(dport=dport)
    heard = Heard(flow, counters)
    stage = Protocols(ProtocolSettings.model_validate(settings), counters, flow.columns)
    number, offsets = 0, [0, 0]
    for direction, data in turns:
        for at in range(0, max(len(data), 1), step or max(len(data), 1)):
            piece = data[at : at + step] if step else data
            number += 1
            chunk = StreamChunk(flow, direction, offsets[direction], piece, T0 + number, number)
            offsets[direction] += len(piece)
            heard.seen += stage.feed(make_streams([chunk]), NO_DATAGRAMS)
    if closed:
        ends = [StreamChunk(flow, side, offsets[side], b"", T0, number, closed=True) for side in Direction]
        heard.seen += stage.feed(make_streams(ends), NO_DATAGRAMS)
    return heard


# SNMP


def element(tag: int, *content: bytes) -> bytes:
    """Return an element of BER."""
    body = b"".join(content)
    size = bytes((len(body),)) if len(body) < 128 else b"\x82" + pack(">H", len(body))
    return bytes((tag,)) + size + body


def _number(value: int) -> bytes:
    return element(2, value.to_bytes(4, "big"))


SYS_UP_TIME = element(0x30, element(6, bytes.fromhex("2b06010201010300")), element(5))


def snmp_get(*variables: bytes) -> bytes:
    """Return a question of version 2 for variables."""
    pdu = element(0xA0, _number(77), _number(0), _number(0), element(0x30, *variables))
    return element(0x30, element(2, b"\1"), element(4, b"public"), pdu)


SNMP_GET = snmp_get(SYS_UP_TIME)
SNMP_TRAP = element(
    0x30, element(2, b"\0"), element(4, b"private"),
    element(0xA4, element(6, b"\x2b\6\1\4\1"), element(0x40, b"\xc0\0\2\1"), _number(3), _number(0),
            element(0x43, b"\1"), element(0x30)),
)  # fmt: skip
_SECURITY = element(0x30, element(4, b"engine"), _number(1), _number(2), element(4, b"admin"), element(4), element(4))


def snmp3(flags: int) -> bytes:
    """Return a message of version 3."""
    head = element(0x30, _number(9), _number(65507), element(4, bytes((flags,))), element(2, b"\3"))
    scoped = element(0x30, element(4, b"engine"), element(4), element(0xA0, _number(1), _number(0), _number(0),
                     element(0x30, SYS_UP_TIME)))  # fmt: skip
    body = element(4, b"\xff" * 20) if flags & 2 else scoped
    return element(0x30, element(2, b"\3"), head, element(4, _SECURITY), body)


# DHCP


def dhcp(op: int, *options: tuple[int, bytes], assigned: bytes = bytes(4)) -> bytes:
    """Return a message of DHCP."""
    head = pack(">BBBBIHH", op, 1, 6, 0, 0x12345678, 0, 0) + bytes(4) + assigned + bytes(8)
    head += bytes.fromhex("020000000001") + bytes(10 + 64 + 128) + b"\x63\x82\x53\x63"
    return head + b"".join([bytes((code, len(of))) + of for code, of in options]) + b"\xff"


DHCP_DISCOVER = dhcp(1, (53, b"\1"), (61, b"\1\2\0\0\0\0\1"), (12, b"host"), (55, b"\1\3\6\x0f\xfb"), (60, b"MSFT 5.0"))
DHCP_ACK = dhcp(2, (53, b"\5"), (51, pack(">I", 3600)), (58, pack(">I", 1800)), (59, pack(">I", 3150)),
                (1, b"\xff\xff\xff\0"), (3, b"\xc0\0\2\1"), (6, b"\xc0\0\2\2\xc0\0\2\3"),
                assigned=b"\xc0\0\2\x0a")  # fmt: skip

# SIP

SIP_INVITE = (
    b"INVITE sip:bob@host.example SIP/2.0\r\nVia: SIP/2.0/UDP a.example\r\nv: SIP/2.0/UDP b.example\r\n"
    b"From: <sip:alice@host.example>;tag=1\r\nt: Bob\r\n <sip:bob@host.example>\r\nUser-Agent: softphone\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"
)
SIP_RINGING = b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP a.example\r\nl: 0\r\n\r\n"

# MQTT


def mqtt(head: int, body: bytes) -> bytes:
    """Return a message of MQTT."""
    size, left = bytearray(), len(body)
    while True:
        left, digit = left >> 7, left & 0x7F
        size.append(digit | 0x80 if left else digit)
        if not left:
            return bytes((head,)) + bytes(size) + body


def said(of: bytes) -> bytes:
    """Return a text behind its length."""
    return pack(">H", len(of)) + of


MQTT_CONNECT = mqtt(0x10, said(b"MQTT") + b"\x04\xc6\0\x3c" + said(b"me") + said(b"will/topic") + said(b"bye")
                    + said(b"user") + said(b"secret"))  # fmt: skip
MQTT_CONNACK = mqtt(0x20, b"\0\0")
MQTT_SUBSCRIBE = mqtt(0x82, b"\0\7" + said(b"a/b") + b"\1" + said(b"c/#") + b"\0")
MQTT_SUBACK = mqtt(0x90, b"\0\7\1\x80")
MQTT_PUBLISH = mqtt(0x33, said(b"a/b") + b"\0\x08" + b"hello")
MQTT_PUBACK = mqtt(0x40, b"\0\x08")
MQTT_DISCONNECT = mqtt(0xE0, b"")
MQTT5_CONNECT = mqtt(0x10, said(b"MQTT") + b"\x05\x02\0\x3c" + b"\x03\x21\0\x14" + said(b"me"))
MQTT5_CONNACK = mqtt(0x20, b"\0\x86\x03\x22\0\x0a")

# IKE


def ike(version: int, exchange: int, flags: int, first: int, payloads: bytes) -> bytes:
    """Return a message of IKE."""
    return pack(">QQBBBBII", 0x1122334455667788, 0, first, version, exchange, flags, 0, 28 + len(payloads)) + payloads


def ike_payload(following: int, body: bytes) -> bytes:
    """Return a payload."""
    return pack(">BBH", following, 0, 4 + len(body)) + body


_TRANSFORM = ike_payload(
    0, b"\1\1\0\0" + bytes.fromhex("80010007800e0080800200028004000280030001800b0001000c000400015180")
)
IKE1_SA = ike_payload(13, b"\0\0\0\1\0\0\0\1" + ike_payload(0, b"\1\1\0\1" + _TRANSFORM))
IKE1 = ike(0x10, 2, 0, 1, IKE1_SA + ike_payload(0, b"\xaa\xbb"))
IKE1_KEY = ike(0x10, 2, 0, 4, ike_payload(10, b"\x11" * 128) + ike_payload(0, b"\x22" * 20))
_TRANSFORMS_2 = b"".join(
    [ike_payload(3 if kind != 4 else 0, bytes((kind, 0)) + pack(">H", number)) for kind, number in
     ((1, 12), (3, 2), (2, 2), (4, 2))]
)  # fmt: skip
IKE2 = ike(0x20, 34, 8, 33, ike_payload(34, ike_payload(0, b"\1\1\0\4" + _TRANSFORMS_2))
           + ike_payload(40, b"\0\2\0\0" + b"\x33" * 128) + ike_payload(41, b"\x44" * 32)
           + ike_payload(0, b"\0\0" + pack(">H", 16388) + b"\x55" * 20))  # fmt: skip

# RFB

RFB_SERVER = (b"RFB 003.008\n", b"\x02\x01\x02", b"\x55" * 16, pack(">I", 0),
              pack(">HHBBBBHHHBBBxxxI", 800, 600, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0, 4) + b"desk")  # fmt: skip
RFB_CLIENT = (b"RFB 003.008\n", b"\x02", b"\x66" * 16, b"\1")
RFB = (
    (SERVER, RFB_SERVER[0]), (CLIENT, RFB_CLIENT[0]), (SERVER, RFB_SERVER[1]), (CLIENT, RFB_CLIENT[1]),
     (SERVER, RFB_SERVER[2]), (CLIENT, RFB_CLIENT[2]), (SERVER, RFB_SERVER[3]), (CLIENT, RFB_CLIENT[3]),
     (SERVER, RFB_SERVER[4]),
)  # fmt: skip

# PostgreSQL


def pg(kind: bytes, body: bytes) -> bytes:
    """Return a message of PostgreSQL that says its type."""
    return kind + pack(">I", 4 + len(body)) + body


PG_SSL = pack(">II", 8, 80877103)
_PARAMETERS = b"user\0alice\0database\0shop\0\0"
PG_STARTUP = pack(">II", 8 + len(_PARAMETERS), 0x30000) + _PARAMETERS
PG_SESSION = (
    (CLIENT, PG_SSL), (SERVER, b"N"), (CLIENT, PG_STARTUP), (SERVER, pg(b"R", pack(">I", 5) + b"salt")),
    (CLIENT, pg(b"p", b"md5hash\0")),
    (SERVER, pg(b"R", pack(">I", 0)) + pg(b"S", b"TimeZone\0UTC\0") + pg(b"K", pack(">II", 7, 8)) + pg(b"Z", b"I")),
    (CLIENT, pg(b"Q", b"SELECT 1;\0")),
    (SERVER, pg(b"T", b"\0\1") + pg(b"D", b"\0\1\0\0\0\1" + b"1") + pg(b"C", b"SELECT 1\0") + pg(b"Z", b"I")),
    (CLIENT, pg(b"Q", b"SELECT 1/0;\0")),
    (SERVER, pg(b"E", b"SERROR\0C22012\0Mdivision by zero\0\0") + pg(b"Z", b"I")),
    (CLIENT, pg(b"X", b"")),
)  # fmt: skip

# TFTP, NTP

TFTP_READ = b"\0\1boot.img\0octet\0"
NTP_CLIENT = b"\x23\0\x06\xec" + bytes(44)
NTP_MONLIST = b"\x17\0\3\x2a" + bytes(4)


def mbap(number: int, function: bytes, unit: int = 1) -> bytes:
    """Return a message of Modbus."""
    return pack(">HHHB", number, 0, len(function) + 1, unit) + function


MODBUS = (
    mbap(1, b"\1\0\x10\0\5"), mbap(1, b"\1\1\x1f"), mbap(2, b"\5\0\x0a\xff\0"), mbap(2, b"\5\0\x0a\xff\0"),
    mbap(3, b"\x10\0\1\0\2\4\0\x0a\1\2"), mbap(3, b"\x10\0\1\0\2"), mbap(4, b"\x08\0\4\0\0"), mbap(4, b"\x88\1"),
    mbap(5, b"\x17\0\3\0\6\0\x0e\0\3\6\0\xff\0\xff\0\xff"), mbap(5, b"\x17\2\0\xfe"), mbap(6, b"\x2b\x0e\1\0"),
    mbap(6, b"\xab\2"), mbap(7, b"\x0f\0\x13\0\x0a\2\xcd\1"), mbap(7, b"\x0f\0\x13\0\x0a"),
)  # fmt: skip


def dnp3(segment: bytes, *, by_master: bool = True, transport: int = 0xC0) -> bytes:
    """Return a frame of DNP3 with one segment, and its checksums."""
    body = bytes((transport,)) + segment
    head = b"\x05\x64" + bytes((5 + len(body), 0xC4 if by_master else 0x44)) + b"\2\0\3\0"
    blocks = [head, *(body[at : at + 16] for at in range(0, len(body), 16))]
    return b"".join([block + checksum(block).to_bytes(2, "little") for block in blocks])


DNP3_READ = dnp3(b"\xc0\1\x3c\2\6\x3c\3\6")
DNP3_OPERATE = dnp3(b"\xc1\5\x0c\1\x28\1\0\7\0\x41\1" + pack("<II", 100, 200) + b"\0")
DNP3_ANSWER = dnp3(b"\xc0\x81\x90\0\1\2\0\0\2\x81\1\x01\x1e\5\0\0\0\1" + pack("<f", 1.5), by_master=False)
DNP3 = (DNP3_READ, DNP3_ANSWER, DNP3_OPERATE, DNP3_ANSWER, dnp3(b"\xc2\2\x32\1\7\1\1\2\3\4\5\6"), DNP3_ANSWER)

_ID, _HASH = b"20:abcdefghij0123456789", b"20:mnopqrstuvwxyz123456"
DHT = (
    b"d1:ad2:id" + _ID + b"e1:q4:ping1:t2:aa1:v4:UT\1\2" + b"1:y1:qe",
    b"d1:rd2:id" + _HASH + b"e1:t2:aa1:y1:re",
    b"d1:ad2:id" + _ID + b"9:info_hash" + _HASH + b"e1:q9:get_peers1:t2:ab1:y1:qe",
    b"d1:rd2:id" + _ID + b"5:nodes26:abcdefghij0123456789\xc0\0\2\1\x1a\xe15:token3:abc6:valuesl6:\xc0\0\2\2\x1a\xe1ee"
    b"1:t2:ab1:y1:re",
    b"d1:eli201e5:Wronge1:t2:aa1:y1:ee",
)
BT_CLIENT = b"\x13BitTorrent protocol" + b"\0\0\0\0\0\x10\0\5" + b"h" * 20 + b"-TR4050-abcdefghijkl"
BT_SERVER = b"\x13BitTorrent protocol" + bytes(8) + b"h" * 20 + b"M7-9-2--abcdefghijkl"
BT_PEERS = ((CLIENT, BT_CLIENT), (SERVER, BT_SERVER + b"\0\0\0\1\2"), (CLIENT, b"\0\0\0\1\2" * 9))

TELNET = (b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23", b"\xff\xfb\x18\xff\xfc\x20")


# EtherNet/IP


def enip(command: int, body: bytes = b"", status: int = 0) -> bytes:
    """Return a message with a head."""
    return pack("<HHII8sI", command, len(body), 0x11020100, status, b"context.", 0) + body


def cip(service: bytes, *, connected: bool = False) -> bytes:
    """Return a message that carries a CIP service."""
    address, item = (pack("<HHI", 0xA1, 4, 7), b"\5\0" + service) if connected else (pack("<HH", 0, 0), service)
    data = pack("<HH", 0xB1 if connected else 0xB2, len(item)) + item
    return enip(0x70 if connected else 0x6F, pack("<IHH", 0, 0, 2) + address + data)


def several(*services: bytes) -> bytes:
    """Return the CIP service that is a packet of several."""
    starts, at = b"", 2 + 2 * len(services)
    for service in services:
        starts, at = starts + pack("<H", at), at + len(service)
    return b"\x0a\2\x20\2\x24\1" + pack("<H", len(services)) + starts + b"".join(services)


CIP_SET = b"\x10\3\x20\xf6\x24\1\x30\6\xff"
"""Set the sixth attribute of the first instance of class 246."""
CIP_LIST = b"\3\3\x21\0\x8b\1\x24\1\2\0\1\0\6\0"
"""Get two attributes of class 395."""
ENIP = (
    enip(0x65, b"\1\0\0\0"), enip(0x65, b"\1\0\0\0"), cip(CIP_SET), cip(b"\x90\0\0\0"),
    cip(several(CIP_SET, CIP_LIST, b"\4\2\x20\1\x24\1\1\0\7\0xx"), connected=True),
    cip(b"\x8a\0\x1e\0\1\0\4\0\x90\0\x0e\0", connected=True),
    cip(b"\x52\2\x20\6\x24\1\5\x9d" + pack("<H", len(CIP_SET)) + CIP_SET + b"\0\1\0\1\0"),
    enip(0x6F, status=0x64), enip(0x66),
)  # fmt: skip
ENIP_IDENTITY = (enip(0x63), enip(0x63, pack("<HHH", 1, 12, 0)))
