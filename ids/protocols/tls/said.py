"""What one side of a TLS connection has said in clear, as rules test it and EVE logs it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Any

from ids.protocols.made import Makers
from ids.protocols.spelling import text
from ids.protocols.tls.certificate import Certificate, fingerprint
from ids.protocols.tls.fingerprints import ja3, ja3_hash, ja3s, ja4
from ids.protocols.tls.hello import Hello
from ids.protocols.tls.versions import eve_name, is_known, rule_name

_NONE: tuple[bytes, ...] = ()
_TIME_BYTES = 4
"""Bytes of the random of a hello that were a time once (RFC 5246 section 7.4.1.2)."""


class Said:
    """What one side has said so far; it does not change."""

    __slots__ = ("certificate", "chain", "hello", "seen_ns")

    def __init__(
        self,
        hello: Hello | None,
        chain: tuple[bytes, ...] = (),
        certificate: Certificate | None = None,
        seen_ns: int = 0,
    ) -> None:
        self.hello = hello
        self.chain = chain
        """Certificates as sent, the side's own first."""
        self.certificate = certificate
        """The side's own; None where it sent none, or one that cannot be read."""
        self.seen_ns = seen_ns
        """When it was sent."""

    @property
    def cost(self) -> int:
        """Bytes of memory that it takes, about."""
        return (self.hello.cost if self.hello is not None else 0) + 2 * sum(map(len, self.chain))

    @property
    def version(self) -> int:
        """The version that the server took, or that the client would like best; 0 where it said nothing."""
        if self.hello is None:
            return 0
        offered = [version for version in self.hello.versions if is_known(version)]
        return offered[0] if offered else self.hello.legacy


def fields(client: Said, server: Said, resumed: bool, with_ja4: bool, before: str | None) -> dict[str, Any]:
    """Return what EVE logs of a connection, as far as it is known; ``before`` it, the flow was of another protocol."""
    said = of_certificate(server)
    if resumed:
        said["session_resumed"] = True
    asked = client.hello
    if before is not None:
        said["from_proto"] = before
    if asked is not None and asked.names:
        said["sni"] = text(asked.names[0])
    said["version"] = eve_name(server.version)
    _move(said, "notbefore", "notafter")
    if asked is not None:
        of = ja3(asked)
        said["ja3"] = {"hash": ja3_hash(of).decode(), "string": of.decode()}
        if with_ja4:
            said["ja4"] = ja4(asked).decode()
    if server.hello is not None:
        of = ja3s(server.hello)
        said["ja3s"] = {"hash": ja3_hash(of).decode(), "string": of.decode()}
    if client.chain:
        said["client"] = of_certificate(client)
    return said


def picked(client: Said, server: Said, usual: dict[str, Any], logged: Collection[str]) -> dict[str, Any]:
    """Return what is asked for by Suricata's names, of all that EVE may log of a connection.

    ``usual``: what it logs where nothing is asked for.
    """
    made = {name: value for name, value in usual.items() if _SPELT.get(name, name) in logged or name == "from_proto"}
    made.pop("client", None)
    if "subjectaltname" in logged and server.certificate is not None and server.certificate.names:
        made["subjectaltname"] = [text(name) for name in server.certificate.names]
    made |= _sent(server, logged)
    of_client = of_certificate(client) if "client" in logged else {}
    if of_client := of_client | _sent(client, logged, "client_"):
        made["client"] = of_client
    return made


_SPELT = {"issuerdn": "issuer", "notbefore": "not_before", "notafter": "not_after"}
"""Suricata's names of keys in ``custom``, where they are others."""


