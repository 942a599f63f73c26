"""The protection of Initial packets: its keys follow from what they say in clear (RFC 9001 section 5, RFC 9369)."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from ids.protocols.quic.packet import Q046, Q050, T050, T051, V1, V2, Packet

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SALTS = {
    V1: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
    V2: "0dede3def700a6db819381be6e269dcbf9bd2ed9",
    Q050: "504574efd066fe2f9d945cfcdbd3a7f0d3b56b45",
    T050: "7ff579e5acd072915580304c43a2367c60488310",
    T051: "7a4edef4e7ccee5fa4506c19124fc8ccda6e033d",
}
"""By version, of RFC 9001 section 5.2, RFC 9369 section 3.3.1, and Google's."""
_DRAFT_29 = "afbfec289993d24c9e9786f19c6111e04390a899"
_FROM_DRAFT_29 = 0xFF00001D
_DRAFT_23 = "c3eef712c72ebb5a11a7d2432bb46365bef9f502"
_LABELS = (b"quic key", b"quic iv", b"quic hp")
_LABELS_V2 = (b"quicv2 key", b"quicv2 iv", b"quicv2 hp")
_SAMPLE_AT, _SAMPLE = 4, 16
"""Where the bytes lie that the head's protection is made of, from the packet's number on; and how many."""
_TAG = 16


class Keys(NamedTuple):
    """What one side protects its Initial packets with."""

    body: AESGCM
    nonce: int
    head: CipherContext


def is_protected(version: int) -> bool:
    """Return whether Initial packets of a version are protected."""
    return version != Q046


def initial_keys(version: int, dcid: bytes) -> tuple[Keys, Keys]:
    """Return the keys of client and server of a connection."""
    salt = _SALTS.get(version) or (_DRAFT_29 if version >= _FROM_DRAFT_29 else _DRAFT_23)
    secret = hmac.digest(bytes.fromhex(salt), dcid, "sha256")
    labels = _LABELS_V2 if version == V2 else _LABELS
    client, server = (_expand(secret, label, 32) for label in (b"client in", b"server in"))
    return _keys(client, labels), _keys(server, labels)


def _keys(secret: bytes, labels: tuple[bytes, bytes, bytes]) -> Keys:
    # It takes 50 ms to import, which only those pay who see QUIC.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, nonce, head = (_expand(secret, label, size) for label, size in zip(labels, (16, 12, 16), strict=True))
    masks = Cipher(algorithms.AES(head), modes.ECB()).encryptor()
    return Keys(AESGCM(key), int.from_bytes(nonce, "big"), masks)


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """Return HKDF-Expand-Label (RFC 8446 section 7.1) with SHA-256 and no context, of at most 32 bytes."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes((len(label),)) + label + b"\0\1"
    return hmac.new(secret, info, sha256).digest()[:size]


def unprotected(data: bytes, packet: Packet, keys: Keys) -> bytes | None:
    """Return the frames of an Initial packet; None where the keys are not its keys."""
    from cryptography.exceptions import InvalidTag

    start, at = packet.start, packet.payload
    sample = data[at + _SAMPLE_AT : at + _SAMPLE_AT + _SAMPLE]
    if len(sample) < _SAMPLE or packet.end - at < _SAMPLE_AT + _TAG:
        return None
    mask = keys.head.update(sample)
    first = data[start] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    number = bytes(byte ^ of for byte, of in zip(data[at : at + size], mask[1:], strict=False))
    head = bytes((first,)) + data[start + 1 : at] + number
    nonce = (keys.nonce ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    try:
        return keys.body.decrypt(nonce, data[at + size : packet.end], head)
    except InvalidTag:
        return None
