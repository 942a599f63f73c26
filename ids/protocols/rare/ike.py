"""IKE 1 and 2 over UDP (RFC 2408, RFC 2409, RFC 7296), also behind the marker of port 4500: what is in clear.

Each message is a transaction. What both sides have agreed on so far is logged with each, as Suricata does.
"""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any, Literal

from pydantic import Field

from ids.protocols.dialogue import Dialogue, DialogueSettings, Shared, speaking
from ids.protocols.framing import Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.rare.ike_payloads import (
    NAMES_1,
    NAMES_2,
    NOTIFICATIONS,
    Algorithms,
    Attribute,
    Payload,
    payloads,
    proposals_1,
    proposals_2,
    weaknesses,
)  # fmt: skip
from ids.types import Direction

_CLIENT, _SERVER = Direction

_HEAD = Struct(">8s8sBBBBII")
_MARKER = bytes(4)
"""What stands before a message at port 4500 (RFC 3948)."""
_ENCRYPTED_1 = 0x01
_INITIATOR_2 = 0x08
_EXCHANGES = {1: frozenset({1, 2, 3, 4, 5, 6, 32, 33}), 2: frozenset(range(34, 45))}
_SA_1, _KEY_1, _NONCE_1, _VENDOR_1 = 1, 4, 10, 13
_SA_2, _NONCE_2, _KEY_2, _NOTIFY_2, _VENDOR_2 = 33, 40, 34, 41, 43
_FIRST_STATUS = 16384
"""Types of notifications from here on are no errors (RFC 7296 section 3.10.1)."""


_ATTRIBUTE = ("alg_", "sa_")
_IN_RECORD_2 = frozenset(
    {"alg_auth", "alg_dh", "alg_enc", "alg_hash", "sa_key_length", "sa_life_duration", "sa_life_type"}
)


class IkeSettings(DialogueSettings):
    """Bounds of the IKE parser, and what it logs."""

    record: Literal[1, 2] = Field(
        default=2,
        description="Form of `ike` events: 2 as the schema of Suricata's newest version has it, with attributes in"
        " lists; 1 as Suricata 7 and 8 write them, with a key for each, which a `suricata.yaml` sets.",
    )


def _without_marker(data: bytes) -> bytes:
    return data[len(_MARKER) :] if data.startswith(_MARKER) else data


def is_ike(data: bytes) -> bool:
    """Return whether a datagram is a message: an exchange of its version, and the length that it says."""
    data = _without_marker(data)
    if len(data) < _HEAD.size:
        return False
    initiator, _, following, version, exchange, flags, _, length = _HEAD.unpack_from(data)
    known = NAMES_1 if version >> 4 == 1 else NAMES_2
    return (
        any(initiator)
        and version in (0x10, 0x20)
        and exchange in _EXCHANGES[version >> 4]
        and following in known
        and not flags & (0xF8 if version == 0x10 else 0xC7)
        and length == len(data)
    )


class IkeFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "ike"

    __slots__ = ("_agreed", "_chosen", "_doi", "_sides")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._doi: int | None = None
        self._chosen: list[Attribute] = []
        """What the server took in version 1,"""
        self._agreed = Algorithms()
        """and in version 2."""
        self._sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        """By direction: key exchange and nonce of version 1."""

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        data = _without_marker(message.data)
        if len(data) < _HEAD.size:
            if len(data) > 1:  # one byte keeps the hole in a NAT open
                self.count("malformed")
                self.say(direction, {}, {}, self.new(), complete=False, odd=("malformed_data",))
            return
        initiator, responder, following, version, exchange, flags, number, length = _HEAD.unpack_from(data)
        fields: dict[str, Any] = {
            "version_major": version >> 4, "version_minor": version & 15, "init_spi": initiator.hex(),
            "resp_spi": responder.hex(), "message_id": number, "exchange_type": exchange,
        }  # fmt: skip
        said: dict[str, bytes | tuple[bytes, ...] | None] = {
            "ike.init_spi": initiator.hex().encode(), "ike.resp_spi": responder.hex().encode(),
            "ike.exchtype": b"%d" % exchange,
        }  # fmt: skip
        body = data[_HEAD.size : length]
        odd: list[str] = []
        if version >> 4 == 1:
            encrypted = bool(flags & _ENCRYPTED_1)
            found = [Payload(following, b"")] if encrypted else payloads(body, following)
            self._read_1(direction, found, encrypted, fields, said)
        else:
            self._read_2(direction, payloads(body, following), flags, fields, said, odd)
        settings = self.shared.settings
        flat = isinstance(settings, IkeSettings) and settings.record == 1
        self.say(direction, said, fields if flat else partial(_record_2, fields), self.new(), odd=odd)

    def _read_1(
        self,
        direction: Direction,
        found: list[Payload],
        encrypted: bool,
        fields: dict[str, Any],
        said: dict[str, bytes | tuple[bytes, ...] | None],
    ) -> None:
        """Read the payloads of a message of version 1."""
        of_side, kinds, vendors = self._sides[direction], [one.kind for one in found], []
        transforms: list[list[Attribute]] = []
        for kind, body, _ in found:
            if kind == _SA_1 and len(body) >= 4:
                self._doi = int.from_bytes(body[:4], "big")
                transforms = proposals_1(body, kinds)
            elif kind == _KEY_1 and body:
                of_side["key_exchange_payload"], of_side["key_exchange_payload_length"] = body.hex(), len(body)
                said |= {"ike.key_exchange_payload": body, "ike.key_exchange_payload_length": b"%d" % len(body)}
            elif kind == _NONCE_1 and body:
                of_side["nonce_payload"], of_side["nonce_payload_length"] = body.hex(), len(body)
                said |= {"ike.nonce_payload": body, "ike.nonce_payload_length": b"%d" % len(body)}
            elif kind == _VENDOR_1:
                vendors.append(body.hex())
        if direction is _SERVER and transforms:
            self._chosen = transforms[0]
            said["ike.chosen_sa_attribute"] = tuple([one.rule for one in transforms[0]])
        said["ike.vendor"] = tuple([vendor.encode() for vendor in vendors])
        fields |= _spelt(self._chosen)
        if direction is _SERVER and len(transforms) > 1:
            fields["server_proposals"] = [_spelt(one) for one in transforms]
        fields["payload"] = [NAMES_1[kind] for kind in dict.fromkeys(kinds) if NAMES_1.get(kind)]
        inner: dict[str, Any] = {} if self._doi is None else {"doi": self._doi}
        inner["encrypted_payloads"] = encrypted
        if not encrypted:
            inner["client"], inner["server"] = dict(self._sides[_CLIENT]), dict(self._sides[_SERVER])
            if direction is _CLIENT and transforms:
                inner["client"]["proposals"] = [_spelt(one) for one in transforms]
            if vendors:
                inner["vendor_ids"] = vendors
        fields["ikev1"] = inner

    def _read_2(
        self,
        direction: Direction,
        found: list[Payload],
        flags: int,
        fields: dict[str, Any],
        said: dict[str, bytes | tuple[bytes, ...] | None],
        odd: list[str],
    ) -> None:
        """Read the payloads of a message of version 2."""
        notified: list[int] = []
        for kind, body, _ in found:
            if kind == _SA_2:
                for proposal in proposals_2(body):
                    odd += weaknesses(proposal)
                    if direction is _SERVER:
                        self._agreed.take(proposal)
                        said["ike.chosen_sa_attribute"] = self._agreed.rules()
            elif kind == _KEY_2 and len(body) > 4:
                said |= {"ike.key_exchange_payload": body[4:], "ike.key_exchange_payload_length": b"%d" % len(body[4:])}
            elif kind == _NONCE_2 and body:
                said |= {"ike.nonce_payload": body, "ike.nonce_payload_length": b"%d" % len(body)}
            elif kind == _NOTIFY_2 and len(body) >= 4:
                notified.append(int.from_bytes(body[2:4], "big"))
        said["ike.vendor"] = tuple([body.hex().encode() for kind, body, _ in found if kind == _VENDOR_2])
        fields["role"] = "initiator" if flags & _INITIATOR_2 else "responder"
        if not flags & _INITIATOR_2:
            fields |= self._agreed.spelt()
        kinds = [found[0].kind, *(one.following for one in found)] if found else []
        fields["payload"] = [NAMES_2.get(kind, f"Unknown({kind})") for kind in kinds]
        inner: dict[str, Any] = {"errors": sum(kind < _FIRST_STATUS for kind in notified)}
        if notified:
            inner["notify"] = [NOTIFICATIONS.get(kind, f"Unknown({kind})") for kind in notified]
        fields["ikev2"] = inner