def _sent(said: Said, logged: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Return the certificates of a side as they were sent, as far as they are asked for."""
    chain = [b64encode(one).decode() for one in said.chain]
    sent = {"certificate": chain[:1] and chain[0], "chain": chain}
    return {name: value for name, value in sent.items() if value and prefix + name in logged}


def of_certificate(said: Said) -> dict[str, Any]:
    """Return what EVE logs of a certificate."""
    logged: dict[str, Any] = {}
    certificate = said.certificate
    if certificate is not None:
        logged["subject"], logged["issuerdn"] = text(certificate.subject), text(certificate.issuer)
        logged["serial"] = certificate.serial.decode()
    if said.chain:
        logged["fingerprint"] = fingerprint(said.chain[0]).decode()
    if certificate is not None:
        if certificate.not_before is not None:
            logged["notbefore"] = certificate.not_before
        if certificate.not_after is not None:
            logged["notafter"] = certificate.not_after
    return logged


def _move(fields: dict[str, Any], *names: str) -> None:
    """Move keys to the end, where Suricata has them."""
    for name in names:
        if name in fields:
            fields[name] = fields.pop(name)


def _of_hello(make: Callable[[Hello], tuple[bytes, ...]]) -> Callable[[Said], tuple[bytes, ...]]:
    return lambda said: make(said.hello) if said.hello is not None else _NONE


def _of_certificate(make: Callable[[Certificate], tuple[bytes, ...]]) -> Callable[[Said], tuple[bytes, ...]]:
    return lambda said: make(said.certificate) if said.certificate is not None else _NONE


def _seconds(spelt: str | None) -> int | None:
    """Return the time of a certificate in seconds since 1970; earlier ones are 0. None where it is none."""
    if spelt is None:
        return None
    return max(0, int(datetime.fromisoformat(spelt).replace(tzinfo=timezone.utc).timestamp()))


def _as_digits(spelt: str | None) -> tuple[bytes, ...]:
    seconds = _seconds(spelt)
    return _NONE if seconds is None else (b"%d" % seconds,)


def _validity(said: Said) -> tuple[bytes, ...]:
    """Return what a certificate was when it was sent."""
    certificate = said.certificate
    if certificate is None:
        return _NONE
    begin, end = _seconds(certificate.not_before), _seconds(certificate.not_after)
    if begin is None or end is None:
        return _NONE
    now = said.seen_ns // 1_000_000_000
    return (b"expired" if end < now else b"early" if begin > now else b"valid",)


def _version(said: Said) -> tuple[bytes, ...]:
    return (rule_name(said.version),) if said.version else _NONE


_OF_BOTH: Makers[Said] = {
    "tls.version": _version,
    "tls.alpn": _of_hello(lambda hello: tuple(hello.alpn)),
    "tls.random": _of_hello(lambda hello: (hello.random,) if hello.random else _NONE),
    "tls.random_time": _of_hello(lambda hello: (hello.random[:_TIME_BYTES],) if hello.random else _NONE),
    "tls.random_bytes": _of_hello(lambda hello: (hello.random[_TIME_BYTES:],) if hello.random else _NONE),
    "tls.cert_subject": _of_certificate(lambda certificate: (certificate.subject,)),
    "tls.cert_issuer": _of_certificate(lambda certificate: (certificate.issuer,)),
    "tls.cert_serial": _of_certificate(lambda certificate: (certificate.serial,)),
    "tls.cert_notbefore": _of_certificate(lambda certificate: _as_digits(certificate.not_before)),
    "tls.cert_notafter": _of_certificate(lambda certificate: _as_digits(certificate.not_after)),
    "tls.cert_validity": _validity,
    "tls.cert_fingerprint": lambda said: (fingerprint(said.chain[0]),) if said.chain else _NONE,
    "tls.cert_chain_len": lambda said: (b"%d" % len(said.chain),) if said.chain else _NONE,
    "tls.certs": lambda said: said.chain,
    "tls.subjectaltname": _of_certificate(lambda certificate: certificate.names),
}
OF_CLIENT: Makers[Said] = {
    **_OF_BOTH,
    "tls.sni": _of_hello(lambda hello: tuple(hello.names)),
    "ja3.hash": _of_hello(lambda hello: (ja3_hash(ja3(hello)),)),
    "ja3.string": _of_hello(lambda hello: (ja3(hello),)),
    "ja4.hash": _of_hello(lambda hello: (ja4(hello),)),
}
OF_SERVER: Makers[Said] = {
    **_OF_BOTH,
    "ja3s.hash": _of_hello(lambda hello: (ja3_hash(ja3s(hello)),)),
    "ja3s.string": _of_hello(lambda hello: (ja3s(hello),)),
}
