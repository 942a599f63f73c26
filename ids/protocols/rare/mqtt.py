"""MQTT 3.1, 3.1.1 and 5 (OASIS): a request and its answers are one transaction.

A transaction is reported each time that a message of it comes, with all messages so far, and always as of the side that
began it, as Suricata has it: so a rule can ask for a topic and for how the broker took it.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field

from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.frame import Spans
from ids.protocols.framing import Frames, Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.rare.mqtt_message import TYPES, Malformed, MqttMessage, read
from ids.protocols.waiting import WAITING_BYTES, Waiting
from ids.types import Direction

MAX_MESSAGES = 16
"""Messages of one transaction that are kept: four are the most that the protocol has."""
COPIES = 2
"""Of what a message says: for rules, and for events."""
_CONNECT = -1
"""The key under which a CONNECT waits; packets have ids from 1 on."""
_ANSWERS = {
    "connack": "missing_connect", "puback": "missing_publish", "pubrec": "missing_publish",
    "pubrel": "missing_publish", "pubcomp": "missing_publish", "suback": "missing_subscribe",
    "unsuback": "missing_unsubscribe",
}  # fmt: skip
"""Messages that answer another, and what is odd where that is missing."""
_LAST = frozenset({"connack", "puback", "pubcomp", "suback", "unsuback"})
_WAITING = frozenset({"publish", "subscribe", "unsubscribe"})


class MqttSettings(DialogueSettings):
    """Bounds of the MQTT parser, and what it logs."""

    passwords: bool = Field(default=True, description="Write passwords to events, as Suricata does.")


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message takes, as `ids.protocols.framing.LengthOf`."""
    size = shift = 0
    for place in range(at + 1, min(at + 5, len(data))):
        size |= (data[place] & 0x7F) << shift
        if not data[place] & 0x80:
            return place + 1 - at + size
        shift += 7
    return -1 if len(data) >= at + 5 else 0


def _spans(message: bytes, direction: Direction) -> Spans:
    """Return the frames of a message; the head is two bytes of it, as Suricata has it."""
    return [("pdu", 0, len(message)), ("header", 0, 2), ("data", 2, len(message))]


class Exchange:
    """The messages of a transaction."""

    __slots__ = ("direction", "key", "messages", "tx_id")

    def __init__(self, direction: Direction, tx_id: int, key: int | None) -> None:
        self.direction = direction
        self.tx_id = tx_id
        self.key = key
        self.messages: list[MqttMessage] = []


class MqttFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "mqtt"
    frames = staticmethod(_spans)

    __slots__ = ("_connected", "_version", "_waiting")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._version = 0
        self._connected = False
        self._waiting: Waiting[int, Exchange] = Waiting(shared, shared.settings.open_requests)

    def cut(self, direction: Direction) -> Frames:
        """Cut messages."""
        return Frames(self.shared.pool, _length_of, self.shared.settings.message_bytes)

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        try:
            said = read(message.data, self._version)
        except Malformed:
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), odd=("malformed_traffic",))
            return
        if not message.whole:
            said.truncated = _length_of(message.data, 0) - len(message.data)
        odd = self._odd(said)
        if said.kind == "connect":
            self._version = said.version
        exchange, ends = self._exchange(direction, said, odd, size := len(message.data))
        kept = not exchange.messages or ends or self._affords(exchange, size)
        room = len(exchange.messages) < MAX_MESSAGES
        if room:
            exchange.messages.append(said)
        self._report(exchange, ends, odd)
        if room and not kept:
            exchange.messages.pop()

    def end(self) -> None:
        """Say what waits in vain."""
        for exchange in self._waiting.rest():
            self._report(exchange, True, [])

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        super().release()
        self._waiting.release()

    def _affords(self, exchange: Exchange, size: int) -> bool:
        """Return whether a transaction that waits may keep a message of so many bytes more."""
        return exchange.key is not None and self._waiting.grow(exchange.key, size * COPIES + WAITING_BYTES)

    def _odd(self, said: MqttMessage) -> list[str]:
        """Return what is odd about a message by itself."""
        odd = []
        if said.kind in ("connect", "connack"):
            if said.kind == "connect" and self._connected:
                odd.append("double_connect")
        elif said.kind == "":
            odd.append("unassigned_msg_type")
        elif not self._connected:
            odd.append("unintroduced_message")
        if said.kind in _WAITING:
            if said.qos > 2:
                odd.append("invalid_qos_level")
            elif said.kind == "publish" and said.qos and said.message_id is None:
                odd.append("missing_msg_id")
        return odd

    def _exchange(self, direction: Direction, said: MqttMessage, odd: list[str], size: int) -> tuple[Exchange, bool]:
        """Return the transaction of a message of so many bytes, and whether that ends with it."""
        key = _CONNECT if said.kind in ("connect", "connack") else said.message_id
        if said.kind in _ANSWERS:
            known = self._waiting.get(key) if key is not None else None
            ends = said.kind in _LAST or known is None
            if said.kind == "connack" and known is not None:
                self._connected = True
            if known is None:
                odd.append(_ANSWERS[said.kind])
                return Exchange(direction, self.new(), None), True
            if ends and key is not None:
                self._waiting.take(key)
            return known, ends
        exchange = Exchange(direction, self.new(), key)
        waits = said.kind == "connect" or (said.kind in _WAITING and 1 <= said.qos <= 2)
        if not waits or key is None or said.truncated:
            return exchange, True
        for gone in self._waiting.put(key, exchange, size * COPIES):
            if gone is exchange:
                return exchange, True
            if gone.key != key:
                odd.append("too_many_transactions")
            self._report(gone, True, [])
        return exchange, False

    def _report(self, exchange: Exchange, ends: bool, odd: list[str]) -> None:
        settings = self.shared.settings
        passwords = isinstance(settings, MqttSettings) and settings.passwords
        self.say(
            exchange.direction,
            _buffers(exchange.messages, self._version),
            partial(_fields, tuple(exchange.messages), passwords),
            exchange.tx_id,
            complete=ends,
            odd=odd,
        )


