"""One message of MQTT (version 3.1.1 section 2 and 3, version 5 section 2 and 3)."""

from __future__ import annotations

from typing import Any

from ids.protocols.spelling import text

TYPES = (
    "", "connect", "connack", "publish", "puback", "pubrec", "pubrel", "pubcomp", "subscribe", "suback", "unsubscribe",
    "unsuback", "pingreq", "pingresp", "disconnect", "auth",
)  # fmt: skip
"""By number; 0 is none."""
MAX_TOPICS = 256
"""Topics of one message that are read, and codes."""
MAX_PROPERTIES = 64
"""Properties of one message that are read: there are 27, of which one may occur often."""
_V5 = 5
_BYTE, _TWO, _FOUR, _VARIABLE, _BINARY, _TEXT, _PAIR = range(7)
_PROPERTIES = {
    1: ("payload_format_indicator", _BYTE), 2: ("message_expiry_interval", _FOUR), 3: ("content_type", _TEXT),
    8: ("response_topic", _TEXT), 9: ("correlation_data", _BINARY), 11: ("subscription_identifier", _VARIABLE),
    17: ("session_expiry_interval", _FOUR), 18: ("assigned_client_identifier", _TEXT), 19: ("server_keep_alive", _TWO),
    21: ("authentication_method", _TEXT), 22: ("authentication_data", _BINARY),
    23: ("request_problem_information", _BYTE), 24: ("will_delay_interval", _FOUR),
    25: ("request_response_information", _BYTE), 26: ("response_information", _TEXT), 28: ("server_reference", _TEXT),
    31: ("reason_string", _TEXT), 33: ("receive_maximum", _TWO), 34: ("topic_alias_maximum", _TWO),
    35: ("topic_alias", _TWO), 36: ("maximum_qos", _BYTE), 37: ("retain_available", _BYTE), 38: ("user", _PAIR),
    39: ("maximum_packet_size", _FOUR), 40: ("wildcard_subscription_available", _BYTE),
    41: ("subscription_identifiers_available", _BYTE), 42: ("shared_subscription_available", _BYTE),
}  # fmt: skip


class Malformed(Exception):
    """A message says of itself what cannot be."""


