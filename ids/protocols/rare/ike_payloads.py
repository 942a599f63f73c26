"""The payloads of IKE: proposals with their transforms and attributes, and the names that EVE has for them.

Numbers are of IANA's registries "ipsec-registry" and "ikev2-parameters".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_PAYLOADS = 64
"""Payloads of one message that are read: 20 are many."""
MAX_TRANSFORMS = 256
"""Transforms and attributes of one message that are read: the most that clients propose are about 100."""

NAMES_1 = {
    0: "", 1: "SecurityAssociation", 2: "Proposal", 3: "Transform", 4: "KeyExchange", 5: "Identification",
    6: "Certificate", 7: "CertificateRequest", 8: "Hash", 9: "Signature", 10: "Nonce", 11: "Notification",
    12: "Delete", 13: "VendorID", 15: "SaKekPayload", 16: "SaTekPayload", 17: "KeyDownload", 18: "SequenceNumber",
    19: "ProofOfPossession", 20: "NatDiscovery", 21: "NatOriginalAddress", 22: "GroupAssociatedPolicy",
    130: "", 131: "", 132: "",
}  # fmt: skip
"""Kinds of payloads of version 1; those without a name are of drafts, and not logged."""
NAMES_2 = {
    0: "NoNextPayload", 33: "SecurityAssociation", 34: "KeyExchange", 35: "IDi", 36: "IDr", 37: "Certificate",
    38: "CertificateRequest", 39: "Authentication", 40: "Nonce", 41: "Notify", 42: "Delete", 43: "VendorID", 44: "TSi",
    45: "TSr", 46: "EncryptedAndAuthenticated", 47: "Configuration", 48: "ExtensibleAuthentication",
    49: "GenericSecurePasswordMethod", 50: "GroupIdentification", 51: "GroupSecurityAssociation", 52: "KeyDownload",
    53: "EncryptedAndAuthenticatedFragment", 54: "PuzzleSolution",
}  # fmt: skip
NOTIFICATIONS = {
    1: "UNSUPPORTED_CRITICAL_PAYLOAD", 4: "INVALID_IKE_SPI", 5: "INVALID_MAJOR_VERSION", 7: "INVALID_SYNTAX",
    9: "INVALID_MESSAGE_ID", 11: "INVALID_SPI", 14: "NO_PROPOSAL_CHOSEN", 17: "INVALID_KE_PAYLOAD",
    24: "AUTHENTICATION_FAILED", 34: "SINGLE_PAIR_REQUIRED", 35: "NO_ADDITIONAL_SAS", 36: "INTERNAL_ADDRESS_FAILURE",
    37: "FAILED_CP_REQUIRED", 38: "TS_UNACCEPTABLE", 39: "INVALID_SELECTORS", 43: "TEMPORARY_FAILURE",
    44: "CHILD_SA_NOT_FOUND", 16384: "INITIAL_CONTACT", 16385: "SET_WINDOW_SIZE", 16386: "ADDITIONAL_TS_POSSIBLE",
    16387: "IPCOMP_SUPPORTED", 16388: "NAT_DETECTION_SOURCE_IP", 16389: "NAT_DETECTION_DESTINATION_IP",
    16390: "COOKIE", 16391: "USE_TRANSPORT_MODE", 16392: "HTTP_CERT_LOOKUP_SUPPORTED", 16393: "REKEY_SA",
    16394: "ESP_TFC_PADDING_NOT_SUPPORTED", 16395: "NON_FIRST_FRAGMENTS_ALSO",
}  # fmt: skip
_ATTRIBUTES = (
    "unknown", "alg_enc", "alg_hash", "alg_auth", "alg_dh", "sa_group_type", "sa_group_prime",
    "sa_group_generator_one", "sa_group_generator_two", "sa_group_curve_a", "sa_group_curve_b", "sa_life_type",
    "sa_life_duration", "alg_prf", "sa_key_length", "sa_field_size", "sa_group_order",
)  # fmt: skip
_VALUES = {
    "alg_enc": "EncDesCbc EncIdeaCbc EncBlowfishCbc EncRc5R16B64Cbc EncTripleDesCbc EncCastCbc EncAesCbc"
    " EncCamelliaCbc",
    "alg_hash": "HashMd5 HashSha HashTiger HashSha2_256 HashSha2_384 HashSha2_512",
    "alg_auth": "AuthPreSharedKey AuthDssSignatures AuthRsaSignatures AuthEncryptionWithRsa"
    " AuthRevisedEncryptionWithRsa AuthReserved AuthReserved AuthReserved AuthEcdsaSha256 AuthEcdsaSha384"
    " AuthEcdsaSha512",
    "alg_dh": "GroupDefault768BitModp GroupAlternate1024BitModpGroup GroupEc2nOnGp2p155 GroupEc2nOnGp2p185"
    " GroupModp1536Bit GroupEc2nOverGf2p163 GroupEc2nOverGf2p163 GroupEc2nOverGf2p283 GroupEc2nOverGf2p283"
    " GroupEc2nOverGf2p409 GroupEc2nOverGf2p409 GroupEc2nOverGf2p571 GroupEc2nOverGf2p571 GroupModp2048Bit"
    " GroupModp3072Bit GroupModp4096Bit GroupModp6144Bit GroupModp8192Bit GroupRandomEcp256 GroupRandomEcp384"
    " GroupRandomEcp521 GroupModp1024With160BitPrime GroupModp2048With224BitPrime GroupModp2048With256BitPrime"
    " GroupRandomEcp192 GroupRandomEcp224 GroupBrainpoolEcp224 GroupBrainpoolEcp256 GroupBrainpoolEcp384"
    " GroupBrainpoolEcp512",
    "sa_life_type": "LifeTypeSeconds LifeTypeKilobytes",
}
_NAMED = {name: values.split() for name, values in _VALUES.items()}
"""By attribute of version 1: names of its values, from 1 on."""
_SHORT = 0x8000
"""Bit of an attribute's type: its value stands where else its length does."""

