"""Names of buffers: Suricata's sticky buffers, their older spellings, and the modifiers of before; and transforms."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ids.later import late_pattern
from ids.protocols import ODDITIES, ODDITY
from ids.protocols.http2.frames import ERRORS, SETTING_NAMES, TYPES
from ids.protocols.websocket.frames import FLAGS, OPCODES
from ids.rules.language.suricata.content import literal_bytes
from ids.rules.language.suricata.draft import Draft, Part, Piece
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.unsaid import UNSAID
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
    "ja3_string": "ja3.string", "ja4_hash": "ja4.hash", "ja3s_hash": "ja3s.hash", "ja3s_string": "ja3s.string",
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
    "dns.opcode": 255, "dns.rcode": 65_535, "dns.rrtype": 65_535, "tls.cert_chain_len": 0xFFFFFFFF,
    "http2.priority": 255, "http2.window": 0xFFFFFFFF, "http2.size_update": 0xFFFFFFFF, "websocket.mask": 0xFFFFFFFF,
    "smb.version": 3, "ftp.dynamic_port": 65_535,
    "dhcp.leasetime": 0xFFFFFFFF, "dhcp.renewal_time": 0xFFFFFFFF, "dhcp.rebinding_time": 0xFFFFFFFF,
    "snmp.version": 0xFFFFFFFF, "snmp.pdu_type": 0xFFFFFFFF,
    "mqtt.protocol_version": 255, "mqtt.reason_code": 255, "mqtt.qos": 2,
    "rfb.sectype": 0xFFFFFFFF, "ike.exchtype": 255, "ike.key_exchange_payload_length": 0xFFFFFFFF,
    "ike.nonce_payload_length": 0xFFFFFFFF,
    "nfs.version": 0xFFFFFFFF, "nfs.procedure": 0xFFFFFFFF, "nfs.uid": 0xFFFFFFFF, "nfs.gid": 0xFFFFFFFF,
    "mysql.rows": 0xFFFFFFFF, "mysql.affected_rows": 0xFFFFFFFF, "mysql.error_code": 65_535,
}  # fmt: skip
"""Buffers of the catalogue with a decimal number, and the greatest: options with a value."""

NAMED_NUMBERS: dict[str, dict[str, int]] = {
    "http2.frametype": {name: number for number, name in enumerate(TYPES)},
    "http2.errorcode": {name: number for number, name in enumerate(ERRORS)},
    "websocket.opcode": {name: number for number, name in OPCODES.items()},
}
"""Buffers of the catalogue with a decimal number below 256 or a code that has a name: options with either."""

_SETTING = late_pattern(r"([A-Za-z_]+)\s*((?:[=<>!\d ].*)?)")
_MASKED = late_pattern(r"&\s*(0x[0-9a-f]{1,2}|\d{1,3})\s*(=|!=)\s*(0x[0-9a-f]{1,2}|\d{1,3})")

SAME_EVENTS = {"dns.not_request": "dns.not_a_request", "dns.not_response": "dns.not_a_response"}
"""Other names of events, those of the rules that come with Suricata."""

WORDS = frozenset(
    {
        "mqtt.type",
        "mqtt.flags",
        "mqtt.connect.flags",
        "mqtt.connack.session_present",
        "rfb.secresult",
        "ike.chosen_sa_attribute",
        "dnp3.func",
        "dnp3.obj",
        "dnp3.ind",
        "modbus.category",
        "modbus.access",
        "modbus.address",
        "modbus.value",
        "enip.command",
        "cip.service",
    }
)
"""Buffers of the catalogue with words: options with a value, in `ids.rules.language.suricata.listed`."""

NOT_STICKY = frozenset({
    "tls.version", "tls.cert_notbefore", "tls.cert_notafter", "tls.cert_validity",
    "file.size", "file.md5", "file.sha1", "file.sha256", "http2.settings", "websocket.flags", ODDITY,
    "dcerpc.iface", "dcerpc.opnum", "krb5.ticket_encryption", "ftp.mode", "ftp.reply_received", "ftp.bounce",
    "ftpdata.command",
    *DECIMALS, *NAMED_NUMBERS, *WORDS,
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


def equals_in(
    buffer: str, *, whole: bool = False, ending: bool = False, nocase: bool = True
) -> Callable[[Draft, str | None], None]:
    """Return what an option with a text does that stands in a buffer (``tls.subject``), is it or ends it."""

    def option(draft: Draft, value: str | None) -> None:
        text = required(value)
        negated = text.startswith("!")
        raw = literal_bytes(unquoted(text[1:] if negated else text))
        draft.stand_in(
            require(buffer), b"." + raw if ending else raw, negated, whole=whole, ending=ending, nocase=nocase
        )

    return option


def oddity(draft: Draft, value: str | None) -> None:
    """``app-layer-event:dns.z_flag_set``: what a parser found odd."""
    event = unquoted(required(value)).lower()
    event = SAME_EVENTS.get(event, event)
    if event not in ODDITIES:
        if event in UNSAID:
            raise Unsupported("app-layer-event", f"{event}: {UNSAID[event]}")
        why = f"no parser here says {event[:60]}"
        raise Unsupported("app-layer-event", why, catalogue.nearest(event, sorted(ODDITIES)))
    draft.stand_in(ODDITY, event.encode(), False, whole=True, ending=False)


def decimal_in(buffer: str, *, closed: bool = False) -> Callable[[Draft, str | None], None]:
    """Return what an option with a number or a range does that is about a number in a buffer (``dns.opcode``).

    ``closed``: both ends of a range are in it, as of a few in Suricata.
    """

    def option(draft: Draft, value: str | None) -> None:
        part = Part(require(buffer))
        _compare(part, Number(0, base=10), required(value), DECIMALS[buffer], closed=closed)
        draft.parts.append(part)

    return option


def _compare(part: Part, digits: Number, text: str, most: int, *, closed: bool = False) -> None:
    """Add to a part that a number in its buffer is one of these."""
    ((low, high),), negated = intervals(text, most, closed=closed)
    if low == high:
        part.steps.append(Compare(digits, "=", low, negated))
    else:
        part.steps += [Compare(digits, ">=", low), Compare(digits, "<=", high)]


def named_number_in(buffer: str) -> Callable[[Draft, str | None], None]:
    """Return what an option with a name or a number does that stands for a number in a buffer (``http2.frametype``)."""
    named = {name.replace("_", "").lower(): number for name, number in NAMED_NUMBERS[buffer].items()}

    def option(draft: Draft, value: str | None) -> None:
        text = unquoted(required(value)).strip()
        part = Part(require(buffer))
        number = named.get(text.lstrip("!").strip().replace("_", "").lower())
        if number is not None:
            part.steps.append(Compare(Number(0, base=10), "=", number, text.startswith("!")))
        elif text[:1].isalpha():
            raise Malformed(
                f"{text[:40]!r} is none that {buffer} has", catalogue.nearest(text, list(NAMED_NUMBERS[buffer]))
            )
        else:
            _compare(part, Number(0, base=10), text, 0xFFFFFFFF)
        draft.parts.append(part)

    return option


def setting(draft: Draft, value: str | None) -> None:
    """``http2.settings:SETTINGS_HEADER_TABLE_SIZE>1000``: a setting, and of it a number or a range."""
    found = _SETTING.fullmatch(unquoted(required(value)).strip())
    names = sorted(SETTING_NAMES.values())
    if found is None or found[1].upper() not in names:
        raise Malformed("it begins with no name of a setting", f"names are {', '.join(names)}")
    name = found[1].upper().encode() + b" "
    part = Part(require("http2.settings"))
    part.steps.append(Piece(name, False, part, at_start=True))
    if found[2]:
        _compare(part, Number(0, offset=len(name), base=10), found[2].strip(), 0xFFFFFFFF)
    draft.parts.append(part)


def flags(draft: Draft, value: str | None) -> None:
    """``websocket.flags:fin,!comp``, ``websocket.flags:&0x40=0x40`` or a number: flags of a frame."""
    text = unquoted(required(value)).strip().lower()
    part = Part(require("websocket.flags"))
    digits = Number(0, base=10)
    masked = _MASKED.fullmatch(text)
    if masked is not None:
        bits, wanted = int(masked[1], 0), int(masked[3], 0)
        if masked[2] == "!=" and bits.bit_count() > 1:
            raise Malformed("several bits are compared at once", "write one rule for each")
        for bit in (1 << at for at in range(8) if bits >> at & 1):
            part.steps.append(Compare(digits, "&", bit, bool(wanted & bit) == (masked[2] == "!=")))
    elif text.lstrip("!")[:1].isalpha():
        for word in text.split(","):
            bit = FLAGS.get(word.strip().lstrip("!").strip(), 0)
            if not bit:
                raise Malformed(f"{word[:40]!r} is no flag", f"flags are {', '.join(FLAGS)}")
            part.steps.append(Compare(digits, "&", bit, word.strip().startswith("!")))
    else:
        _compare(part, digits, text, 0xFF)
    draft.parts.append(part)
