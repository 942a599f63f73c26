"""PostgreSQL's protocol, version 3 (its documentation, chapter "Frontend/Backend Protocol"): what clients ask, what
servers answer. A request with its answer is a transaction.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pydantic import Field

from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Handover, Protocol
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction

MAX_PARAMETERS = 64
"""Parameters of one message that are read, and fields of an error: there are about 20 of each."""
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_OK, _CLEARTEXT, _MD5, _SSPI, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 9, 10, 11, 12
_ERROR_FIELDS = {
    "S": "severity_localizable", "V": "severity_non_localizable", "C": "code", "M": "message", "D": "detail",
    "H": "hint", "P": "position", "p": "internal_position", "q": "internal_query", "W": "where", "s": "schema_name",
    "t": "table_name", "c": "column_name", "d": "data_type_name", "n": "constraint_name", "F": "file", "L": "line",
    "R": "routine",
}  # fmt: skip
_PARAMETERS = {
    "DateStyle": "date_style", "IntervalStyle": "interval_style", "TimeZone": "time_zone",
}  # fmt: skip
"""Parameters that EVE spells otherwise."""
_MECHANISMS = {"SCRAM-SHA-256": "scram_SHA256", "SCRAM-SHA-256-PLUS": "scram_SHA256_plus"}


class PgsqlSettings(DialogueSettings):
    """Bounds of the PostgreSQL parser, and what it logs."""

    passwords: bool = Field(default=True, description="Write passwords to events, as Suricata does.")


class Exchange:
    """A request and what came back so far."""

    __slots__ = ("request", "response", "said", "tx_id")

    def __init__(self, tx_id: int) -> None:
        self.tx_id = tx_id
        self.request: dict[str, Any] = {}
        self.response: dict[str, Any] = {}
        self.said: dict[str, bytes | tuple[bytes, ...] | None] = {}


class PgsqlFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "pgsql"

    __slots__ = ("_asked", "_begun", "_encrypted", "_exchange", "_sasl")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._begun = False
        """The client has sent its first message with a version: from then on, messages say what they are."""
        self._asked = False
        """Whether to encrypt was asked: the answer is one byte."""
        self._encrypted = False
        self._sasl = 0
        """Messages of the client that a SASL mechanism asked for."""
        self._exchange: Exchange | None = None

    def cut(self, direction: Direction) -> Frames:
        """Cut messages."""
        limit = self.shared.settings.message_bytes
        return Frames(self.shared.pool, self._of_client if direction is _CLIENT else self._of_server, limit)

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes; hand the flow over where it is encrypted from there on."""
        if self._encrypted:
            data = stretch.data
            return Handover(self.next_id, (data, b"") if stretch.direction is _CLIENT else (b"", data))
        super().feed(stretch, out)
        return None

    def _of_client(self, data: bytes | bytearray, at: int) -> int:
        if not self._begun:
            size = int.from_bytes(data[at : at + 4], "big") if len(data) >= at + 4 else 0
            return size if not size or 8 <= size <= 1 << 16 else -1
        return _typed(data, at)

    def _of_server(self, data: bytes | bytearray, at: int) -> int:
        return 1 if self._asked else _typed(data, at)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        if direction is _CLIENT:
            self._take_request(message.data)
        else:
            self._take_answer(message.data)

    def end(self) -> None:
        """Say what was not answered."""
        self._finish(_CLIENT)

    # Clients.

    def _take_request(self, data: bytes) -> None:
        request: dict[str, Any]
        said: dict[str, bytes | tuple[bytes, ...] | None] = {}
        if not self._begun:
            request = self._first(data, said)
        else:
            kind, body = data[:1], data[5:]
            request = {}
            if kind == b"Q":
                query = body.rstrip(b"\0")
                request, said["pgsql.query"] = {"simple_query": text(query)}, query
            elif kind == b"p":
                request = self._password(body, said)
            elif kind == b"P":
                said["pgsql.query"] = body.split(b"\0")[1] if body.count(b"\0") > 1 else None
            elif kind == b"X":
                request = {"message": "termination_message"}
            said["pgsql.request"] = kind
        if not request and self._exchange is not None:  # a part of what was begun: Parse, Bind, Execute
            if said:
                self.say(_CLIENT, said, self._fields(self._exchange), self._exchange.tx_id, complete=False)
            return
        self._finish(_CLIENT)
        exchange = self._exchange = Exchange(self.new())
        exchange.request, exchange.said = request, said
        self.say(_CLIENT, said, self._fields(exchange), exchange.tx_id, complete=False)
        if request.get("message") in ("cancel_request", "termination_message"):
            self._finish(_CLIENT)

    def _first(self, data: bytes, said: dict[str, bytes | tuple[bytes, ...] | None]) -> dict[str, Any]:
        """Return what a message without a type asks."""
        code = int.from_bytes(data[4:8], "big")
        if code in (_SSL, _GSS):
            self._asked = True
            return {"message": "SSL Request" if code == _SSL else "GSSENC Request"}
        if code == _CANCEL and len(data) >= 16:
            numbers = int.from_bytes(data[8:12], "big"), int.from_bytes(data[12:16], "big")
            return {"message": "cancel_request", "process_id": numbers[0], "secret_key": numbers[1]}
        self._begun = True
        words = data[8:].split(b"\0", 2 * MAX_PARAMETERS + 1)
        parameters = [(words[at], words[at + 1]) for at in range(0, len(words) - 1, 2) if words[at]]
        found = dict(reversed(parameters))
        said["pgsql.user"], said["pgsql.database"] = found.get(b"user"), found.get(b"database")
        others = [{_parameter(name): text(value)} for name, value in parameters if name != b"user"]
        startup: dict[str, Any] = {"user": text(found.get(b"user", b""))}
        if others:
            startup["optional_parameters"] = others
        return {"protocol_version": f"{code >> 16}.{code & 0xFFFF}", "startup_parameters": startup}

    def _password(self, body: bytes, said: dict[str, bytes | tuple[bytes, ...] | None]) -> dict[str, Any]:
        """Return what a client answers that was asked to prove who it is."""
        self._sasl -= 1
        if self._sasl == 1:
            mechanism, _, rest = body.partition(b"\0")
            name = text(mechanism)
            return {"sasl_authentication_mechanism": _MECHANISMS.get(name, name), "sasl_param": text(rest[4:])}
        if self._sasl == 0:
            return {"sasl_response": text(body)}
        self._sasl = 0
        password = body.rstrip(b"\0")
        said["pgsql.password"] = password
        return {"password": text(password)}

    # Servers.

    def _take_answer(self, data: bytes) -> None:
        exchange = self._exchange
        if self._asked:
            self._asked = False
            self._encrypted = data in (b"S", b"G")
            if exchange is not None:
                exchange.response["ssl_accepted"] = self._encrypted
            self._finish(_SERVER)
            return
        if exchange is None:
            exchange = self._exchange = Exchange(self.new())
        kind, body, response = data[:1], data[5:], exchange.response
        said: dict[str, bytes | tuple[bytes, ...] | None] = {}
        if kind == b"R" and len(body) >= 4:
            if self._authentication(int.from_bytes(body[:4], "big"), body[4:], response):
                self._finish(_SERVER)
        elif kind == b"S":
            name, _, value = body.partition(b"\0")
            status = response.setdefault("parameter_status", [])
            if len(status) < MAX_PARAMETERS:
                status.append({_parameter(name): text(value.rstrip(b"\0"))})
        elif kind == b"K" and len(body) >= 8:
            response["process_id"] = int.from_bytes(body[:4], "big")
            response["secret_key"] = int.from_bytes(body[4:8], "big")
        elif kind in (b"E", b"N"):
            for field in body.split(b"\0", MAX_PARAMETERS)[:MAX_PARAMETERS]:
                kind_of = _ERROR_FIELDS.get(text(field[:1]), "")
                if kind_of:
                    response[kind_of] = text(field[1:])
                if kind_of in ("code", "message"):
                    said[f"pgsql.error_{kind_of}"] = field[1:]
        elif kind == b"T" and len(body) >= 2:
            response["field_count"] = int.from_bytes(body[:2], "big")
        elif kind == b"D":
            response["data_rows"] = response.get("data_rows", 0) + 1
            response["data_size"] = response.get("data_size", 0) + max(
                len(body) - 2 - 4 * int.from_bytes(body[:2], "big"), 0
            )
        elif kind == b"C":
            response["command_completed"] = text(body.rstrip(b"\0"))
            said["pgsql.command_completed"] = body.rstrip(b"\0")
        if said:
            self.say(_SERVER, said, self._fields(exchange), exchange.tx_id, complete=False)
        if kind == b"Z":
            self._finish(_SERVER)

    def _authentication(self, kind: int, rest: bytes, response: dict[str, Any]) -> bool:
        """Read what a server asks a client to prove; return whether the client is next."""
        if kind == _OK:
            response["message"] = "authentication_ok"
            return False
        if kind == _SASL_FINAL:
            response["authentication_sasl_final"] = text(rest)
            return False
        if kind in (_MD5, _SSPI):
            response["authentication_md5_password" if kind == _MD5 else "authentication_sspi"] = text(rest)
        elif kind in (_CLEARTEXT, _SASL, _SASL_CONTINUE):
            names = {_CLEARTEXT: "cleartext_password", _SASL: "sasl", _SASL_CONTINUE: "sasl_continue"}
            response["message"] = f"authentication_{names[kind]}"
            self._sasl = {_CLEARTEXT: 0, _SASL: 2, _SASL_CONTINUE: 1}[kind]
        return True

    def _finish(self, direction: Direction) -> None:
        """End the transaction."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self.say(direction, {}, self._fields(exchange), exchange.tx_id)

    def _fields(self, exchange: Exchange) -> partial[EveFields]:
        settings = self.shared.settings
        passwords = isinstance(settings, PgsqlSettings) and settings.passwords
        return partial(_fields, exchange, passwords)


def _fields(exchange: Exchange, passwords: bool) -> EveFields:
    """Return what EVE logs of an exchange; its own numbers of transactions begin with 1."""
    fields: EveFields = {"tx_id": exchange.tx_id + 1}
    if exchange.request:
        fields["request"] = {
            name: value for name, value in exchange.request.items() if passwords or name != "password"
        }  # fmt: skip
    if exchange.response:
        fields["response"] = dict(exchange.response)
    return fields


def _typed(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message with a type has, as `ids.protocols.framing.LengthOf`."""
    if len(data) < at + 5:
        return 0
    size = int.from_bytes(data[at + 1 : at + 5], "big")
    return 1 + size if size >= 4 and 0x31 <= data[at] <= 0x7A else -1


