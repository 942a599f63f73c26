"""Names of buffers: Suricata's sticky buffers, their older spellings, and the modifiers of before; and transforms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ids.protocols import ODDITIES, ODDITY
from ids.rules.language.suricata.content import literal_bytes
from ids.rules.language.suricata.draft import Draft, Part
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import intervals, refuse_value, required, unquoted
from ids.rules.model import buffers as catalogue
from ids.rules.model.chain import DECODED, Compare, Number
from ids.rules.model.transforms import KEYWORDS as SPELLINGS

MODIFIERS = {
    "http_uri": "http.uri", "http_raw_uri": "http.uri.raw", "http_method": "http.method", "http_header": "http.header",
    "http_raw_header": "http.header.raw", "http_cookie": "http.cookie", "http_client_body": "http.request_body",
    "http_server_body": "file.data", "http_stat_code": "http.stat_code", "http_stat_msg": "http.stat_msg",
    "http_user_agent": "http.user_agent", "http_host": "http.host", "http_raw_host": "http.host.raw",
}  # fmt: skip
"""Options behind a content that say which buffer it is about."""

OLD_NAMES = {
    "file_data": "file.data", "dns_query": "dns.query", "http_request_line": "http.request_line",
    "http_response_line": "http.response_line", "http_protocol": "http.protocol", "http_start": "http.start",
    "http_header_names": "http.header_names", "http_accept": "http.accept", "http_accept_lang": "http.accept_lang",
    "http_accept_enc": "http.accept_enc", "http_connection": "http.connection",
    "http_content_len": "http.content_len", "http_content_type": "http.content_type", "http_referer": "http.referer",
    "tls_sni": "tls.sni", "tls_cert_subject": "tls.cert_subject", "tls_cert_issuer": "tls.cert_issuer",
    "tls_cert_serial": "tls.cert_serial", "tls_cert_fingerprint": "tls.cert_fingerprint", "ja3_hash": "ja3.hash",
    "ja3_string": "ja3.string", "ja3s_hash": "ja3s.hash", "ja3s_string": "ja3s.string",
    "smb_named_pipe": "smb.named_pipe", "smb_share": "smb.share", "ssh_proto": "ssh.proto",
    "ssh_software": "ssh.software", "ssh_hassh": "ssh.hassh", "ssh-hassh": "ssh.hassh",
    "ssh-hassh-string": "ssh.hassh.string", "ssh-hassh-server": "ssh.hassh.server",
    "ssh-hassh-server-string": "ssh.hassh.server.string",
    "dce_stub_data": "dcerpc.stub_data", "dnp3_data": "dnp3.data", "krb5_cname": "krb5.cname",
    "krb5_sname": "krb5.sname",
}  # fmt: skip
"""Older spellings of sticky buffers. Those of http, dns and tls are in the rules of Suricata 4."""

_SURICATAS = """
    dcerpc.stub_data dnp3.data dns.query dns.answer.name file.data file.name file.magic http.accept http.accept_enc
    http.accept_lang http.connection http.content_len http.content_type http.cookie http.header http.header.raw
    http.header_names http.host http.host.raw http.location http.method http.protocol http.referer http.request_body
    http.request_header http.request_line http.response_body http.response_header http.response_line http.server
    http.start http.stat_code http.stat_msg http.uri http.uri.raw http.user_agent http2.header_name icmpv4.hdr
    icmpv6.hdr ike.init_spi ike.resp_spi ike.nonce_payload ike.key_exchange_payload ike.vendor ip.dst ip.src ipv4.hdr
    ipv6.hdr ja3.hash ja3.string ja3s.hash ja3s.string ja4.hash krb5.cname krb5.sname mqtt.connect.clientid
    mqtt.connect.password mqtt.connect.username mqtt.connect.willmessage mqtt.connect.willtopic mqtt.publish.message
    mqtt.publish.topic mqtt.subscribe.topic mqtt.unsubscribe.topic quic.cyu.hash quic.cyu.string quic.sni quic.ua
    quic.version rfb.name sip.method sip.protocol sip.request_line sip.response_line sip.stat_code sip.stat_msg
    sip.uri smb.named_pipe smb.ntlmssp_domain smb.ntlmssp_user smb.share snmp.community snmp.usm ssh.hassh
    ssh.hassh.server ssh.hassh.server.string ssh.hassh.string ssh.proto ssh.software tcp.hdr tls.cert_fingerprint
    tls.cert_issuer tls.cert_serial tls.cert_subject tls.certs tls.random tls.random_bytes tls.random_time tls.sni
    udp.hdr
