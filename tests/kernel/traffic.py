"""Made-up traffic that meets itself: few addresses and ports, every layer in good and bad shape, and mutated captures.

Frames are put together by hand: Scapy takes half a millisecond for each, and a hundred thousand are wanted.
"""

from __future__ import annotations

import ipaddress
import struct
from random import Random

from ids.kernel.model.cookie import SLOT_SHIFT, challenge_ack, cookie
from ids.kernel.model.flows import flow_key
from ids.kernel.model.parse import Packet, judge_headers, parse_addresses

HOSTS4 = [ipaddress.ip_address(text).packed for text in ("192.0.2.1", "192.0.2.2", "192.0.3.9", "198.51.100.4")]
HOSTS6 = [
    ipaddress.ip_address(text).packed for text in ("2001:db8::1", "2001:db8::2", "2001:db8:1::1", "2001:db8:0:1::7")
]
ODD4 = [ipaddress.ip_address(text).packed for text in ("127.0.0.1", "224.0.0.251", "239.1.2.3", "0.0.0.0")]
ODD6 = [ipaddress.ip_address(text).packed for text in ("ff02::1", "::", "::ffff:192.0.2.1", "fe80::1", "fe80::2")]
PORTS = (53, 80, 443, 11211, 40000)
NUMBERS = (100, 101, 0, 0xFFFFFFFF, 5000, 0x7FFFFFFF)
FLAGS = (0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x02, 0x12, 0x10, 0x03, 0x06, 0x00, 0xFF, 0x01)
SIZES = (0, 0, 0, 0, 1, 1, 20, 20, 100, 100, 400, 1400, 1922, 1934)
"""Bytes of payload; with headers, the last two just fit into a record of the large ring."""
TUNNEL_PORTS = ((4789,), (6081, 40000), (3544,))
"""Of VXLAN, Geneve and Teredo; one is a port of others too."""
IDS = (1, 1, 0x10001)
"""Of fragments; one fits IPv6 alone."""
PROTOCOLS = (6, 6, 6, 17, 17, 1, 58, 50, 6, 17)
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)
ETHERNET = bytes.fromhex("020000000002020000000001")
OTHER_WAY = bytes.fromhex("020000000002020000000003")
"""From another neighbour."""


def frame(random: Random) -> bytes:
    """Return one frame, mostly well-formed."""
    kind, packet = _ip4(random) if random.random() < 0.55 else _ip6(random)
    if random.random() < 0.03:
        kind = random.choice((b"\x08\x06", b"\x88\xcc", b"\x86\xdd", b"\x08\x00", b"\x81\x00"))
    tags = b""
    for _ in range(random.choice((0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 7, 8, 9))):
        tags += random.choice((b"\x81\x00", b"\x88\xa8", b"\x81\x00", b"\x91\x00")) + struct.pack(
            ">H", random.choice((0, 1, 7, 0xF007))
        )
    whole = (ETHERNET if sum(packet) % 5 else OTHER_WAY) + tags + kind + packet
    return spoil(random, whole) if random.random() < 0.08 else whole


def spoil(random: Random, whole: bytes) -> bytes:
    """Cut a frame, pad it, or change some of its bytes."""
    choice = random.randrange(4)
    if choice == 0:
        return whole[: random.randrange(len(whole) + 1)]
    if choice == 1:
        return whole + bytes(random.choice((1, 6, 46)))
    changed = bytearray(whole)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(min(len(changed), 90))] = random.randrange(256)
    return bytes(changed)


def tunnelled(random: Random, whole: bytes) -> bytes:
    """Return a frame, or the IP packet in it, in a tunnel or two between the hosts of all, seldom in bad shape."""
    if random.random() < 0.7:
        whole = frame(random)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        proto, payload = _carried(random, whole)
        if random.random() < 0.08:
            payload = spoil(random, payload)
        if proto == 17:
            ports = [random.choice(sum(TUNNEL_PORTS, ())), random.choice(PORTS)]
            random.shuffle(ports)
            payload = struct.pack(">HHHH", *ports, 8 + len(payload) & 0xFFFF, 0) + payload
        kind, packet = _around4(random, proto, payload) if random.random() < 0.6 else _around6(random, proto, payload)
        whole = ETHERNET + kind + packet
    return whole