def _parameter(name: bytes) -> str:
    known = text(name)
    return _PARAMETERS.get(known, known)


_START = rb"(?s:\x00\x00..(?:\x00\x03\x00[\x00-\x02](?:user|database|options|replication|application_name)\x00"
_ASK = rb"|(?<=\x00\x08)\x04\xd2\x16[\x2f\x30]|(?<=\x00\x10)\x04\xd2\x16\x2e))"

PROTOCOL = Protocol(
    name="pgsql",
    from_client=_START + _ASK,
    settings=PgsqlSettings,
    streams=speaking(PgsqlFlow),
    event="pgsql",
    buffers=(
        Buffer("pgsql.request", "pgsql", _CLIENT, "type of a client's message, one letter"),
        Buffer("pgsql.user", "pgsql", _CLIENT, "name of the user"),
        Buffer("pgsql.database", "pgsql", _CLIENT, "name of the database"),
        Buffer("pgsql.password", "pgsql", _CLIENT, "password, as sent"),
        Buffer("pgsql.query", "pgsql", _CLIENT, "query"),
        Buffer("pgsql.command_completed", "pgsql", _SERVER, "what a query came to: `SELECT 8`"),
        Buffer("pgsql.error_code", "pgsql", _SERVER, "code of an error"),
        Buffer("pgsql.error_message", "pgsql", _SERVER, "text of an error"),
    ),
)