"""

SURICATAS = frozenset(_SURICATAS.split())
"""Sticky buffers of Suricata 7: those that are not in the catalogue are refused by name."""

TRANSFORMS = (
    "to_lowercase", "to_uppercase", "to_md5", "to_sha1", "to_sha256", "strip_whitespace", "compress_whitespace",
    "url_decode", "dotprefix", "strip_pseudo_headers", "header_lowercase",
)  # fmt: skip
"""Transforms that take no value."""

TRANSFORMS_WITH_VALUE = ("xor", "pcrexform")

DECIMALS = {
    "dns.opcode": 15,
    "dns.rcode": 65_535,
    "dns.rrtype": 65_535,
    "ftp.dynamic_port": 0xFFFF,
    "tls.cert_chain_len": 0xFFFFFFFF,
}
"""Buffers of the catalogue with a decimal number, and the greatest: options with a value."""

NOT_STICKY = frozenset({
    "tls.version", "file.size", "file.md5", "file.sha1", "file.sha256", "ftp.mode", "ftp.reply_received", "ftp.bounce",
    "ftpdata.command", ODDITY, *DECIMALS,
})  # fmt: skip
"""Buffers of the catalogue that in Suricata are options with a value."""


def sticky(buffer: str) -> Callable[[Draft, str | None], None]:
    """Return what an option does that names a buffer for the tests behind it."""
    return partial(_stick, buffer)


def modifier(buffer: str) -> Callable[[Draft, str | None], None]:
    """Return what an option does that says which buffer the content before it is about."""
    return partial(_move, buffer)


def transform(name: str) -> Callable[[Draft, str | None], None]:
    """Return what an option does that transforms the buffer named before it."""
    return partial(_transform, name)


def require(buffer: str) -> str:
    """Return the buffer; raises `Unsupported` where no parser gives it."""
    refused = catalogue.refusal(buffer, [])
    if refused is not None:
        known = buffer in catalogue.CATALOGUE
        why = refused[0] if known else f"there is no parser that gives {buffer}"
        raise Unsupported(f"buffer {buffer}", why, "test the payload instead")
    return buffer


def _stick(buffer: str, draft: Draft, value: str | None) -> None:
    refuse_value(value)
    draft.stick(require(buffer))


def _move(buffer: str, draft: Draft, value: str | None) -> None:
    refuse_value(value)
    draft.move(require(buffer))


def _transform(name: str, draft: Draft, value: str | None) -> None:
    if name not in TRANSFORMS_WITH_VALUE:
        refuse_value(value)
        draft.transform(SPELLINGS[name])
        return
    text = unquoted(required(value))
    if name == "xor":
        text = "".join(text.split()).lower()
    draft.transform(SPELLINGS[name], text)


def pkt_data(draft: Draft, value: str | None) -> None:
    """``pkt_data``: further tests are on the payload again."""
    refuse_value(value)
    draft.stick(None)


def base64_data(draft: Draft, value: str | None) -> None:
    """``base64_data``: further tests are on what was decoded."""
    refuse_value(value)
    if not draft.decoded:
        raise Malformed("nothing is decoded before it", "put base64_decode before it")
    draft.stick(DECODED)


def equals_in(buffer: str, *, whole: bool = False, ending: bool = False) -> Callable[[Draft, str | None], None]:
    """Return what an option with a text does that stands in a buffer (``tls.subject``), is it or ends it."""

    def option(draft: Draft, value: str | None) -> None:
        text = required(value)
        negated = text.startswith("!")
        raw = literal_bytes(unquoted(text[1:] if negated else text))
        draft.stand_in(require(buffer), b"." + raw if ending else raw, negated, whole=whole, ending=ending)

    return option


def oddity(draft: Draft, value: str | None) -> None:
    """``app-layer-event:dns.z_flag_set``: what a parser found odd."""
    event = unquoted(required(value)).lower()
    if event not in ODDITIES:
        why = f"no parser here says {event[:60]}"
        raise Unsupported("app-layer-event", why, catalogue.nearest(event, sorted(ODDITIES)))
    draft.stand_in(ODDITY, event.encode(), False, whole=True, ending=False)


def decimal_in(buffer: str) -> Callable[[Draft, str | None], None]:
    """Return what an option with a number or a range does that is about a number in a buffer (``dns.opcode``)."""

    def option(draft: Draft, value: str | None) -> None:
        ((least, most),), negated = intervals(required(value), DECIMALS[buffer])
        part = Part(require(buffer))
        digits = Number(0, base=10)
        if least == most:
            part.steps.append(Compare(digits, "=", least, negated))
        else:
            part.steps += [Compare(digits, ">=", least), Compare(digits, "<=", most)]
        draft.parts.append(part)

    return option