_ENC, _PRF, _INTEGRITY, _DH, _ESN = range(1, 6)
"""Types of transforms of version 2."""
_KEYS = {_ENC: "alg_enc", _INTEGRITY: "alg_auth", _PRF: "alg_prf", _DH: "alg_dh", _ESN: "alg_esn"}
_TRANSFORMS = {
    _ENC: {
        1: "ENCR_DES_IV64", 2: "ENCR_DES", 3: "ENCR_3DES", 4: "ENCR_RC5", 5: "ENCR_IDEA", 6: "ENCR_CAST",
        7: "ENCR_BLOWFISH", 8: "ENCR_3IDEA", 9: "ENCR_DES_IV32", 11: "ENCR_NULL", 12: "ENCR_AES_CBC",
        13: "ENCR_AES_CTR", 14: "ENCR_AES_CCM_8", 15: "ENCR_AES_CCM_12", 16: "ENCR_AES_CCM_16", 18: "ENCR_AES_GCM_8",
        19: "ENCR_AES_GCM_12", 20: "ENCR_AES_GCM_16", 21: "ENCR_NULL_AUTH_AES_GMAC", 23: "ENCR_CAMELLIA_CBC",
        28: "ENCR_CHACHA20_POLY1305",
    },
    _PRF: {
        0: "PRF_NULL", 1: "PRF_HMAC_MD5", 2: "PRF_HMAC_SHA1", 3: "PRF_HMAC_TIGER", 4: "PRF_AES128_XCBC",
        5: "PRF_HMAC_SHA2_256", 6: "PRF_HMAC_SHA2_384", 7: "PRF_HMAC_SHA2_512", 8: "PRF_AES128_CMAC",
    },
    _INTEGRITY: {
        0: "NONE", 1: "AUTH_HMAC_MD5_96", 2: "AUTH_HMAC_SHA1_96", 3: "AUTH_DES_MAC", 4: "AUTH_KPDK_MD5",
        5: "AUTH_AES_XCBC_96", 6: "AUTH_HMAC_MD5_128", 7: "AUTH_HMAC_SHA1_160", 8: "AUTH_AES_CMAC_96",
        9: "AUTH_AES_128_GMAC", 10: "AUTH_AES_192_GMAC", 11: "AUTH_AES_256_GMAC", 12: "AUTH_HMAC_SHA2_256_128",
        13: "AUTH_HMAC_SHA2_384_192", 14: "AUTH_HMAC_SHA2_512_256",
    },
    _DH: {
        0: "None", 1: "Modp768", 2: "Modp1024", 5: "Modp1536", 14: "Modp2048", 15: "Modp3072", 16: "Modp4096",
        17: "Modp6144", 18: "Modp8192", 19: "Ecp256", 20: "Ecp384", 21: "Ecp521", 22: "Modp1024s160",
        23: "Modp2048s224", 24: "Modp2048s256", 25: "Ecp192", 26: "Ecp224", 27: "BrainpoolP224r1",
        28: "BrainpoolP256r1", 29: "BrainpoolP384r1", 30: "BrainpoolP512r1", 31: "Curve25519", 32: "Curve448",
    },
    _ESN: {0: "NoESN", 1: "ESN"},
}  # fmt: skip
_WEAK = {_ENC: {1, 2, 3, 4, 5, 6, 7, 8, 9, 11}, _PRF: {1, 2}, _INTEGRITY: {1, 2, 3, 4, 5, 6, 7}, _DH: {1, 2, 5, 22}}
_WEAK_NAMES = {
    _ENC: "weak_crypto_enc", _PRF: "weak_crypto_prf", _INTEGRITY: "weak_crypto_auth", _DH: "weak_crypto_dh",
}  # fmt: skip
_AEAD = frozenset({14, 15, 16, 18, 19, 20, 28})
_AH = 2


