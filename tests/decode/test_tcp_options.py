"""TCP options of many rows at once, as a host reads them one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ids.decode.noted import rows_with
from ids.decode.tcp_options import NO_SCALE, tcp_options
from tests.decode.frames import decode
from tests.flow.traffic import Pkt, columns


def read(options: bytes) -> tuple[int | None, bool, int | None]:
    """The oracle: timestamp, whether it is signed, window scale. What follows a malformed option is not read."""
    stamp, signed, scale, at = None, False, None, 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            break
        kind, content = options[at], options[at + 2 : at + options[at + 1]]
        if kind == 8 and len(content) == 8:
            stamp = int.from_bytes(content[:4], "big")
        signed |= kind in (19, 29)
        if kind == 3 and len(content) == 1:
            scale = content[0]
        at += options[at + 1]
    return stamp, signed, scale


def option(kind: int, content: bytes) -> bytes:
    return bytes([kind, len(content) + 2]) + content


KNOWN = st.one_of(
    st.just(b"\x01"),
    st.binary(min_size=8, max_size=8).map(lambda content: option(8, content)),
    st.binary(min_size=1, max_size=1).map(lambda content: option(3, content)),
    st.just(b"\x01\x01\x08\x0a" + bytes(range(8))),
    st.sampled_from([19, 29, 2, 5, 8, 3]).flatmap(
        lambda kind: st.binary(max_size=18).map(lambda content: option(kind, content))
    ),
    st.binary(max_size=4),
)
OF_SYN = bytes.fromhex("020405b40402080a0102030405060708010303") + b"\x07"
"""As Linux has them."""


@st.composite
def of_syn(draw: st.DrawFn) -> bytes:
    """Return the options of a SYN, with a byte of them changed as a rule."""
    options = bytearray(OF_SYN)
    options[draw(st.integers(0, len(options) - 1))] = draw(st.integers(0, 255))
    return bytes(options)


OPTIONS = st.lists(KNOWN, max_size=6).map(lambda parts: b"".join(parts)[:40]) | of_syn()


@given(st.lists(OPTIONS, min_size=1, max_size=8))
@example([OF_SYN, b"", OF_SYN[:-4]])
def test_options_are_read_as_one_after_the_other(rows: Sequence[bytes]) -> None:
    packets = columns([Pkt(options=options, data=b"payload") for options in rows])
    found = tcp_options(packets, np.arange(len(rows)))
    for row, options in enumerate(rows):
        stamp, signed, scale = read(options)
        assert bool(found.stamped[row]) == (stamp is not None)
        assert not found.stamped[row] or int(found.stamp[row]) == stamp
        assert bool(found.signed[row]) == signed
        assert int(found.scale[row]) == (NO_SCALE if scale is None else scale)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
@example([b"\0"])
@example([b"\2\4\5\xb4\0\0\0\0", b"\2\4\5\xb4\2\4\5\xb4", b"\2\3\5\0"])
def test_any_options_can_be_asked_for_their_faults(contents: list[bytes]) -> None:
    """Whatever a sender writes there, the rules on it are judged: those of its packet, and of all others."""
    frames = []
    for options in contents:
        options += bytes(-len(options) % 4)
        segment = bytes(TCP(sport=1, dport=2, flags="S", dataofs=5 + len(options) // 4)) + options
        frames.append(bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(proto=6) / segment))
    packets = decode(*frames)
    for event in ("tcp.opt_invalid_len", "tcp.opt_duplicate"):
        assert set(rows_with(packets, event).tolist()) <= set(range(len(frames)))
