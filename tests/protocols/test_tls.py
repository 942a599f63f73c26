"""TLS: hellos and certificates with their buffers and events, however they are cut; and hostile handshakes."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from base64 import b64encode
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.tls.certificate import Malformed, fingerprint, read_certificate
from ids.protocols.tls.fingerprints import ja3, ja4
from ids.protocols.tls.hello import Hello, client_hello, server_hello
from ids.protocols.tls.versions import eve_name, rule_name
from ids.testing import Session, to_client
from ids.types import Transaction
from plugins.rules import Rules
from tests.protocols import handshakes as hs
from tests.protocols.wire import CLIENT, SERVER, Wire, request
from tests.rules.builders import rule_text
from tests.shared import event_validator

CERTIFICATE = hs.certificate()
CA = hs.certificate(subject=((hs.COMMON_NAME, hs.UTF8, b"Some CA"),), serial=b"\1")
ASKED, ANSWERED = hs.client_side(), hs.server_side(CERTIFICATE, CA)
HELLO_13 = hs.record(hs.client_hello(hs.EXTENSIONS + hs.OFFERS_13))
JA3 = "771,4865-49195-47,0-10-11-16-13,29-23,0"
GREETS = hs.record(hs.client_hello())


def limited(wire: Wire, **tls: Any) -> Wire:
    """Have a connection read with these settings."""
    wire.stage = Protocols(ProtocolSettings.model_validate({"tls": tls}), wire.counters, wire.flow.columns)
    return wire


def event(wire: Wire) -> dict[str, Any]:
    """Return what is logged of a connection."""
    (found,) = [found for found in wire.seen if found.complete]
    return dict(found.fields)


def only(found: list[Transaction], name: str) -> list[bytes]:
    """Return all instances of a buffer."""
    return [value for one in found for value in one.instances(name)]


def test_a_connection_is_one_transaction_in_parts() -> None:
    wire = Wire().client(ASKED).server(ANSWERED)
    assert wire.flow.app_proto == "tls"
    assert {(found.protocol, found.tx_id) for found in wire.seen} == {("tls", 0)}
    assert [(found.direction, found.complete) for found in wire.seen] == [
        (CLIENT, False), (SERVER, False), (SERVER, False), (SERVER, True),
    ]  # fmt: skip
    hello, _, chain, end = wire.seen
    assert dict(hello.buffers) == {
        "tls.version": b"1.2", "tls.alpn": b"h2", "tls.sni": b"Host.example", "ja3.string": JA3.encode(),
        "ja3.hash": hashlib.md5(JA3.encode()).hexdigest().encode(),
        "ja4.hash": ja4(client_hello(hs.client_hello()[4:])),
        "tls.random": hs.RANDOM, "tls.random_time": hs.RANDOM[:4], "tls.random_bytes": hs.RANDOM[4:],
    }  # fmt: skip
    assert hello.instances("tls.alpn") == (b"h2", b"http/1.1")
    assert dict(chain.buffers) == {
        "tls.version": b"1.2", "tls.random": hs.RANDOM, "tls.random_time": hs.RANDOM[:4],
        "tls.random_bytes": hs.RANDOM[4:], "tls.cert_subject": b"CN=host.example",
        "tls.cert_issuer": b"C=XX, CN=Some CA", "tls.cert_serial": b"00:97:E6",
        "tls.cert_fingerprint": hashlib.sha1(CERTIFICATE).digest().hex(":").encode(), "tls.cert_chain_len": b"2",
        "tls.cert_notbefore": b"1609556645", "tls.cert_notafter": b"2556241445", "tls.cert_validity": b"valid",
        "tls.certs": CERTIFICATE, "tls.subjectaltname": b"host.example", "ja3s.string": b"771,49195,",
        "ja3s.hash": hashlib.md5(b"771,49195,").hexdigest().encode(),
    }  # fmt: skip
    assert chain.instances("tls.certs") == (CERTIFICATE, CA)
    assert chain.instances("tls.subjectaltname") == (b"host.example", b"www.host.example")
    assert not dict(end.buffers)


def test_the_event_has_suricatas_keys() -> None:
    assert event(Wire().client(ASKED).server(ANSWERED)) == {
        "subject": "CN=host.example", "issuerdn": "C=XX, CN=Some CA", "serial": "00:97:E6",
        "fingerprint": fingerprint(CERTIFICATE).decode(), "sni": "Host.example", "version": "TLS 1.2",
        "notbefore": "2021-01-02T03:04:05", "notafter": "2051-01-02T03:04:05",
        "ja3": {"hash": hashlib.md5(JA3.encode()).hexdigest(), "string": JA3},
        "ja3s": {"hash": hashlib.md5(b"771,49195,").hexdigest(), "string": "771,49195,"},
    }  # fmt: skip


def test_the_event_has_what_is_asked_for_in_the_place_of_the_usual() -> None:
    asks = hs.record(hs.server_hello() + hs.certificates(CERTIFICATE) + hs.CERTIFICATE_REQUEST + hs.HELLO_DONE)
    mine = hs.certificate(subject=((hs.COMMON_NAME, hs.UTF8, b"me"),))
    said = b64encode(CERTIFICATE).decode(), b64encode(mine).decode()

    def logged(*names: str) -> dict[str, Any]:
        return event(limited(Wire(), logged=names).client(GREETS).server(asks).client(hs.record(hs.certificates(mine))))

    assert logged("issuer", "not_before", "certificate") == {
        "issuerdn": "C=XX, CN=Some CA", "notbefore": "2021-01-02T03:04:05", "certificate": said[0],
    }  # fmt: skip
    assert logged("chain", "client_certificate", "client_chain") == {
        "chain": [said[0]], "client": {"certificate": said[1], "chain": [said[1]]},
    }  # fmt: skip
    assert logged("client")["client"]["subject"] == "CN=me"
    assert logged("ja4").keys() == {"ja4"}
    assert logged("session_resumed") == {}


def test_tls_1_3_ends_with_the_hello_of_its_server() -> None:
    answer = hs.record(hs.server_hello(hs.TAKES_13, cipher=0x1301)) + hs.CHANGE_CIPHER + hs.DATA
    wire = Wire().client(HELLO_13).server(answer)
    assert only(wire.seen, "tls.version") == [b"1.3", b"1.3"]
    assert event(wire)["version"] == "TLS 1.3"
    assert event(wire)["ja3s"]["string"] == "771,4865,43"
    assert "subject" not in event(wire)


def test_a_second_hello_is_tested_and_the_first_is_logged() -> None:
    """A server that wants another key has the client greet once more; what it says then, nobody has to compare."""
    again = hs.record(hs.client_hello(hs.server_name(b"second.example") + hs.OFFERS_13))
    wire = Wire().client(HELLO_13 + hs.CHANGE_CIPHER + again).server(hs.record(hs.server_hello(hs.TAKES_13)))
    assert only(wire.seen, "tls.sni") == [b"Host.example", b"second.example"]
    assert event(wire)["sni"] == "Host.example"


def test_a_resumed_session_has_no_certificate() -> None:
    wire = Wire().client(GREETS).server(hs.record(hs.server_hello()) + hs.CHANGE_CIPHER + hs.ENCRYPTED)
    assert event(wire)["session_resumed"] is True
    assert "session_resumed" not in event(Wire().client(ASKED).server(ANSWERED))


def test_the_certificate_of_a_client_that_was_asked_for_it() -> None:
    asks = hs.record(hs.server_hello() + hs.certificates(CERTIFICATE) + hs.CERTIFICATE_REQUEST + hs.HELLO_DONE)
    mine = hs.certificate(subject=((hs.COMMON_NAME, hs.UTF8, b"me"),), serial=b"\7")
    wire = Wire().client(GREETS).server(asks)
    assert not any(found.complete for found in wire.seen)
    wire.client(hs.record(hs.certificates(mine)))
    assert only([found for found in wire.seen if found.direction is CLIENT], "tls.cert_subject") == [b"CN=me"]
    assert event(wire)["client"]["serial"] == "07"
    without = Wire().client(GREETS).server(asks).client(hs.CHANGE_CIPHER)
    assert "client" not in event(without)
    assert event(Wire().client(GREETS).server(asks).close())["subject"] == "CN=host.example"


def test_a_client_hello_of_ssl_2_is_recognised() -> None:
    body = b"\x01\x03\x01\0\x09\0\0\0\x10" + b"\0\0\x2f\x07\0\xc0\0\0\x35" + b"c" * 16
    wire = Wire().client(bytes((0x80, len(body))) + body).server(ANSWERED)
    assert wire.flow.app_proto == "tls"
    assert wire.seen[0].buffers["ja3.string"] == b"769,47-53,,,"
    assert event(wire)["subject"] == "CN=host.example"


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_handshakes_in_small_records_are_put_together(size: int) -> None:
    greets = hs.record(hs.client_hello(), size=size)
    answer = hs.record(hs.server_hello() + hs.certificates(CERTIFICATE, CA) + hs.HELLO_DONE, size=size)
    whole = Wire().client(GREETS).server(ANSWERED)
    assert Wire().client(greets).server(answer).what() == whole.what()


@given(st.lists(st.integers(0, len(ASKED)), max_size=8), st.lists(st.integers(0, len(ANSWERED)), max_size=8))
def test_any_cut_of_the_streams_gives_the_same(cuts: list[int], cuts_back: list[int]) -> None:
    wire = Wire()
    for direction, data, at in ((CLIENT, ASKED, cuts), (SERVER, ANSWERED, cuts_back)):
        for start, end in pairwise([0, *sorted(at), len(data)]):
            wire.send(direction, data[start:end])
    assert wire.what() == Wire().client(ASKED).server(ANSWERED).what()
    assert wire.stage._make_parser["tls"].held == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_protocol_before_it_is_logged(at_once: bool) -> None:
    wire = Wire()
    turns = (
        (CLIENT, request(b"CONNECT h:443 HTTP/1.1")),
        (SERVER, b"HTTP/1.1 200 OK\r\n\r\n"),
        (CLIENT, ASKED),
        (SERVER, ANSWERED),
    )
    chunks = [wire.chunk(direction, data) for direction, data in turns]
    for batch in [chunks] if at_once else [[chunk] for chunk in chunks]:
        wire.feed(*batch)
    logged = [found.fields for found in wire.seen if found.protocol == "tls" and found.complete]
    assert [(one["from_proto"], one["sni"]) for one in logged] == [("http", "Host.example")]


# What is encrypted.


def test_a_connection_is_settled_once_both_sides_are_encrypted() -> None:
    wire = Wire().client(ASKED).server(ANSWERED)
    (talk,) = wire.stage._talks.by_id.values()
    assert talk.parser.settled  # type: ignore[union-attr]
    before = len(wire.seen)
    wire.client(b"x" * 100_000).server(GREETS)
    assert len(wire.seen) == before
    assert wire.stage._make_parser["tls"].held == 0  # type: ignore[attr-defined]


def test_an_error_of_ssl_2_settles_nothing() -> None:
    """What follows it is in the clear, whatever the server has said before."""
    wire = Wire().client(GREETS + SSL2_ERROR).server(ANSWERED)
    (talk,) = wire.stage._talks.by_id.values()
    assert not talk.parser.settled  # type: ignore[union-attr]


def test_what_follows_a_gap_is_not_read() -> None:
    wire = Wire().client(GREETS[:100]).client(GREETS, gap=10)
    assert not wire.seen
    assert wire.counters["tls.gap"] == 1


# Hostile handshakes.


def test_a_long_handshake_is_cut_off_at_its_bound() -> None:
    """The first certificate is reported, whatever follows it."""
    padding = hs.certificate(names=((0x82, b"x" * 6000),))
    wire = limited(Wire(), handshake_bytes=8192)
    wire.client(GREETS).server(hs.record(hs.server_hello() + hs.certificates(CERTIFICATE, *[padding] * 3), size=1000))
    assert only(wire.seen, "tls.cert_subject") == [b"CN=host.example"]
    assert event(wire)["subject"] == "CN=host.example"
    assert wire.stage._make_parser["tls"].held < 1024, "the hellos"  # type: ignore[attr-defined]


def test_unfinished_handshakes_are_bounded_over_all_flows() -> None:
    wire = limited(Wire(), memcap_bytes=65536)
    wire.stage._make_parser["tls"].held = 65500  # type: ignore[attr-defined]
    wire.client(GREETS[:100])
    assert wire.counters["tls.memcap"] == 1
    assert wire.stage._make_parser["tls"].held == 65500  # type: ignore[attr-defined]


def test_what_a_hello_takes_is_counted() -> None:
    """Numbers take more room than on the wire; and half a handshake may never be gone on with."""
    many = hs.client_hello(ciphers=range(5000))
    wire = Wire().client(hs.record(many))
    held = wire.stage._make_parser["tls"].held  # type: ignore[attr-defined]
    assert len(wire.seen[0].buffers["ja3.string"].split(b"-")) > 1000
    assert 40_000 < held < 60_000
    wire = limited(Wire(), memcap_bytes=65536)
    wire.stage._make_parser["tls"].held = 60_000  # type: ignore[attr-defined]
    wire.client(hs.record(many))
    assert only(wire.seen, "tls.sni") == [b"Host.example"]
    assert wire.stage._make_parser["tls"].held == 60_000  # type: ignore[attr-defined]
    assert wire.counters["tls.memcap"] == 1


def test_certificates_are_bounded() -> None:
    wire = limited(Wire(), certificates=2).client(GREETS).server(hs.server_side(*[CERTIFICATE] * 3))
    assert only(wire.seen, "tls.cert_chain_len") == [b"2"]
    assert wire.counters["tls.too_many_certificates"] == 1


def test_memory_is_given_back_when_the_flow_goes() -> None:
    wire = Wire().client(GREETS[:100])
    shared_of_all = wire.stage._make_parser["tls"]
    assert shared_of_all.held == 100  # type: ignore[attr-defined]
    wire.client(GREETS[100:]).server(hs.record(hs.server_hello() + hs.certificates(CERTIFICATE)))
    assert shared_of_all.held > 2 * len(CERTIFICATE)  # type: ignore[attr-defined]
    wire.flow.columns.clear(np.array([wire.flow.slot]))
    assert shared_of_all.held == 0  # type: ignore[attr-defined]


def test_a_malformed_certificate_is_counted_and_still_has_a_fingerprint() -> None:
    wire = Wire().client(GREETS).server(hs.server_side(b"\x30\x03abc"))
    assert wire.counters["tls.malformed_certificate"] == 1
    assert only(wire.seen, "tls.cert_fingerprint") == [fingerprint(b"\x30\x03abc")]
    assert "subject" not in event(wire)


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_hello_that_ends_early_is_read_up_to_there(cut: int) -> None:
    body = hs.client_hello()[4:]
    wire = Wire().client(hs.record(hs.message(1, body[:-cut])))
    assert only(wire.seen, ODDITY) == [b"tls.handshake_invalid_length"]
    assert wire.counters["tls.malformed_hello"] == 1
    dict(wire.seen[0].buffers), dict(wire.seen[0].fields)


@pytest.mark.parametrize("data", [b"\x16\x03\x03\xff\xff", b"\x16\x02\x03\0\1", b"\x19\x03\x03\0\1", b"GET / HTTP"])
def test_what_is_no_record_is_counted(data: bytes) -> None:
    wire = Wire().client(GREETS + data + b"x" * 10)
    assert len(only(wire.seen, "tls.sni")) == 1
    assert wire.counters["tls.malformed"] == 1


def names(kind: int, size: int, name: bytes) -> bytes:
    """Return the extension for server names, whatever it says of the first."""
    entry = bytes([kind]) + size.to_bytes(2, "big") + name
    return hs.extension(0, len(entry).to_bytes(2, "big") + entry)


SSL2_ERROR = b"\x80\3\0\0\1"
HEARTBEAT = hs.record(b"\1\0\4ping" + bytes(16), kind=24)
BLEEDS = hs.record(b"\1\x40\0", kind=24)


@pytest.mark.parametrize(
    ("data", "odd"),
    [
        (b"", []),
        (b"\x16\x02\x03\0\1", [b"tls.invalid_record_version", b"tls.invalid_ssl_record"]),
        (b"\x19\x03\x03\0\1", [b"tls.invalid_record_type", b"tls.invalid_ssl_record"]),
        (b"\x16\x03\x03\xff\xff", [b"tls.invalid_tls_header", b"tls.invalid_ssl_record"]),
        (hs.record(hs.message(1, b"\x03\x03short")), [b"tls.handshake_invalid_length"]),
        (hs.record(hs.message(1, b"")), []),
        (SSL2_ERROR, [b"tls.error_message_encountered"]),
        (hs.record(hs.message(16, b"key")), []),
        (hs.record(hs.message(8, b"encrypted")) * 2, [b"tls.invalid_handshake_message"]),
        (hs.record(b"\x84\xff\xff\xff" + b"A" * 40) * 2, [b"tls.invalid_handshake_message"]),
        (hs.record(hs.client_hello(hs.server_name(b"a") * 2)), [b"tls.multiple_sni_extensions"]),
        (hs.record(hs.client_hello(names(1, 9, b"a.example"))), [b"tls.invalid_sni_type"]),
        (hs.record(hs.client_hello(names(0, 9, b"a.example"))), []),
        (hs.record(hs.client_hello(names(0, 3, b"a.example"))), []),
        (hs.record(hs.client_hello(names(0, 50, b"a.example"))), [b"tls.invalid_sni_length"]),
        (hs.record(hs.client_hello(names(0, 0, b""))), [b"tls.invalid_sni_length"]),
        (hs.record(hs.client_hello(names(0, 255, b"a" * 255))), []),
        (hs.record(hs.client_hello(names(0, 256, b"a" * 256))), [b"tls.invalid_sni_length"]),
        (hs.record(b"\7\0\4ping" + bytes(16), kind=24), [b"tls.invalid_heartbeat_message"]),
        (HEARTBEAT, [b"tls.heartbeat_message"]),
        (HEARTBEAT + BLEEDS, [b"tls.heartbeat_message", b"tls.overflow_heartbeat_message"]),
    ],
)
def test_what_is_odd_is_named(data: bytes, odd: list[bytes]) -> None:
    assert only(Wire().client(GREETS + data).seen, ODDITY) == odd


@pytest.mark.parametrize("step", [0, 1])
def test_a_server_may_answer_with_an_error_of_ssl_2(step: int) -> None:
    wire = Wire().client(GREETS).server(SSL2_ERROR, step=step)
    assert only(wire.seen, ODDITY) == [b"tls.error_message_encountered"]
    assert wire.counters["tls.malformed"] == 0


@pytest.mark.parametrize(
    ("der", "odd"),
    [
        (b"\x30\3abc", b"tls.invalid_certificate"),
        (bytes.fromhex("30063084fffffffa04"), b"tls.invalid_certificate"),
        (bytes.fromhex("30053084fffffffa04"), b"tls.certificate_invalid_length"),
    ],
)
def test_what_is_odd_about_a_certificate_is_named(der: bytes, odd: bytes) -> None:
    found = Wire().client(GREETS).server(hs.server_side(der)).seen
    assert only(found, ODDITY) == [odd]


@given(st.integers(0, 1), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6))
def test_no_change_of_a_handshake_makes_the_parser_fail(side: int, changes: list[tuple[int, int]]) -> None:
    said = [bytearray(ASKED), bytearray(ANSWERED)]
    for at, byte in changes:
        said[side][at % len(said[side])] = byte
    wire = Wire().client(bytes(said[0])).server(bytes(said[1])).close()
    for found in wire.seen:
        dict(found.buffers), dict(found.more)
        json.dumps(dict(found.fields))
    assert not wire.counters["app_layer.error.tls.internal"]


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_fail(data: bytes) -> None:
    for hello in (client_hello(data), server_hello(data)):
        assert re.fullmatch(rb"\d+(,[\d-]*){4}", ja3(hello))
        assert re.fullmatch(rb"t..[di]\d{4}.{2}(_[0-9a-f]{12}){2}", ja4(hello), re.DOTALL)


@given(st.lists(st.tuples(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 255)), max_size=5), st.integers(0, 60))
def test_a_changed_certificate_is_read_or_refused(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(CERTIFICATE)
    for at, byte in changes:
        data[at] = byte
    try:
        read = read_certificate(bytes(data[: len(data) - cut]))
    except Malformed:
        return
    assert re.fullmatch(rb"([0-9A-F]{2}(:[0-9A-F]{2})*)?", read.serial)


# Certificates.


def test_a_certificate_says_what_openssl_reads_in_it(tmp_path: Path) -> None:
    der = hs.certificate(
        subject=((hs.COUNTRY, hs.PRINTABLE, b"XX"), (hs.ORGANISATION, hs.UTF8, "Café".encode()),
                 (hs.COMMON_NAME, hs.UTF8, b"host.example"), ("1.2.840.113549.1.9.1", hs.IA5, b"a@host.example")),
    )  # fmt: skip
    pem = tmp_path / "c.pem"
    pem.write_text(ssl.DER_cert_to_PEM_cert(der))
    theirs = ssl._ssl._test_decode_cert(str(pem))  # type: ignore[attr-defined]
    short = {"countryName": "C", "organizationName": "O", "commonName": "CN", "emailAddress": "Email"}
    spelt = [", ".join(f"{short[key]}={value}" for ((key, value),) in theirs[of]) for of in ("subject", "issuer")]
    ours = read_certificate(der)
    assert [ours.subject.decode(), ours.issuer.decode()] == spelt
    assert ours.serial.replace(b":", b"").decode().removeprefix("00") == theirs["serialNumber"]
    assert [name.decode() for name in ours.names] == [value for _, value in theirs["subjectAltName"]]
    assert (ours.not_before, ours.not_after) == ("2021-01-02T03:04:05", "2051-01-02T03:04:05")
    assert (theirs["notBefore"], theirs["notAfter"]) == ("Jan  2 03:04:05 2021 GMT", "Jan  2 03:04:05 2051 GMT")


@pytest.mark.parametrize(
    ("attribute", "spelt"),
    [
        (("2.5.4.9", hs.UTF8, b"Street 1"), b"streetAddress=Street 1"),
        (("0.9.2342.19200300.100.1.25", hs.IA5, b"example"), b"DC=example"),
        (("2.5.4.97", hs.UTF8, b"x"), b"OID(2.5.4.97)=x"),
        (("1.3.6.1.4.1.99999.300", hs.UTF8, b"x"), b"OID(1.3.6.1.4.1.99999.300)=x"),
        ((hs.COMMON_NAME, hs.PRINTABLE, b"*.host.example"), b"CN=*.host.example"),
        ((hs.COMMON_NAME, hs.BMP, "aé".encode("utf-16-be")), "CN=aé".encode()),
        ((hs.COMMON_NAME, 0x03, b"\0\1\xab"), b"CN=0001AB"),
        ((hs.COMMON_NAME, 0x14, b"caf\xe9"), b"CN=caf\xe9"),
        ((hs.COMMON_NAME, hs.UTF8, b"a\0b"), b"CN=a\0b"),
    ],
)
def test_names_are_spelt_as_suricata_does(attribute: hs.Attribute, spelt: bytes) -> None:
    assert read_certificate(hs.certificate(subject=(attribute,))).subject == spelt


def test_an_empty_name_is_empty() -> None:
    assert read_certificate(hs.certificate(issuer=())).issuer == b""


@pytest.mark.parametrize(
    ("tag", "value", "spelt"),
    [
        (0x17, b"210102030405Z", "2021-01-02T03:04:05"),
        (0x17, b"491231235959Z", "2049-12-31T23:59:59"),
        (0x17, b"500102030405Z", "1950-01-02T03:04:05"),
        (0x17, b"2101020304Z", "2021-01-02T03:04:00"),
        (0x17, b"210102030405+0100", "2021-01-02T02:04:05"),
        (0x18, b"20210102030405Z", "2021-01-02T03:04:05"),
        (0x18, b"202101020304Z", "2021-01-02T03:04:00"),
        (0x18, b"00010101000000+2359", None),
        (0x16, b"210102030405Z", None),
        (0x17, b"211302030405Z", None),
        (0x17, b"", None),
    ],
)
def test_times(tag: int, value: bytes, spelt: str | None) -> None:
    assert read_certificate(hs.certificate(not_before=(tag, value))).not_before == spelt


# Fingerprints and versions.


def test_ja4_follows_its_definition() -> None:
    hello = client_hello(hs.client_hello(hs.EXTENSIONS + hs.OFFERS_13)[4:])
    ciphers = hashlib.sha256(b"002f,1301,c02b").hexdigest()[:12]
    rest = hashlib.sha256(b"000a,000b,000d,002b_0403,0804").hexdigest()[:12]
    assert ja4(hello).decode() == f"t13d0306h2_{ciphers}_{rest}"


@pytest.mark.parametrize(
    ("offered", "shown"),
    [(b"h2", "h2"), (b"http/1.1", "h1"), (b"a", "aa"), (b"", "00"), (b"\n\n", "00"), (b"x\xff", "7f")],
)
def test_the_protocol_in_ja4(offered: bytes, shown: str) -> None:
    assert ja4(client_hello(hs.client_hello(hs.alpn(offered))[4:])).decode()[8:10] == shown


@pytest.mark.parametrize(
    ("legacy", "versions", "shown"),
    [(0x0303, b"\4\x03\x04\x03\x03", "13"), (0x0303, b"\4\x03\x02\x03\x04", "12"), (0x0301, b"\2\x7f\x1c", "00")],
)
def test_the_version_in_ja4(legacy: int, versions: bytes, shown: str) -> None:
    hello = client_hello(hs.client_hello(hs.extension(43, versions), version=legacy)[4:])
    assert ja4(hello).decode()[1:3] == shown


def test_fingerprints_of_a_hello_that_says_nothing() -> None:
    assert ja3(Hello()) == b"0,,,,"
    assert ja4(Hello()) == b"t00i000000_e3b0c44298fc_d2e2adf7177b"


@pytest.mark.parametrize(
    ("version", "of_eve", "of_rules"),
    [
        (0, "UNDETERMINED", b"0x0000"),
        (0x0002, "SSLv2", b"sslv2"),
        (0x0300, "SSLv3", b"sslv3"),
        (0x0301, "TLSv1", b"1.0"),
        (0x0304, "TLS 1.3", b"1.3"),
        (0x7F12, "TLS 1.3 draft-18", b"1.3"),
        (0xFB1A, "TLS 1.3 draft-fb-26", b"1.3"),
        (0x0999, "0x0999", b"0x0999"),
    ],
)
def test_versions(version: int, of_eve: str, of_rules: bytes) -> None:
    assert (eve_name(version), rule_name(version)) == (of_eve, of_rules)


# Events and rules.


def played(tmp_path: Path, match: str, *settings: str) -> Session:
    """Return a session with one rule, after a connection."""
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + rule_text(match, 1, "tls"))
    session = Session(f"rules.paths=[{path}]", *settings, rules=Rules())
    session.tcp(ASKED, to_client(ANSWERED), dport=4443)
    session.end()
    return session


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("[tls.sni: {equals: host.example, nocase: true}]", 1),
        ("[tls.sni: {equals: host.example}]", 0),
        ("[tls.cert_subject: {contains: CN=host.example}]", 1),
        ("[tls.cert_subject: {contains: CN=Some CA}]", 0),
        ("[tls.cert_issuer: {endswith: Some CA}]", 1),
        ("[tls.cert_serial: {equals: '00:97:E6'}]", 1),
        ("[tls.cert_serial: {equals: '00:97:e7'}]", 0),
        (f"[tls.cert_fingerprint: {{equals: '{fingerprint(CERTIFICATE).decode()}'}}]", 1),
        ("[tls.version: {equals: '1.2'}]", 1),
        ("[tls.version: {equals: '1.3'}]", 0),
        (f"[ja3.hash: {{equals: {hashlib.md5(JA3.encode()).hexdigest()}}}]", 1),
        ("[ja3.string: {startswith: '771,4865'}]", 1),
        ("[ja3.string: {startswith: '770,'}]", 0),
        ("[ja3s.hash: {contains: e}]", 1),
        ("[ja4.hash: {startswith: t12d0305h2}]", 1),
        ("[tls.sni: {contains: Host}, ja3s.string: {startswith: '771,49195'}]", 1),
    ],
)
def test_rules_on_buffers(match: str, found: int, tmp_path: Path) -> None:
    assert min(len(played(tmp_path, match).alerts), 1) == found


@pytest.mark.parametrize("with_ja4", [True, False])
def test_events_and_alerts_fit_the_schema(tmp_path: Path, with_ja4: bool) -> None:
    validator = event_validator()
    setting = f"protocols.tls.ja4_in_events={str(with_ja4).lower()}"
    events = [one for one in played(tmp_path, "[tls.cert_subject: {contains: host}]", setting).events if "tls" in one]
    assert [one["event_type"] for one in events] == ["alert", "tls"] or len(events) == 2
    assert all(("ja4" in one["tls"]) == (with_ja4 or one["event_type"] == "alert") for one in events)
    for one in events:
        known = {key: value for key, value in one.items() if key != "ids"}
        assert [error.message for error in validator.iter_errors(known)] == []