def _carried(random: Random, whole: bytes) -> tuple[int, bytes]:
    """Return the protocol of IP and the payload that carry a frame, or what is in it: announced rightly or not."""
    ip, kind = whole[14:], whole[12:14]
    choice = random.randrange(6)
    if choice == 0:
        return random.choice((4, 41)) if random.random() < 0.1 else 4 if kind == b"\x08\0" else 41, ip
    if choice in (1, 2):
        return 47, _gre(random, whole)
    if choice == 3:
        flags = random.choice((0x08, 0x08, 0x08, 0x0C, 0x00))
        if flags == 0x0C:
            return 17, bytes((flags, 0, 0, random.choice((1, 2, 3, 4)))) + bytes(4) + random.choice((ip, whole))
        return 17, bytes((flags, 0, 0, 0)) + bytes(4) + whole
    if choice == 4:
        words = random.choice((0, 0, 1, 63, 0x40))
        options = bytes(4 * (words & 63))
        return 17, bytes((words, 0)) + random.choice(
            (b"\x65\x58" + bytes(4) + options + whole, kind + bytes(4) + options + ip)
        )
    before = random.choice((b"", b"", b"\0\0" + bytes(6), b"\0\1\2\3" + bytes(14), b"\0\1\0\0" + bytes(9 + 8)))
    return 17, before + ip


def _gre(random: Random, whole: bytes) -> bytes:
    flags = random.choice((0, 0, 0x1000, 0x2000, 0x8000, 0xB000, 0x3081, 0x3001, 0x4000, 0x0002))
    size = sum(4 for bit in (0x8000, 0x2000, 0x1000) if flags & bit) + (4 if flags & 0x81 == 0x81 else 0)
    ip, kind = whole[14:], int.from_bytes(whole[12:14], "big")
    ppp = b"\0\x21" if kind == 0x0800 else b"\0\x57"
    of: list[tuple[int, bytes]] = [
        (kind, ip),
        (0x6558, whole),
        (0x880B, random.choice((b"\xff\3", b"")) + ppp[random.choice((0, 0, 1)) :] + ip),
        (0x883E, random.choice((b"", bytes(4))) + ip),
        (0x88BE, (bytes(8) if flags & 0x1000 else b"") + whole),
        (0x22EB, random.choice((bytes(12), bytes(11) + b"\1" + bytes(8))) + whole),
    ]
    announced, inner = of[2] if flags & 1 else random.choice(of)
    return struct.pack(">HH", flags, announced) + bytes(size) + inner


def _around4(random: Random, proto: int, payload: bytes) -> tuple[bytes, bytes]:
    fragment = random.choice((0,) * 12 + (0x4000, 0x2000, 185))
    header = struct.pack(
        ">BBHHHBBH", 0x45, 0, 20 + len(payload) & 0xFFFF, random.choice(IDS) & 0xFFFF, fragment, 64, proto, 0
    )
    return b"\x08\0", header + random.choice(HOSTS4) + random.choice(HOSTS4) + payload


def _around6(random: Random, proto: int, payload: bytes) -> tuple[bytes, bytes]:
    header = struct.pack(">IHBB", 6 << 28, len(payload) & 0xFFFF, proto, 64)
    return b"\x86\xdd", header + random.choice(HOSTS6) + random.choice(HOSTS6) + payload


def mutated(random: Random, whole: bytes) -> bytes:
    """Return a captured frame, as it is, spoilt, or moved to the hosts that the others have."""
    choice = random.randrange(4)
    if choice == 0 and whole[12:14] == b"\x08\x00" and len(whole) >= 34:
        return whole[:26] + random.choice(HOSTS4) + random.choice(HOSTS4) + whole[34:]
    return spoil(random, whole) if choice in (1, 2) else whole


