"""Community ID, version 1: a hash by which tools recognise the same flow (github.com/corelight/community-id-spec).

Our own dozen lines, because the reference implementation takes 0.1 ms for a flow; the tests hold the two together.
"""

from __future__ import annotations

from binascii import b2a_base64
from functools import lru_cache
from hashlib import sha1

import numpy as np

from ids.memory import passing
from ids.types import I64, FlowColumns

Address = tuple[int, int]

_TCP, _UDP = 6, 17
_WITH_PORTS = (_TCP, _UDP, 132)
_MESSAGE = np.dtype(
    [("seed", ">u2"), ("source", ">u4"), ("destination", ">u4"), ("proto", "u1"), ("zero", "u1"), ("first", ">u2"),
     ("second", ">u2")]
)  # fmt: skip
"""What is hashed of a flow with ports on IPv4."""
_SPELT = 28
"""Letters of a digest in base64."""

ICMP_PAIRS = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17, 10: 9, 9: 10}
"""ICMP types that answer each other; they stand in for ports, so that both directions hash alike."""
ICMP6_PAIRS = {
    128: 129,
    129: 128,
    133: 134,
    134: 133,
    135: 136,
    136: 135,
    130: 131,
    131: 130,
    144: 145,
    145: 144,
    139: 140,
    140: 139,
}
_MAPPED = 0xFFFF


@passing
@lru_cache(maxsize=4096)
def community_id(
    src: Address, dst: Address, sport: int, dport: int, proto: int, seed: int = 0, turned_ports: bool = False
) -> str:
    """Return the Community ID of a flow; addresses as two halves, ICMP's type and code as the ports.

    ``turned_ports``: of two ends with one address, the first is the one whose port is less when its bytes are read the
    other way round (`EveSettings.community_id_turned`).
    """
    source, destination, ports = packed(src), packed(dst), proto in _WITH_PORTS
    one_way = False
    pairs = ICMP_PAIRS if proto == 1 else ICMP6_PAIRS if proto == 58 else None
    if pairs is not None:
        ports, one_way = True, sport not in pairs
        dport = pairs.get(sport, dport)
    order = _turned if turned_ports else int
    if not one_way and (destination, order(dport) if ports else 0) < (source, order(sport) if ports else 0):
        source, destination, sport, dport = destination, source, dport, sport
    message = b"%b%b%b%c\0" % (seed.to_bytes(2, "big"), source, destination, proto)
    if ports:
        message += (sport << 16 | dport).to_bytes(4, "big")
    digest = sha1(message, usedforsecurity=False).digest()
    return "1:" + b2a_base64(digest, newline=False).decode()


def community_ids(flows: FlowColumns, slots: I64) -> list[str]:
    """Return the Community IDs of flows: those over TCP and UDP on IPv4 at once, the others one by one."""
    proto, src, dst = flows.proto[slots], flows.src[slots], flows.dst[slots]
    sport, dport = flows.sport[slots], flows.dport[slots]
    seed, turned_ports = flows.community_seed, flows.community_turned
    plain = (flows.ip_version[slots] == 4) & ((proto == _TCP) | (proto == _UDP))
    if not plain.all():
        return [
            community_id((src_high, src_low), (dst_high, dst_low), *rest, seed, turned_ports)
            for (src_high, src_low), (dst_high, dst_low), *rest in zip(
                src.tolist(), dst.tolist(), sport.tolist(), dport.tolist(), proto.tolist(), strict=True
            )
        ]
    less = dport.byteswap() < sport.byteswap() if turned_ports else dport < sport
    turned = (dst[:, 1] < src[:, 1]) | ((dst[:, 1] == src[:, 1]) & less)
    message = np.zeros(len(slots), _MESSAGE)
    message["source"], message["destination"] = np.where(turned, (dst[:, 1], src[:, 1]), (src[:, 1], dst[:, 1]))
    message["proto"], message["seed"] = proto, seed
    message["first"], message["second"] = np.where(turned, (dport, sport), (sport, dport))
    text, size = message.tobytes(), _MESSAGE.itemsize
    # a byte of zeros behind each makes all of them one text: its last letter stands where a "=" would
    padded = [sha1(text[at : at + size], usedforsecurity=False).digest() + b"\0" for at in range(0, len(text), size)]
    spelt = b2a_base64(b"".join(padded), newline=False).decode()
    return [f"1:{spelt[at : at + _SPELT - 1]}=" for at in range(0, len(spelt), _SPELT)]


def _turned(port: int) -> int:
    """Return a port whose bytes are read the other way round."""
    return port >> 8 | (port & 0xFF) << 8


def packed(address: Address) -> bytes:
    """Return an address as on the wire: 4 bytes for IPv4, 16 for IPv6."""
    high, low = address
    if high == 0 and low >> 32 == _MAPPED:
        return (low & 0xFFFFFFFF).to_bytes(4, "big")
    return (high << 64 | low).to_bytes(16, "big")