class Reader:
    """Reads what is in a message."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end

    @property
    def left(self) -> int:
        """Bytes that are still to be read."""
        return self.end - self.at

    def take(self, size: int) -> bytes:
        """Return the next bytes; raises `Malformed`."""
        if size > self.left:
            raise Malformed
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Return a number of so many bytes; raises `Malformed`."""
        return int.from_bytes(self.take(size), "big")

    def text(self) -> bytes:
        """Return what stands behind its length; raises `Malformed`."""
        return self.take(self.number(2))

    def variable(self) -> int:
        """Return a number of variable length; raises `Malformed`."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise Malformed

    def properties(self) -> dict[str, Any]:
        """Return the properties of a message of version 5; raises `Malformed`."""
        found: dict[str, Any] = {}
        size = self.variable()
        inner = Reader(self.data, self.at, self.at + size)
        self.take(size)
        for _ in range(MAX_PROPERTIES):
            if not inner.left:
                break
            name, kind = _PROPERTIES.get(inner.variable(), ("", -1))
            if kind in (_BYTE, _TWO, _FOUR):
                found[name] = inner.number((1, 2, 4)[kind])
            elif kind == _VARIABLE:
                found[name] = inner.variable()
            elif kind in (_BINARY, _TEXT):
                found[name] = text(inner.text())
            elif kind == _PAIR:
                key = text(inner.text())
                found[key] = text(inner.text())
            else:
                raise Malformed
        return found


class MqttMessage:
    """What one message says."""

    __slots__ = ("_said", "dup", "kind", "message_id", "qos", "retain", "topics", "truncated", "values", "version")

    def __init__(self, head: int) -> None:
        self.kind = TYPES[head >> 4]
        self.dup, self.qos, self.retain = bool(head & 8), head >> 1 & 3, bool(head & 1)
        self.message_id: int | None = None
        self.version = 0
        self.topics: list[tuple[bytes, int]] = []
        """Of a subscription, with the quality of service that is asked for."""
        self.values: dict[str, bytes] = {}
        """By name of a buffer: what has one instance."""
        self.truncated = 0
        """Bytes of it that were not read."""
        self._said: dict[str, Any] = {}

    def fields(self, passwords: bool) -> dict[str, Any]:
        """Return what EVE logs of it."""
        fields: dict[str, Any] = {"qos": self.qos, "retain": self.retain, "dup": self.dup}
        if self.truncated:
            return {**fields, "truncated": True, "skipped_length": self.truncated}
        said = self._said
        return {**fields, **{key: of for key, of in said.items() if passwords or key != "password"}}

    def buffers(self) -> dict[str, list[bytes]]:
        """Return what rules test of it alone."""
        found = {name: [value] for name, value in self.values.items()}
        if self.topics:
            found[f"mqtt.{self.kind}.topic"] = [topic for topic, _ in self.topics]
        said = self._said
        codes = said.get("reason_codes", said.get("qos_granted", [said.get("reason_code", said.get("return_code"))]))
        found["mqtt.reason_code"] = [b"%d" % code for code in codes if code is not None]
        if self.kind == "connack":
            found["mqtt.connack.session_present"] = [b"true" if said.get("session_present") else b"false"]
        if self.kind == "connect":
            set_flags = [name for name, value in said["flags"].items() if value]
            found["mqtt.connect.flags"] = [" ".join(["", *set_flags, ""]).encode() or b" "]
        return found


def read(data: bytes, version: int) -> MqttMessage:
    """Return what a message says, in a connection of this version; raises `Malformed`."""
    said = MqttMessage(data[0])
    at = 2
    while at < 5 and at <= len(data) and data[at - 1] & 0x80:
        at += 1
    reader = Reader(data, at, len(data))
    handler = _READERS.get(said.kind)
    if handler is not None:
        said._said = handler(said, reader, version)
    return said


def _connect(said: MqttMessage, reader: Reader, _version: int) -> dict[str, Any]:
    name = reader.text()
    said.version = version = reader.number(1)
    flags = reader.number(1)
    reader.take(2)  # how often it shows that it lives
    properties = reader.properties() if version == _V5 else {}
    client = reader.text()
    has = {
        "username": bool(flags & 0x80), "password": bool(flags & 0x40), "will_retain": bool(flags & 0x20),
        "will": bool(flags & 0x04), "clean_session": bool(flags & 0x02),
    }  # fmt: skip
    found: dict[str, Any] = {
        "protocol_string": text(name), "protocol_version": version, "client_id": text(client), "flags": has,
    }  # fmt: skip
    said.values["mqtt.connect.protocol_string"] = name
    if client:
        said.values["mqtt.connect.clientid"] = client
    will: dict[str, Any] = {}
    if has["will"]:
        of_will = reader.properties() if version == _V5 else {}
        topic, message = reader.text(), reader.text()
        said.values |= {"mqtt.connect.willtopic": topic, "mqtt.connect.willmessage": message}
        will = {"topic": text(topic), "message": text(message), **({"properties": of_will} if of_will else {})}
    for key in ("username", "password"):
        if has[key]:
            value = reader.text()
            said.values[f"mqtt.connect.{key}"] = value
            found[key] = text(value)
    if has["will"]:
        found["will"] = will
    return {**found, **({"properties": properties} if properties else {})}


def _connack(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    found: dict[str, Any] = {"session_present": bool(reader.number(1) & 1), "return_code": reader.number(1)}
    return _with_properties(found, reader, version)


def _publish(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    topic = reader.text()
    found: dict[str, Any] = {"topic": text(topic)}
    if said.qos:
        said.message_id = found["message_id"] = reader.number(2)
    properties = reader.properties() if version == _V5 else {}
    message = reader.take(reader.left)
    said.values |= {"mqtt.publish.topic": topic, "mqtt.publish.message": message}
    return {**found, "message": text(message), **({"properties": properties} if properties else {})}


def _acknowledged(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    said.message_id = reader.number(2)
    found: dict[str, Any] = {"message_id": said.message_id}
    if version == _V5 and reader.left:
        found["reason_code"] = reader.number(1)
        return _with_properties(found, reader, version)
    return found


def _subscribe(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    said.message_id = reader.number(2)
    properties = reader.properties() if version == _V5 else {}
    while reader.left and len(said.topics) < MAX_TOPICS:
        topic = reader.text()
        said.topics.append((topic, reader.number(1) & 3))
    topics = [{"topic": text(topic), "qos": qos} for topic, qos in said.topics]
    found: dict[str, Any] = {"message_id": said.message_id, "topics": topics}
    return {**found, **({"properties": properties} if properties else {})}


def _unsubscribe(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    said.message_id = reader.number(2)
    if version == _V5:
        reader.properties()
    while reader.left and len(said.topics) < MAX_TOPICS:
        said.topics.append((reader.text(), 0))
    return {"message_id": said.message_id, "topics": [text(topic) for topic, _ in said.topics]}


def _suback(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    said.message_id = reader.number(2)
    if version == _V5:
        reader.properties()
    return {"message_id": said.message_id, "qos_granted": list(reader.take(min(reader.left, MAX_TOPICS)))}


def _unsuback(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    said.message_id = reader.number(2)
    if version == _V5:
        reader.properties()
    codes = list(reader.take(min(reader.left, MAX_TOPICS)))
    return {"message_id": said.message_id, **({"reason_codes": codes} if codes else {})}


def _ended(said: MqttMessage, reader: Reader, version: int) -> dict[str, Any]:
    """Read DISCONNECT and AUTH, whose end may be left out."""
    if version != _V5:
        return {}
    found: dict[str, Any] = {"reason_code": reader.number(1) if reader.left else 0}
    return _with_properties(found, reader, version) if reader.left else found


def _with_properties(found: dict[str, Any], reader: Reader, version: int) -> dict[str, Any]:
    properties = reader.properties() if version == _V5 and reader.left else {}
    return {**found, **({"properties": properties} if properties else {})}


_READERS = {
    "connect": _connect, "connack": _connack, "publish": _publish, "puback": _acknowledged, "pubrec": _acknowledged,
    "pubrel": _acknowledged, "pubcomp": _acknowledged, "subscribe": _subscribe, "suback": _suback,
    "unsubscribe": _unsubscribe, "unsuback": _unsuback, "disconnect": _ended, "auth": _ended,
}  # fmt: skip