def _fields(messages: tuple[MqttMessage, ...], passwords: bool) -> EveFields:
    """Return what EVE logs of a transaction."""
    fields: EveFields = {}
    for said in messages:
        if said.kind:
            fields[said.kind] = said.fields(passwords)
    return fields


def _buffers(messages: list[MqttMessage], version: int) -> dict[str, bytes | tuple[bytes, ...] | None]:
    """Return what rules test of a transaction."""
    of: dict[str, list[bytes]] = {}
    for said in messages:
        of.setdefault("mqtt.type", []).append(said.kind.upper().encode() or b"UNASSIGNED")
        of.setdefault("mqtt.flags", []).append(_words({"dup": said.dup, "retain": said.retain}))
        of.setdefault("mqtt.qos", []).append(b"%d" % said.qos)
        for name, values in said.buffers().items():
            of.setdefault(name, []).extend(values)
    return {"mqtt.protocol_version": b"%d" % version, **{name: tuple(values) for name, values in of.items()}}


def _words(flags: dict[str, bool]) -> bytes:
    """Return the names of flags that are set, each between blanks."""
    return " ".join(["", *(name for name, value in flags.items() if value), ""]).encode() or b" "


PROTOCOL = Protocol(
    name="mqtt",
    from_client=rb"(?s:\x10(?:[\x80-\xff]{0,3}[\x00-\x7f])\x00(?:\x04MQTT[\x03-\x05]|\x06MQIsdp\x03))",
    from_server=rb"\x20\x02[\x00\x01][\x00-\x05]",
    settings=MqttSettings,
    streams=speaking(MqttFlow),
    oddities=(
        "missing_connect",
        "missing_publish",
        "missing_subscribe",
        "missing_unsubscribe",
        "double_connect",
        "unintroduced_message",
        "invalid_qos_level",
        "missing_msg_id",
        "unassigned_msg_type",
        "too_many_transactions",
        "malformed_traffic",
    ),
    event="mqtt",
    buffers=(
        Buffer("mqtt.type", "mqtt", None, f"types of its messages: `{'`, `'.join(TYPES[1:4]).upper()}`", several=True),
        Buffer("mqtt.flags", "mqtt", None, "flags of its messages, each between blanks: ` dup retain `", several=True),
        Buffer("mqtt.qos", "mqtt", None, "quality of service of its messages, decimal", several=True),
        Buffer("mqtt.protocol_version", "mqtt", None, "version, decimal: 3, 4 or 5"),
        Buffer("mqtt.reason_code", "mqtt", None, "return and reason codes, decimal", several=True),
        Buffer("mqtt.connect.clientid", "mqtt", None, "name of the client"),
        Buffer("mqtt.connect.username", "mqtt", None, "name of the user"),
        Buffer("mqtt.connect.password", "mqtt", None, "password"),
        Buffer("mqtt.connect.willtopic", "mqtt", None, "topic of the last will"),
        Buffer("mqtt.connect.willmessage", "mqtt", None, "message of the last will"),
        Buffer("mqtt.connect.protocol_string", "mqtt", None, "name of the protocol"),
        Buffer("mqtt.connect.flags", "mqtt", None, "flags of a CONNECT, each between blanks: ` username will `"),
        Buffer("mqtt.connack.session_present", "mqtt", None, "`true` or `false`"),
        Buffer("mqtt.publish.topic", "mqtt", None, "topic that is published to"),
        Buffer("mqtt.publish.message", "mqtt", None, "what is published"),
        Buffer("mqtt.subscribe.topic", "mqtt", None, "topics subscribed to", several=True),
        Buffer("mqtt.frame.pdu", "mqtt", None, "a message as it was sent"),
        Buffer("mqtt.frame.header", "mqtt", None, "its first two bytes"),
        Buffer("mqtt.frame.data", "mqtt", None, "what is behind them"),
        Buffer("mqtt.unsubscribe.topic", "mqtt", None, "topics unsubscribed from", several=True),
    ),
)