def answer(random: Random, challenged: bytes, secret: tuple[int, int], now_ns: int) -> bytes:
    """Return the reset by which an honest client answers the challenge of its SYN, seldom a little late."""
    packet = Packet(challenged)
    if parse_addresses(packet) or judge_headers(packet) or packet.proto != 6 or packet.len < packet.l4 + 20:
        return challenged
    slot = (now_ns >> SLOT_SHIFT) - random.choice((0, 0, 1, 2))
    header = bytearray(challenged)
    header[packet.l4 + 4 : packet.l4 + 8] = challenge_ack(packet.seq, cookie(packet, secret, slot)).to_bytes(4, "big")
    header[packet.l4 + 13] = 0x04
    return bytes(header)


def reply(received: bytes) -> bytes:
    """Return what the receiver of a SYN, or of the answer to one, would send; of any other packet, that packet."""
    packet = Packet(received)
    if parse_addresses(packet) or judge_headers(packet) or packet.proto != 6 or packet.len < packet.l4 + 20:
        return received
    if packet.fragment or not packet.tcp_flags & 0x02:
        return received
    frame, at, size = bytearray(received), packet.l3 + (12 if packet.version == 4 else 8), len(packet.src)
    frame[:12] = received[6:12] + received[:6]
    frame[at : at + 2 * size] = packet.dst + packet.src
    answers = packet.tcp_flags & 0x10
    seq = packet.ack if answers else 4711
    numbers = struct.pack(">II", seq, (packet.seq + 1) & 0xFFFFFFFF)
    frame[packet.l4 : packet.l4 + 12] = packet.dport + packet.sport + numbers
    frame[packet.l4 + 13] = 0x10 if answers else 0x12
    return bytes(frame)


def conversation(random: Random) -> list[bytes]:
    """Return a handshake and what the two say then; some of it contradicts what is true."""
    kind, hosts, size = random.choice(((b"\x08\x00", HOSTS4, 4), (b"\x86\xdd", HOSTS6, 16)))
    ends = [(host, struct.pack(">H", random.choice(PORTS))) for host in random.sample(hosts, 2)]
    at = [random.choice(NUMBERS), random.choice(NUMBERS)]
    frames: list[bytes] = []
    for number in range(3 + random.randrange(12)):
        side = number % 2 if number < 3 else random.randrange(2)
        flags = (0x02, 0x12, 0x10)[number] if number < 3 else random.choice((0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x14))
        payload = bytes(random.choice((0, 1, 60, 400, 1400)) if number >= 3 else 0)
        odd = (0, 0, 0, 0, -1, -5000, 90_000, 1 << 31) if number >= 3 else (0,)
        seq, ack = (at[of] + random.choice(odd) & 0xFFFFFFFF for of in (side, 1 - side))
        (src, sport), (dst, dport) = ends[side], ends[1 - side]
        tcp = sport + dport + struct.pack(">IIBBHHH", seq, ack if flags & 0x10 else 0, 0x50, flags, 512, 0, 0) + payload
        if size == 4:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0)
        else:
            head = struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64)
        frames.append(ETHERNET + kind + head + src + dst + tcp)
        if number == 0 and random.random() < 0.3:  # it comes back from behind us
            frames.append(OTHER_WAY + frames[0][12:])
        at[side] = at[side] + len(payload) + (flags & 0x03 > 0) & 0xFFFFFFFF
    return frames


def key_of(whole: bytes) -> bytes:
    """Return the key of the flow that a packet is of, as user space knows it; nothing where it is malformed."""
    packet = Packet(whole)
    if parse_addresses(packet) or judge_headers(packet):
        return b""
    packet.sport, packet.dport = packet.first_ports if packet.fragment else (packet.sport, packet.dport)
    return flow_key(packet)[1]


