"""QUIC: what its Initial packets say, whose keys everybody can make; the rest is protected.

- `parser` reads a flow; `packet` the heads of packets, `protection` takes theirs off, `frames` are what is in them;
- `said` makes what rules test and EVE logs.

Versions 1 and 2, drafts 23 to 34, Facebook's, and Google's Q046, Q050, T050 and T051.
"""

from ids.protocols.dialogue import speaking
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.quic.packet import LONG, is_quic
from ids.protocols.quic.parser import QuicFlow, QuicSettings
from ids.types import Direction

_CLIENT = Direction.TO_SERVER

PROTOCOL = Protocol(
    name="quic",
    usual_ports=frozenset({443}),
    usual_starts={443: frozenset(range(LONG, 256))},
    datagram=is_quic,
    first_bytes=frozenset(range(LONG, 256)),
    settings=QuicSettings,
    datagrams=speaking(QuicFlow),
    oddities=("failed_decrypt", "error_on_data", "crypto_frag_too_long"),
    event="quic",
    of_sender=True,
    buffers=(
        Buffer("quic.version", "quic", None, "version of a packet, 4 bytes as sent"),
        Buffer("quic.sni", "quic", _CLIENT, "server name that the client asks for"),
        Buffer("quic.ua", "quic", _CLIENT, "user agent of Google's QUIC"),
        Buffer("quic.alpn", "quic", None, "application protocols offered", several=True),
        Buffer("quic.cyu.hash", "quic", _CLIENT, "CYU of a client of Google's QUIC, hexadecimal", several=True),
        Buffer("quic.cyu.string", "quic", _CLIENT, "CYU string of a client of Google's QUIC", several=True),
    ),
)

__all__ = ["PROTOCOL"]
