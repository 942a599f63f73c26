"""QUIC of one flow: what its Initial packets say until both sides have greeted each other.

Each packet with a long head is a transaction, as Suricata has it; the one that completes a hello has what it says. The
keys follow from the client's first packet. Where a later one is protected otherwise, it may begin a connection of its
own, or the first may have been sent to deceive: it is tried with keys of its own.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from ids.protocols.dialogue import Dialogue, DialogueSettings, Shared
from ids.protocols.framing import Message
from ids.protocols.quic.frames import Handshake, cyu, pieces, tags
from ids.protocols.quic.packet import INITIAL, LONG, Malformed, Packet, read_packet
from ids.protocols.quic.protection import Keys, initial_keys, is_protected, unprotected
from ids.protocols.quic.said import Greeting
from ids.protocols.tls.handshake import CLIENT_HELLO, SERVER_HELLO
from ids.protocols.tls.hello import client_hello, server_hello
from ids.types import Direction

MAX_KEYS = 16
"""Keys that are made for one flow, each in 50 microseconds: of retries, of new connections from the same port."""
MAX_PACKETS = 16
"""Packets of one datagram that are read: one of each kind is the rule."""
_HEAD = 4
"""Bytes of a handshake message before what it says."""
_LONGEST = 65534
"""Bytes of a handshake, by the places of its pieces, up to which Suricata finds nothing odd."""


class QuicSettings(DialogueSettings):
    """Bounds of the QUIC parser, and what it logs."""

    ja4_in_events: bool = Field(
        default=False,
        description="Write `ja4` in `quic` events, as Suricata 7 does where it is asked to.",
    )


class QuicFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "quic"

    __slots__ = ("_greeted", "_held", "_keys", "_sides", "_tried")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._keys: tuple[Keys, Keys] | None = None
        self._tried: set[bytes] = set()
        """Ids that keys were made of."""
        self._greeted = [False, False]
        """By direction: its hello was read, and the rest is protected."""
        self._sides = [Handshake(shared.settings.message_bytes) for _ in Direction]
        self._held = 0

    def take(self, direction: Direction, message: Message) -> None:
        """Read the packets of a datagram."""
        data, at = message.data, 0
        for _ in range(MAX_PACKETS):
            if at >= len(data) or not data[at] & LONG:
                break
            try:
                packet = read_packet(data, at)
            except Malformed:
                self.count("malformed")
                break
            self._take(direction, data, packet)
            at = packet.end
        self._account()

    def release(self) -> None:
        """Give back what is held."""
        super().release()
        self.shared.pool.give(self._held)
        self._held = 0

    def _account(self) -> None:
        """Count what is held; hold no more than all flows may."""
        held = 0 if all(self._greeted) else sum(side.held for side in self._sides)
        if held > self._held and not self.shared.pool.take(held - self._held):
            self._forget()
            held = 0
        if held < self._held:
            self.shared.pool.give(self._held - held)
        self._held = held

    def _forget(self) -> None:
        self._sides = [Handshake(self.shared.settings.message_bytes) for _ in Direction]

    def _take(self, direction: Direction, data: bytes, packet: Packet) -> None:
        greeting, odd = Greeting(direction, packet.version), list[str]()
        if packet.kind == INITIAL:
            frames = self._frames(direction, data, packet)
            if frames is None:
                if self._greeted[direction]:
                    return
                odd.append("failed_decrypt")
            elif not self._greeted[direction]:
                try:
                    self._read(direction, packet, frames, greeting, odd)
                except Malformed:
                    odd.append("error_on_data")
        elif self._greeted[direction]:
            return
        tx_id, settings = self.new(), self.shared.settings
        in_events = isinstance(settings, QuicSettings) and settings.ja4_in_events
        if in_events or greeting.hello is None:
            self.say(direction, greeting.buffers(), partial(greeting.fields, in_events), tx_id, odd=odd)
        else:  # alerts have JA4 in any case
            self.say(direction, greeting.buffers(), partial(greeting.fields, True), tx_id, complete=False, odd=odd)
            self.say(direction, {}, partial(greeting.fields, False), tx_id)

    def _frames(self, direction: Direction, data: bytes, packet: Packet) -> bytes | None:
        """Return the frames of an Initial packet; None where no key fits, or where the side has greeted before."""
        if not is_protected(packet.version):
            return data[packet.payload : packet.end]
        keys = self._keys
        if keys is not None and not self._greeted[direction]:
            frames = unprotected(data, packet, keys[direction])
            if frames is not None:
                return frames
        if packet.dcid in self._tried or (keys is not None and direction is Direction.TO_CLIENT):
            return None
        if len(self._tried) >= MAX_KEYS:
            self.count("too_many_keys")
            return None
        return self._anew(direction, data, packet)

    def _anew(self, direction: Direction, data: bytes, packet: Packet) -> bytes | None:
        """Return the frames of a packet that begins a connection, whichever side it seems to come from."""
        self._tried.add(packet.dcid)
        keys = initial_keys(packet.version, packet.dcid)
        frames = unprotected(data, packet, keys[Direction.TO_SERVER])
        if frames is not None:
            self._keys = keys if direction is Direction.TO_SERVER else (keys[1], keys[0])
            self._greeted = [False, False]
            self._forget()
        return frames

    def _read(
        self, direction: Direction, packet: Packet, frames: bytes, greeting: Greeting, odd: list[str]
    ) -> None:  # fmt: skip
        """Read the pieces of a handshake; raises `Malformed`."""
        side, grown = self._sides[direction], False
        try:
            for piece in pieces(frames):
                if piece.offset + len(piece.data) > _LONGEST and not (piece.tagged or odd):
                    odd.append("crypto_frag_too_long")
                found = tags(piece.data) if piece.tagged and piece.data[:4] == b"CHLO" else []
                if found:
                    greeting.cyu.append(cyu(packet.version, found))
                    said = dict(reversed(found))
                    greeting.sni, greeting.user_agent = said.get(b"SNI\0"), said.get(b"UAID")
                elif side.add(piece):
                    grown = True
                else:
                    self.count("pieces_passed_over")
        finally:
            message = side.message() if grown else None
            if message is not None:
                self._greet(direction, message, greeting)

    def _greet(self, direction: Direction, message: bytes, greeting: Greeting) -> None:
        kind, body = message[0], message[_HEAD:]
        if kind == CLIENT_HELLO:
            greeting.hello = client_hello(body)
            greeting.sni = greeting.hello.names[0] if greeting.hello.names else None
        elif kind == SERVER_HELLO:
            greeting.hello = server_hello(body)
        if greeting.hello is not None:
            self._greeted[direction] = True