class Payload(NamedTuple):
    """A payload of a message."""

    kind: int
    body: bytes
    following: int = 0
    """The kind of the next one."""


class Attribute(NamedTuple):
    """An attribute of a transform of version 1."""

    name: str
    value: str
    raw: int | str
    """As a number, or hexadecimal where it is none."""

    @property
    def rule(self) -> bytes:
        """How rules spell it."""
        return f"{self.name}={self.raw}".encode()


class Proposal(NamedTuple):
    """A proposal of version 2: what for, and pairs of a transform's type and its number."""

    protocol: int
    transforms: list[tuple[int, int]]


class Algorithms:
    """What the responder of version 2 took."""

    def __init__(self) -> None:
        self._chosen = {_ENC: 11, _INTEGRITY: 0, _PRF: 0, _DH: 0, _ESN: 0}

    def take(self, proposal: Proposal) -> None:
        """Note the transforms of a proposal that was taken."""
        self._chosen.update((kind, number) for kind, number in proposal.transforms if kind in self._chosen)

    def spelt(self) -> dict[str, str]:
        """Return what EVE logs."""
        return {
            _KEYS[kind]: _TRANSFORMS[kind].get(number, f"Unknown({number})") for kind, number in self._chosen.items()
        }

    def rules(self) -> tuple[bytes, ...]:
        """Return what rules test."""
        return tuple([f"{_KEYS[kind]}={number}".encode() for kind, number in self._chosen.items()])


def payloads(data: bytes, kind: int) -> list[Payload]:
    """Return the payloads of a message, as far as they are there; ``kind`` is the first one's."""
    found: list[Payload] = []
    at = 0
    while kind and at + 4 <= len(data) and len(found) < MAX_PAYLOADS:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if size < 4 or at + size > len(data):
            break
        found.append(Payload(kind, data[at + 4 : at + size], data[at]))
        kind, at = data[at], at + size
    return found


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the substructures that lie behind each other: proposals, transforms."""
    at = 0
    for _ in range(MAX_TRANSFORMS):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if size < 4 or at + size > len(data):
            return
        yield data[at + 4 : at + size]
        at += size


def proposals_1(body: bytes, kinds: list[int]) -> list[list[Attribute]]:
    """Return the transforms of a security association of version 1; add what it is made of to ``kinds``."""
    found: list[list[Attribute]] = []
    if body[:4] != b"\0\0\0\1":
        return found
    for proposal in _parts(body[8:]):
        kinds.append(2)
        if len(proposal) < 4:
            continue
        for transform in _parts(proposal[4 + proposal[2] :]):
            kinds.append(3)
            if len(found) < MAX_TRANSFORMS:
                found.append(_attributes(transform[4:]))
    return found


def _attributes(data: bytes) -> list[Attribute]:
    found: list[Attribute] = []
    at = 0
    while at + 4 <= len(data) and len(found) < len(_ATTRIBUTES):
        kind, value = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
        number = kind & ~_SHORT
        name = _ATTRIBUTES[number] if number < len(_ATTRIBUTES) else _ATTRIBUTES[0]
        raw: int | str = value
        if not kind & _SHORT:
            body = data[at : at + value]
            raw = int.from_bytes(body, "big") if value == 4 else body.hex()
            at += value
        values = _NAMED.get(name, [])
        known = isinstance(raw, int) and bool(kind & _SHORT) and 1 <= value <= len(values)
        found.append(Attribute(name, values[value - 1] if known else "Unknown", raw))
    return found


def proposals_2(body: bytes) -> list[Proposal]:
    """Return the proposals of a security association of version 2."""
    found: list[Proposal] = []
    for proposal in _parts(body):
        if len(proposal) < 4 or len(found) >= MAX_PAYLOADS:
            continue
        transforms = [
            (one[0], int.from_bytes(one[2:4], "big")) for one in _parts(proposal[4 + proposal[2] :]) if len(one) >= 4
        ]
        found.append(Proposal(proposal[1], transforms))
    return found


def weaknesses(proposal: Proposal) -> list[str]:
    """Return what is odd about a proposal of version 2, by Suricata's names."""
    odd: list[str] = []
    for kind, number in proposal.transforms:
        if kind not in _TRANSFORMS:
            odd.append("unknown_proposal")
        elif (kind in (_PRF, _DH)) and not number:
            odd.append("invalid_proposal")
        elif number in _WEAK.get(kind, ()):
            odd.append(_WEAK_NAMES[kind])
    by_kind = {kind for kind, number in proposal.transforms if kind != _INTEGRITY or number}
    if _DH not in by_kind:
        odd.append("weak_crypto_no_dh")
    if proposal.protocol == _AH:
        odd.append("no_encryption")
    aead = any(kind == _ENC and number in _AEAD for kind, number in proposal.transforms)
    if _INTEGRITY not in by_kind and not aead:
        odd.append("weak_crypto_no_auth")
    return odd
