"""What a packet of QUIC says, as rules test it and EVE logs it."""

from __future__ import annotations

from typing import Any

from ids.protocols.dialogue import Said
from ids.protocols.quic.packet import version_name
from ids.protocols.spelling import text
from ids.protocols.tls.fingerprints import ja3, ja3_hash, ja3s, ja4
from ids.protocols.tls.hello import ALPN, SERVER_NAME, SIGNATURES, VERSIONS, Hello, is_grease
from ids.types import Direction

_EXTENSIONS = {
    0: "server_name", 1: "max_fragment_length", 2: "client_certificate_url", 3: "trusted_ca_keys",
    4: "truncated_hmac", 5: "status_request", 6: "user_mapping", 7: "client_authz", 8: "server_authz",
    9: "cert_type", 10: "supported_groups", 11: "ec_point_formats", 12: "srp", 13: "signature_algorithms",
    14: "use_srtp", 15: "heartbeat", 16: "alpn", 17: "status_request_v2", 18: "signed_certificate_timestamp",
    19: "client_certificate_type", 20: "server_certificate_type", 21: "padding", 22: "encrypt_then_mac",
    23: "extended_master_secret", 24: "token_binding", 25: "cached_info", 26: "tls_lts", 27: "compress_certificate",
    28: "record_size_limit", 29: "pwd_protect", 30: "pwd_clear", 31: "password_salt", 32: "ticket_pinning",
    33: "tls_cert_with_extern_psk", 34: "delegated_credentials", 35: "session_ticket", 41: "pre_shared_key",
    42: "early_data", 43: "supported_versions", 44: "cookie", 45: "psk_key_exchange_modes",
    47: "certificate_authorities", 48: "oid_filters", 49: "post_handshake_auth", 50: "signature_algorithms_cert",
    51: "key_share", 52: "transparency_info", 55: "external_id_hash", 56: "external_session_id",
    57: "quic_transport_parameters", 13172: "next_protocol_negotiation", 65281: "renegotiation_info",
    65486: "encrypted_server_name",
}  # fmt: skip
"""Names of extensions of TLS, of IANA's registry."""
_VERSIONS = {0x0300: "Ssl30", 0x0301: "Tls10", 0x0302: "Tls11", 0x0303: "Tls12", 0x0304: "Tls13"}


class Greeting:
    """What a packet says: its version, the hello that it completes, or the tags of Google's."""

    __slots__ = ("cyu", "direction", "hello", "sni", "user_agent", "version")

    def __init__(self, direction: Direction, version: int) -> None:
        self.direction = direction
        self.version = version
        self.hello: Hello | None = None
        self.cyu: list[tuple[bytes, bytes]] = []
        """Strings, each with its hash."""
        self.sni: bytes | None = None
        self.user_agent: bytes | None = None

    @property
    def client_hello(self) -> Hello | None:
        return self.hello if self.direction is Direction.TO_SERVER else None

    def buffers(self) -> Said:
        """Return what rules test."""
        hello, of_client = self.hello, self.direction is Direction.TO_SERVER
        said: dict[str, bytes | tuple[bytes, ...] | None] = {
            "quic.version": self.version.to_bytes(4, "big"),
            "quic.sni": self.sni,
            "quic.ua": self.user_agent,
            "quic.cyu.string": tuple([string for string, _ in self.cyu]),
            "quic.cyu.hash": tuple([of for _, of in self.cyu]),
        }
        if hello is not None:
            string = ja3(hello) if of_client else ja3s(hello)
            name = "ja3" if of_client else "ja3s"
            said |= {f"{name}.string": string, f"{name}.hash": ja3_hash(string), "quic.alpn": tuple(hello.alpn)}
            if of_client:
                said["ja4.hash"] = ja4(hello, "q")
        return said

    def fields(self, with_ja4: bool) -> dict[str, Any]:
        """Return what EVE logs."""
        fields: dict[str, Any] = {"version": version_name(self.version)}
        if self.sni is not None:
            fields["sni"] = text(self.sni)
        if self.user_agent is not None:
            fields["ua"] = text(self.user_agent)
        if self.cyu:
            fields["cyu"] = [{"hash": of.decode(), "string": text(string)} for string, of in self.cyu]
        if self.hello is not None:
            of_client = self.direction is Direction.TO_SERVER
            string = ja3(self.hello) if of_client else ja3s(self.hello)
            fields["ja3" if of_client else "ja3s"] = {"hash": ja3_hash(string).decode(), "string": string.decode()}
            if of_client and with_ja4:
                fields["ja4"] = ja4(self.hello, "q").decode()
            fields["extensions"] = [
                _extension(kind, self.hello) for kind in self.hello.extensions if not is_grease(kind)
            ]
        return fields


def _extension(kind: int, hello: Hello) -> dict[str, Any]:
    said: dict[str, Any] = {"name": _EXTENSIONS[kind]} if kind in _EXTENSIONS else {}
    said["type"] = kind
    values = _values(kind, hello)
    if values:
        said["values"] = values
    return said


def _values(kind: int, hello: Hello) -> list[str]:
    if kind == SERVER_NAME:
        return [text(name) for name in hello.names]
    if kind == ALPN:
        return [text(name) for name in hello.alpn]
    if kind == SIGNATURES:
        return [str(number) for number in hello.signatures if not is_grease(number)]
    if kind == VERSIONS:
        known = [number for number in hello.versions if not is_grease(number)]
        return [_VERSIONS.get(number, f"TlsVersion({number} / 0x{number:x})") for number in known]
    return []
