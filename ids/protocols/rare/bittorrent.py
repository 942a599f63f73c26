"""BitTorrent: the DHT's messages over UDP (BEP 5), each a transaction; and how its peers begin over TCP (BEP 3), which
is one.
"""

from __future__ import annotations

from typing import Any

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Handover, Protocol
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

MAX_DEPTH = 8
"""Lists within lists that are read: messages have three."""
MAX_VALUES = 512
"""Values of one message that are read: nodes come as one."""
_MESSAGE = late_pattern(rb"(?s)d1:(?:[are]|ad|rd|el)(?:d2:id20:|li\d|2:id20:|i\d)|d2:ip[46]:|d1:y1:[qre]|d1:q\d")
_ID = 20


class Malformed(Exception):
    """What is there is no value of Bencode."""


class Reader:
    """Reads values of Bencode (BEP 3)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = MAX_VALUES

    def value(self, depth: int = 0) -> Any:
        """Return the next value; raises `Malformed`."""
        self._left -= 1
        head = self._data[self._at : self._at + 1]
        if self._left < 0 or depth > MAX_DEPTH or not head:
            raise Malformed
        if head.isdigit():
            return self._bytes()
        self._at += 1
        if head == b"i":
            return self._number(b"e")
        if head == b"l":
            found = []
            while not self._ends():
                found.append(self.value(depth + 1))
            return found
        if head == b"d":
            known: dict[bytes, Any] = {}
            while not self._ends():
                key = self._bytes()
                known[key] = self.value(depth + 1)
            return known
        raise Malformed

    def _ends(self) -> bool:
        if self._data[self._at : self._at + 1] != b"e":
            return False
        self._at += 1
        return True

    def _number(self, until: bytes) -> int:
        end = self._data.find(until, self._at, self._at + 21)
        digits = self._data[self._at : end] if end >= 0 else b""
        if not digits.removeprefix(b"-").isdigit():
            raise Malformed
        self._at = end + 1
        return int(digits)

    def _bytes(self) -> bytes:
        size = self._number(b":")
        if size < 0 or self._at + size > len(self._data):
            raise Malformed
        self._at += size
        return self._data[self._at - size : self._at]


def is_dht(data: bytes) -> bool:
    """Return whether a datagram begins as a message of the DHT."""
    return _MESSAGE.match(data) is not None


def _peers(data: bytes, size: int) -> list[dict[str, Any]]:
    """Return nodes in their compact form: an id, an address of ``size`` bytes, a port."""
    step = _ID + size + 2
    found = []
    for at in range(0, min(len(data), step * 64) - step + 1, step):
        address = data[at + _ID : at + _ID + size]
        found.append({"id": data[at : at + _ID].hex(), **_end(address + data[at + _ID + size : at + step])})
    return found


def _end(data: bytes) -> dict[str, Any]:
    """Return an address and a port."""
    address, port = data[:-2], int.from_bytes(data[-2:], "big")
    if len(address) == 4:
        return {"ip": ".".join(map(str, address)), "port": port}
    return {"ip": ":".join([f"{address[at] << 8 | address[at + 1]:04x}" for at in range(0, 16, 2)]), "port": port}


def _hex(of: dict[bytes, Any], name: bytes) -> str | None:
    value = of.get(name)
    return value.hex() if isinstance(value, bytes) else None


def _request(of: dict[bytes, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (b"id", b"target", b"info_hash", b"token", b"implied_port", b"port"):
        value = of.get(name)
        if isinstance(value, bytes):
            found[name.decode()] = value.hex()
        elif isinstance(value, int):
            found[name.decode()] = value
    return found


def _response(of: dict[bytes, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": _hex(of, b"id") or ""}
    for name, size in ((b"nodes", 4), (b"nodes6", 16)):
        nodes = of.get(name)
        if isinstance(nodes, bytes):
            found[name.decode()] = _peers(nodes, size)
    values = of.get(b"values")
    if isinstance(values, list):
        found["values"] = [_end(one) for one in values if isinstance(one, bytes) and len(one) in (6, 18)]
    token = _hex(of, b"token")
    if token is not None:
        found["token"] = token
    return found


class DhtFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "bittorrent-dht"

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        try:
            whole = Reader(message.data).value()
        except Malformed:
            whole = None
        if not isinstance(whole, dict):
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), complete=False, odd=("malformed_packet",))
            return
        fields: dict[str, Any] = {"transaction_id": _hex(whole, b"t") or ""}
        version = _hex(whole, b"v")
        if version is not None:
            fields["client_version"] = version
        asked, arguments, answer, error = (whole.get(name) for name in (b"q", b"a", b"r", b"e"))
        inner: dict[bytes, Any] = {}
        if isinstance(asked, bytes):
            fields["request_type"] = text(asked)
            inner = arguments if isinstance(arguments, dict) else {}
            fields["request"] = _request(inner)
        elif isinstance(answer, dict):
            inner, fields["response"] = answer, _response(answer)
        elif isinstance(error, list) and len(error) == 2:
            number, what = error
            fields["error"] = {
                "num": number if isinstance(number, int) else 0, "msg": text(what) if isinstance(what, bytes) else "",
            }  # fmt: skip
        said = {
            "bittorrent_dht.request_type": asked if isinstance(asked, bytes) else None,
            "bittorrent_dht.client_version": whole[b"v"] if version is not None else None,
            "bittorrent_dht.info_hash": inner[b"info_hash"] if isinstance(inner.get(b"info_hash"), bytes) else None,
        }
        self.say(direction, said, fields, self.new())


DHT = Protocol(
    name="bittorrent-dht",
    datagram=is_dht,
    settings=DialogueSettings,
    datagrams=speaking(DhtFlow),
    oddities=("malformed_packet",),
    event="bittorrent_dht",
    buffers=(
        Buffer("bittorrent_dht.request_type", "bittorrent-dht", None, "what is asked: `get_peers`"),
        Buffer("bittorrent_dht.client_version", "bittorrent-dht", None, "software of the sender, as sent"),
        Buffer("bittorrent_dht.info_hash", "bittorrent-dht", None, "what is looked for, 20 bytes"),
    ),
)

_HANDSHAKE = 68
"""Bytes of a handshake: its name behind their number, 8 reserved ones, the info hash, the peer's id."""
_PSTR = b"\x13BitTorrent protocol"
_EXTENSIONS = {0: "azureus_messaging", 43: "extension_protocol", 59: "v2", 61: "fast", 63: "dht"}
"""By number of a reserved bit, from the first one on (BEP 4, 5, 6, 10, 52)."""