def fragmented(random: Random, whole: bytes) -> bytes:
    """Return an IPv4 packet as the first fragment of one, or as a later one; of any other, that."""
    packet = Packet(whole)
    if parse_addresses(packet) or judge_headers(packet) or packet.version != 4:
        return whole
    frame = bytearray(whole)
    frame[packet.l3 + 4 : packet.l3 + 8] = random.choice((b"\0\1\x20\0", b"\0\1\x20\0", b"\0\1\0\x10"))
    return bytes(frame)


def _ip4(random: Random) -> tuple[bytes, bytes]:
    proto = random.choice(PROTOCOLS)
    payload = _transport(random, proto)
    options = bytes(4 * random.choice((0, 0, 0, 0, 1, 10)))
    fragment = random.choice((0,) * 20 + (0x4000, 0x2000, 0x2000, 1, 2, 0x2001, 8189, 185, 0x1FFF))
    source, destination = _pair(random, HOSTS4, ODD4)
    length = 20 + len(options) + len(payload)
    if random.random() < 0.03:
        length = max(0, length + random.choice((-30, -9, -1, 1, 40)))
    words = 5 + len(options) // 4 if random.random() > 0.02 else random.randrange(16)
    version = 4 if random.random() > 0.01 else random.randrange(16)
    header = struct.pack(
        ">BBHHHBBH", version << 4 | words, 0, length, random.choice(IDS) & 0xFFFF, fragment, 64, proto, 0
    )
    return b"\x08\x00", header + source + destination + options + payload


def _ip6(random: Random) -> tuple[bytes, bytes]:
    proto = random.choice(PROTOCOLS)
    payload = _transport(random, proto)
    for _ in range(random.choice((0, 0, 0, 0, 0, 1, 1, 2, 5, 8, 9))):
        extension = random.choice(EXTENSIONS)
        payload = _extension(random, extension, proto) + payload
        proto = extension
    source, destination = _pair(random, HOSTS6, ODD6)
    length = len(payload)
    if random.random() < 0.03:
        length = max(0, length + random.choice((-30, -9, -1, 1, 40)))
    version = 6 if random.random() > 0.01 else random.randrange(16)
    header = struct.pack(">IHBB", version << 28, length & 0xFFFF, proto, 64)
    return b"\x86\xdd", header + source + destination + payload


def _extension(random: Random, kind: int, following: int) -> bytes:
    if kind == 44:
        offset = random.choice((0, 0, 1, 1, 8, 9, 0x10, 0xFFF9, 0xFFF8, 24))
        return struct.pack(">BBHI", following, 0, offset, random.choice(IDS))
    length = random.choice((0, 0, 0, 1, 2)) if random.random() > 0.02 else random.randrange(256)
    size = (length + 2) * 4 if kind == 51 else (length + 1) * 8
    return bytes((following, length)) + bytes(min(size, 64) - 2)


def _pair(random: Random, hosts: list[bytes], odd: list[bytes]) -> tuple[bytes, bytes]:
    source = random.choice(hosts) if random.random() > 0.02 else random.choice(odd)
    return source, random.choice(hosts) if random.random() > 0.02 else random.choice(odd)


def _transport(random: Random, proto: int) -> bytes:
    data = bytes(random.choice(SIZES) if random.random() > 0.01 else 5000)
    if proto == 6:
        offset = 5 if random.random() > 0.05 else random.randrange(16)
        flags = random.choice(FLAGS)
        ports = (random.choice(PORTS[1:3]), random.choice(PORTS[-2:]))
        if random.random() < 0.5:
            ports = ports[::-1]
        numbers = (random.choice(NUMBERS), random.choice(NUMBERS))
        return struct.pack(">HHIIBBHHH", *ports, *numbers, offset << 4, flags, 0, 0, 0) + data
    if proto == 17:
        length = 8 + len(data) + (0 if random.random() > 0.05 else random.choice((-8, -3, -1, 1, 60)))
        return struct.pack(">HHHH", random.choice(PORTS), random.choice(PORTS), max(0, length), 0) + data
    if proto in (1, 58):
        kind = random.choice((0, 8, 3, 128, 129, 135))
        return struct.pack(">BBHHH", kind, 0, 0, random.choice((1, 2)), 1) + data
    return data
