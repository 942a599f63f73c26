"""One TLS connection: what both sides say until the rest is encrypted. It is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ids.protocols.made import Made
from ids.protocols.protocol import ODDITY, Setup
from ids.protocols.stretch import Stretch
from ids.protocols.tls import handshake
from ids.protocols.tls.certificate import Certificate, Malformed, read_certificate
from ids.protocols.tls.certificate_faults import fault_of
from ids.protocols.tls.handshake import (
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CHANGE_CIPHER,
    CLIENT_HELLO,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    SSL2_CLIENT_HELLO,
)
from ids.protocols.tls.hello import SERVER_NAME, Hello, client_hello, server_hello, ssl2_client_hello
from ids.protocols.tls.said import OF_CLIENT, OF_SERVER, Said, fields, picked
from ids.protocols.tls.settings import TlsSettings
from ids.protocols.tls.versions import is_tls13
from ids.types import Direction, Transaction

_SIZE = 3
"""Bytes of the length of a list of certificates, and of each of them."""


class Shared:
    """What the parsers of all connections share; makes them."""

    def __init__(self, setup: Setup) -> None:
        self.flows = setup.flows
        self.counters = setup.counters
        self.settings: TlsSettings = setup.settings
        self.held = 0
        """Bytes of unfinished handshakes of all connections."""

    def __call__(self, slot: int, tx_id: int) -> TlsConnection:
        """Return the parser of a flow."""
        return TlsConnection(self, slot, tx_id)


class TlsConnection:
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = (
        "_answered", "_asked", "_before", "_held", "_logged", "_resumed", "_said", "_shared", "_sides", "_slot",
        "_tx_id", "ended",
    )  # fmt: skip

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._tx_id = tx_id
        self._before = shared.flows.view(slot).app_orig
        """The protocol that handed the flow over."""
        limit = shared.settings.handshake_bytes
        self._sides = (handshake.Direction(limit), handshake.Direction(limit))
        self._said = [Said(None), Said(None)]
        self._held = 0
        self._resumed = False
        """The server went on with an earlier session."""
        self._asked = self._answered = False
        """The server asked for a certificate; the client has sent one, or has gone on without."""
        self._logged = False
        """The event of the connection is written."""
        self.ended: Sequence[int] = ()
        """Of each record that ended in the last piece: the bytes of the piece behind it."""

    @property
    def settled(self) -> bool:
        """Whether both sides speak TLS, and all was read that is not encrypted: the rest need not be seen."""
        return all(side.done and side.begun and not (side.malformed or side.clear) for side in self._sides)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        side = self._sides[direction]
        side.ended.clear()
        self.ended = side.ended
        if side.done:
            return
        if gap:
            self._shared.counters.add("tls.gap")
            side.finish()
        elif data:
            for message in side.feed(data):
                self._take(direction, message, ts_ns, number, out)
                if side.odd:
                    self._complain(direction, (ts_ns, number, message.behind), out)
            if side.malformed:
                self._shared.counters.add("tls.malformed")
            if side.odd:
                self._complain(direction, (ts_ns, number, 0), out)
        if closed:
            side.finish()
        if not self._logged and self._sides[direction].done:
            self._log(direction, (ts_ns, number, 0), out, ended=closed or all(one.done for one in self._sides))
        self._account()

    def release(self) -> None:
        """Give back the memory of a connection that is parsed no more."""
        self._shared.held -= self._held
        self._held = 0

    def _account(self) -> None:
        """Count what is held, and hold nothing once all is read; give the connection up for want of memory."""
        shared, (client, server) = self._shared, self._sides
        if self._logged:
            self._said = [Said(one.hello) for one in self._said]
        if not (client.done and server.done):
            held = client.held + server.held + self._said[0].cost + self._said[1].cost
            if held <= self._held or shared.held + held - self._held <= shared.settings.memcap_bytes:
                shared.held += held - self._held
                self._held = held
                return
            shared.counters.add("tls.memcap")
            client.finish()
            server.finish()
        self._said = [Said(None), Said(None)]
        self.release()

    def _take(
        self, direction: Direction, message: handshake.Said, ts_ns: int, number: int, out: list[Transaction]
    ) -> None:
        """Append what a handshake message says."""
        kind, from_client = message.kind, direction is Direction.TO_SERVER
        said = self._said[direction]
        at = ts_ns, number, message.behind
        if kind == CERTIFICATE:
            if said.chain:
                return
            chain = self._chain(message.body)
            said = self._said[direction] = Said(said.hello, chain, self._certificate(direction, chain), ts_ns)
            self._report(direction, said, at, out)
            if from_client:
                self._answered = True
        elif (kind == CLIENT_HELLO and from_client) or kind == SSL2_CLIENT_HELLO:
            self._greet(direction, (client_hello if kind == CLIENT_HELLO else ssl2_client_hello)(message.body), at, out)
        elif kind == SERVER_HELLO and not from_client:
            self._greet(direction, server_hello(message.body), at, out)
            if is_tls13(self._said[direction].version):
                self._sides[direction].finish()
        elif kind == CERTIFICATE_REQUEST:
            self._asked = True
        elif kind == CHANGE_CIPHER and from_client:
            self._answered = True
        elif kind in (SERVER_HELLO_DONE, CHANGE_CIPHER):
            self._sides[direction].finish()
            self._resumed = kind == CHANGE_CIPHER and said.hello is not None and not said.chain
        if not self._logged:
            self._log(direction, at, out)

    def _greet(self, direction: Direction, hello: Hello, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Report a hello; the first of each side is what the event says."""
        if not hello.whole:
            self._shared.counters.add("tls.malformed_hello")
            self._sides[direction].odd += [handshake.INVALID_LENGTH] if hello.size else []
        else:
            self._sides[direction].odd += hello.odd
        if len(hello.names) > 1 or hello.extensions.count(SERVER_NAME) > 1:
            self._sides[direction].odd.append(b"tls.multiple_sni_extensions")
        said = Said(hello)
        if self._said[direction].hello is None:
            self._said[direction] = said
        self._report(direction, said, at, out)

    def _report(self, direction: Direction, said: Said, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Append the part of the transaction that a side has completed."""
        ts_ns, number, behind = at
        buffers = Made(OF_SERVER if direction else OF_CLIENT, said)
        out.append(
            Transaction(
                self._shared.flows, self._slot, "tls", self._tx_id, direction, buffers, self._fields(in_alert=True),
                ts_ns, number, more=buffers.further, behind=behind,
            )
        )  # fmt: skip

    def _log(
        self, direction: Direction, at: tuple[int, int, int], out: list[Transaction], *, ended: bool = False
    ) -> None:
        """Append the end of the transaction, once all that its event says is known.

        That is the server's certificate, and the client's where the server asked for it; none of them where a session
        is resumed, or where they are encrypted.
        """
        client, server = self._sides
        said = self._said[Direction.TO_CLIENT]
        if said.chain:
            answered = not self._asked or self._answered or client.done
            if not ended and not (server.done and answered):
                return
        elif not self._resumed and not is_tls13(said.version):
            return
        self._logged = True
        ts_ns, number, behind = at
        out.append(
            Transaction(
                self._shared.flows, self._slot, "tls", self._tx_id, direction, {}, self._fields(), ts_ns, number, True,
                behind=behind,
            )
        )  # fmt: skip

    def _complain(self, direction: Direction, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Append what a side has said that is odd."""
        ts_ns, number, behind = at
        side = self._sides[direction]
        first, *others = dict.fromkeys(side.odd)
        side.odd = []
        out.append(
            Transaction(
                self._shared.flows, self._slot, "tls", self._tx_id, direction, {ODDITY: first}, self._fields(), ts_ns,
                number, more={ODDITY: tuple(others)}, behind=behind,
            )
        )  # fmt: skip

    def _fields(self, in_alert: bool = False) -> Callable[[], dict[str, Any]]:
        """Return what makes the object of the connection; alerts have JA4 in any case."""
        client, server = self._said
        settings = self._shared.settings
        logged = () if in_alert else settings.logged
        with_ja4 = in_alert or settings.ja4_in_events or "ja4" in logged
        usual = partial(fields, client, server, self._resumed, with_ja4, self._before)
        return (lambda: picked(client, server, usual(), logged)) if logged else usual

    def _chain(self, body: bytes) -> tuple[bytes, ...]:
        """Return the certificates of a message, as far as they are there to their end."""
        chain: list[bytes] = []
        at = _SIZE
        while at + _SIZE <= len(body) and len(chain) < self._shared.settings.certificates:
            end = at + _SIZE + int.from_bytes(body[at : at + _SIZE], "big")
            if end > len(body):
                break
            chain.append(body[at + _SIZE : end])
            at = end
        else:
            if at < len(body):
                self._shared.counters.add("tls.too_many_certificates")
            return tuple(chain)
        self._shared.counters.add("tls.malformed_certificate")
        return tuple(chain)

    def _certificate(self, direction: Direction, chain: tuple[bytes, ...]) -> Certificate | None:
        """Return what the first certificate says; None where there is none, or none that can be read."""
        if not chain:
            return None
        fault = fault_of(chain[0])
        if fault:
            self._sides[direction].odd.append(fault)
        try:
            return read_certificate(chain[0])
        except Malformed:
            self._shared.counters.add("tls.malformed_certificate")
            return None
