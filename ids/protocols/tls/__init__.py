"""TLS: the handshake of a connection, as far as it is sent in clear, becomes one transaction with named buffers.

- `parser` reads a connection; `handshake` the records of a direction; `settings` are the limits;
- `hello` reads what each side says first, `certificate` X.509, `versions` has the names of versions;
- `said` makes what rules test and EVE logs, with `fingerprints`.

What is encrypted is not kept, and not looked at.
"""

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.tls.parser import Shared
from ids.protocols.tls.settings import TlsSettings
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

_RECORD = rb"[\x14-\x17]\x03[\x00-\x04][\x00-\x48]"
_SSL2_CLIENT_HELLO = rb"(?s:[\x80-\x8f].\x01(?:\x00\x02|\x03[\x00-\x03])[\x00-\x03].\x00[\x00-\x20]\x00[\x08-\x20])"

PROTOCOL = Protocol(
    name="tls",
    by_message=True,
    from_client=_RECORD + rb"|" + _SSL2_CLIENT_HELLO,
    from_server=_RECORD,
    strict=True,
    client_first=True,
    settings=TlsSettings,
    streams=Shared,
    oddities=(
        "invalid_sslv2_header",
        "invalid_tls_header",
        "invalid_record_version",
        "invalid_record_type",
        "invalid_ssl_record",
        "invalid_handshake_message",
        "handshake_invalid_length",
        "error_message_encountered",
        "invalid_certificate",
        "certificate_invalid_length",
        "certificate_invalid_der",
        "certificate_invalid_version",
        "certificate_invalid_serial",
        "certificate_invalid_algorithmidentifier",
        "certificate_invalid_date",
        "certificate_invalid_extensions",
        "heartbeat_message",
        "invalid_heartbeat_message",
        "overflow_heartbeat_message",
        "multiple_sni_extensions",
        "invalid_sni_type",
        "invalid_sni_length",
    ),
    event="tls",
    buffers=(
        Buffer("tls.sni", "tls", _CLIENT, "server name that the client asks for", several=True),
        Buffer("tls.version", "tls", None, "version offered or taken: `1.2`, `1.3`, `sslv3`"),
        Buffer("tls.cert_subject", "tls", None, "subject of the certificate"),
        Buffer("tls.cert_issuer", "tls", None, "issuer of the certificate"),
        Buffer("tls.cert_serial", "tls", None, "serial number of the certificate, hexadecimal with colons"),
        Buffer("tls.cert_fingerprint", "tls", None, "SHA-1 of the certificate, hexadecimal with colons"),
        Buffer("tls.cert_notbefore", "tls", None, "when the certificate becomes valid, in seconds since 1970, decimal"),
        Buffer("tls.cert_notafter", "tls", None, "when the certificate ends to be valid, likewise"),
        Buffer("tls.cert_validity", "tls", None, "the certificate when it is sent: `valid`, `early` or `expired`"),
        Buffer("tls.cert_chain_len", "tls", None, "number of certificates sent, decimal"),
        Buffer("tls.subjectaltname", "tls", None, "alternative names of the certificate", several=True),
        Buffer("tls.certs", "tls", None, "certificates as sent, DER", several=True),
        Buffer("tls.alpn", "tls", None, "application protocols offered or chosen", several=True),
        Buffer("tls.random", "tls", None, "random of a hello, 32 bytes"),
        Buffer("tls.random_time", "tls", None, "first 4 bytes of the random"),
        Buffer("tls.random_bytes", "tls", None, "the other 28 bytes of the random"),
    ),
)

__all__ = ["PROTOCOL", "TlsSettings"]
