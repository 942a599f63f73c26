"""Captures of conversations that few public ones have, made by hand, each with its server at its usual port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from tests.fuzz.second_line import SECOND_LINE
from tests.protocols import said

_ENDS = ("192.0.2.1", "198.51.100.2")
_MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
_FIRST_CLIENT = 50_000
_START_S = 1_700_000_000.0
_NAMES = (
    ("snmp", 161), ("dhcp", 67), ("sip", 5060), ("sip", 5060), ("ike", 500), ("ike", 500), ("tftp", 69),
    ("bittorrent-dht", 6881), ("quic", 443), ("mqtt", 1883), ("mqtt", 1883), ("rfb", 5900), ("pgsql", 5432),
    ("modbus", 502), ("dnp3", 20000), ("enip", 44818), ("enip", 44818),
)  # fmt: skip
"""Names and ports of `SECOND_LINE`, in its order."""
Turns = tuple[tuple[int, bytes], ...]
OTHERS: tuple[tuple[str, int, bool, Turns], ...] = (
    ("telnet", 23, False, ((1, said.TELNET[0]), (0, said.TELNET[1]))),
    ("ntp", 123, True, ((0, said.NTP_CLIENT),)),
    ("redis", 6379, False, ((0, b"*1\r\n$4\r\nPING\r\n"), (1, b"+PONG\r\n"), (0, b"*1\r\n$4\r\nQUIT\r\n"))),
    ("mysql", 3306, False, ((1, b"\x4a\0\0\0\x0a8.0.36\0\x0b\0\0\0abcdefgh\0\xff\xf7\xff\x02\0\xff\xc7\x15" + b"\0" * 10
                             + b"ijklmnopqrst\0mysql_native_password\0"),)),
    ("bittorrent", 6881, False, tuple((side, b"\x13BitTorrent protocol" + b"\0" * 48) for side in (0, 1))),
    ("nfs", 2049, False, ((0, bytes.fromhex("80000028 11223344 00000000 00000002 000186a3 00000003 00000000 00000000"
                                            "00000000 00000000 00000000")),)),
    ("imap", 143, False, ((1, b"* OK IMAP4rev1 ready\r\n"), (0, b"a1 LOGIN me secret\r\n"), (1, b"a1 OK done\r\n"))),
    ("pop3", 110, False, ((1, b"+OK POP3 ready\r\n"), (0, b"USER me\r\n"), (1, b"+OK\r\n"), (0, b"QUIT\r\n"))),
    ("ldap", 389, False, ((0, bytes.fromhex("300c020101600702010304008000")),
                          (1, bytes.fromhex("300c02010161070a010004000400")))),
)  # fmt: skip


def conversations(folder: Path) -> Iterator[Path]:
    """Write the captures, and yield their paths."""
    second = zip(_NAMES, SECOND_LINE, strict=True)
    told = [(name, port, one.datagrams, one.turns) for (name, port), one in second]
    for number, (name, port, datagrams, turns) in enumerate([*told, *OTHERS]):
        path = folder / f"{number:02}-{name}.pcap"
        wrpcap(str(path), list(_packets(_FIRST_CLIENT + number, port, datagrams, turns)))
        yield path


def _packets(client: int, server: int, datagrams: bool, turns: Turns) -> Iterator[Packet]:
    sequence = [1000, 5000]
    opening = [] if datagrams else [(0, "S", b""), (1, "SA", b""), (0, "A", b"")]
    for number, (side, flags, data) in enumerate([*opening, *((side, "PA", data) for side, data in turns)]):
        ports = (client, server)[side], (server, client)[side]
        layer = UDP(sport=ports[0], dport=ports[1])
        if not datagrams:
            acknowledged = sequence[1 - side] * (flags != "S")
            layer = TCP(sport=ports[0], dport=ports[1], flags=flags, seq=sequence[side], ack=acknowledged)
        sequence[side] += len(data) + ("S" in flags)
        packet = Ether(src=_MACS[side], dst=_MACS[1 - side]) / IP(src=_ENDS[side], dst=_ENDS[1 - side]) / layer
        packet.time = _START_S + number / 100
        packet = packet / Raw(data) if data else packet
        packet.time = _START_S + number / 100
        yield packet