def _spelt(attributes: list[Attribute]) -> dict[str, Any]:
    """Return the attributes of a transform, as EVE logs them."""
    spelt: dict[str, Any] = {}
    for one in attributes:
        spelt[one.name], spelt[f"{one.name}_raw"] = one.value, one.raw
    return spelt


def _record_2(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the second form of an object: attributes are lists, and nothing is there that is empty."""
    made = {"_v": 2} | {key: of for key, of in fields.items() if not key.startswith(_ATTRIBUTE) and of}
    made |= {key: fields[key] for key in ("version_minor", "message_id")}
    made.pop("server_proposals", None)
    attributes = _listed(fields)
    if attributes:
        made["attributes"] = attributes
    if "ikev1" in fields:
        inner = made["ikev1"] = dict(fields["ikev1"])
        if not inner.get("server"):
            inner.pop("server", None)
        if "proposals" in inner.get("client", {}):
            proposals = [one for proposal in inner["client"]["proposals"] for one in _listed(proposal)]
            inner["client"] = {**inner["client"], "proposals": proposals}
    return made


def _listed(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the attributes among an object's keys as a list."""
    known = [key for key in fields if key in _IN_RECORD_2]
    return [
        {"key": key, "value": fields[key], **({"raw": fields[f"{key}_raw"]} if f"{key}_raw" in fields else {})}
        for key in known
    ]


PROTOCOL = Protocol(
    name="ike",
    usual_ports=frozenset({500, 4500}),
    usual_starts={4500: frozenset({0})},
    datagram=is_ike,
    settings=IkeSettings,
    datagrams=speaking(IkeFlow),
    oddities=(
        "malformed_data",
        "no_encryption",
        "weak_crypto_enc",
        "weak_crypto_prf",
        "weak_crypto_dh",
        "weak_crypto_auth",
        "weak_crypto_no_dh",
        "weak_crypto_no_auth",
        "invalid_proposal",
        "unknown_proposal",
    ),
    event="ike",
    of_sender=True,
    buffers=(
        Buffer("ike.init_spi", "ike", _CLIENT, "SPI of the initiator, hexadecimal"),
        Buffer("ike.resp_spi", "ike", _SERVER, "SPI of the responder, hexadecimal"),
        Buffer("ike.exchtype", "ike", None, "type of the exchange, decimal"),
        Buffer("ike.vendor", "ike", _CLIENT, "ids of vendors, hexadecimal", several=True),
        Buffer("ike.chosen_sa_attribute", "ike", _SERVER, "what the server took: `alg_enc=7`", several=True),
        Buffer("ike.key_exchange_payload", "ike", None, "public value of the key exchange, as sent"),
        Buffer("ike.key_exchange_payload_length", "ike", None, "its length, decimal"),
        Buffer("ike.nonce_payload", "ike", None, "nonce, as sent"),
        Buffer("ike.nonce_payload_length", "ike", None, "its length, decimal"),
    ),
)