class PeersFlow(Dialogue):
    """Both directions of a flow: a handshake each, behind which nothing is read."""

    protocol = "bittorrent"

    __slots__ = ("_done", "_fields", "_open", "_tx")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._done = [False, False]
        """By direction: nothing more of it is read."""
        self._tx = self.new()
        self._fields: EveFields = {}
        self._open = True

    def cut(self, direction: Direction) -> Frames:
        """Cut the handshake."""
        return Frames(self.shared.pool, _length_of, self.shared.settings.message_bytes)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction."""
        if self._done[stretch.direction]:
            stretch = stretch._replace(data=b"", gap=0)
        return super().feed(stretch, out)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a handshake."""
        if self._done[direction]:
            return
        self._done[direction] = True
        data = message.data
        if message.lost or not data.startswith(_PSTR):
            return
        reserved, info_hash, peer_id = data[20:28], data[28:48], data[48:]
        bits = int.from_bytes(reserved, "big")
        peer: dict[str, Any] = {"peer_id": peer_id.hex(), "reserved": reserved.hex()}
        extensions = [name for at, name in _EXTENSIONS.items() if bits >> (63 - at) & 1]
        if extensions:
            peer["extensions"] = extensions
        if peer_id[:1] == b"-" == peer_id[7:8]:
            peer["client"] = text(peer_id[1:7])
        self._fields.setdefault("info_hash", info_hash.hex())
        self._fields["server" if direction is Direction.TO_CLIENT else "client"] = peer
        said = {
            "bittorrent.info_hash": info_hash, "bittorrent.peer_id": peer_id, "bittorrent.reserved": reserved,
        }  # fmt: skip
        self._say(direction, said, complete=all(self._done))

    def end(self) -> None:
        """Say what one side said to nobody."""
        if self._open and self._fields:
            self._say(Direction.TO_SERVER, {}, complete=True)

    def _say(self, direction: Direction, said: dict[str, bytes], *, complete: bool) -> None:
        self._open = not complete
        self.say(direction, said, dict(self._fields), self._tx, complete=complete)


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a handshake has, as `ids.protocols.framing.LengthOf`."""
    return _HANDSHAKE


PEERS = Protocol(
    name="bittorrent",
    from_client=_PSTR,
    from_server=_PSTR,
    settings=DialogueSettings,
    streams=speaking(PeersFlow),
    event="bittorrent",
    ours=True,
    buffers=(
        Buffer("bittorrent.info_hash", "bittorrent", None, "what is shared, 20 bytes"),
        Buffer("bittorrent.peer_id", "bittorrent", None, "id of a peer, 20 bytes: `-TR4050-` names its software"),
        Buffer("bittorrent.reserved", "bittorrent", None, "what a peer can do, 8 bytes of bits"),
    ),
)
