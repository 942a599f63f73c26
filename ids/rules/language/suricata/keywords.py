"""The table of all options: what each does to a draft."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ids.protocols.rare.dnp3 import FUNCTION_CODES, INDICATORS
from ids.protocols.rare.enip import COMMANDS
from ids.protocols.rare.mqtt_message import TYPES as MQTT_TYPES
from ids.rules.language.suricata import (
    addresses,
    asn1,
    buffers,
    content,
    dcerpc,
    flow,
    frames,
    header,
    kerberos,
    listed,
    lua,
    meta,
    modbus,
    numbers,
    packet,
    rpc,
    sessions,
    sets,
    state,
    tls,
    transfers,
)
from ids.rules.language.suricata.draft import Draft
from ids.rules.model.buffers import CATALOGUE

Builder = Callable[[Draft, "str | None"], None]

_STICKY = (buffers.SURICATAS | CATALOGUE.keys()) - buffers.NOT_STICKY - set(frames.KNOWN) - {"payload"}

KEYWORDS: dict[str, Builder] = {
    **{name: buffers.sticky(name) for name in _STICKY},
    **{name: buffers.sticky(buffer) for name, buffer in buffers.OLD_NAMES.items()},
    **{name: buffers.modifier(buffer) for name, buffer in buffers.MODIFIERS.items()},
    **{name: buffers.transform(name) for name in (*buffers.TRANSFORMS, *buffers.TRANSFORMS_WITH_VALUE)},
    "pkt_data": buffers.pkt_data,
    "base64_data": buffers.base64_data,
    "frame": frames.frame,
    **{name: buffers.decimal_in(name) for name in buffers.DECIMALS},
    **{name: buffers.named_number_in(name) for name in buffers.NAMED_NUMBERS},
    "http2.settings": buffers.setting,
    "websocket.flags": buffers.flags,
    "tls.version": buffers.equals_in("tls.version", whole=True),
    "tls.subject": buffers.equals_in("tls.cert_subject", nocase=False),
    "tls.issuerdn": buffers.equals_in("tls.cert_issuer", nocase=False),
    "tls.fingerprint": buffers.equals_in("tls.cert_fingerprint"),
    "dcerpc.iface": dcerpc.iface,
    "dce_iface": dcerpc.iface,
    "dcerpc.opnum": dcerpc.opnum,
    "dce_opnum": dcerpc.opnum,
    "krb5_err_code": kerberos.error_code,
    "krb5_msg_type": kerberos.message_type,
    "krb5.ticket_encryption": kerberos.ticket_encryption,
    "ssl_version": tls.ssl_version,
    "tls_cert_notbefore": tls.cert_time("tls.cert_notbefore"),
    "tls_cert_notafter": tls.cert_time("tls.cert_notafter"),
    "tls_cert_valid": tls.cert_validity(b"valid"),
    "tls_cert_expired": tls.cert_validity(b"expired"),
    "ssl_state": tls.ssl_state,
    "app-layer-event": buffers.oddity,
    "modbus": modbus.modbus,
    **{
        name: option
        for word, option in (
            ("func", listed.number_of("dnp3.func", FUNCTION_CODES, 255)),
            ("ind", listed.any_bit_of("dnp3.ind", INDICATORS)),
            ("obj", listed.pair_of("dnp3.obj")),
        )
        for name in (f"dnp3_{word}", f"dnp3.{word}")
    },
    "enip_command": listed.number_of("enip.command", COMMANDS, 0xFFFF),
    "cip_service": listed.cip_service,
    **{name: buffers.decimal_in("nfs.version", closed=True) for name in ("nfs.version", "nfs_version")},
    **{name: buffers.decimal_in("nfs.procedure", closed=True) for name in ("nfs.procedure", "nfs_procedure")},
    "rfb.secresult": listed.one_of("rfb.secresult", ("ok", "fail", "toomany", "unknown")),
    "ike.chosen_sa_attribute": buffers.equals_in("ike.chosen_sa_attribute", whole=True),
    "mqtt.type": listed.one_of("mqtt.type", [name.upper() for name in MQTT_TYPES[1:]] + ["UNASSIGNED"]),
    "mqtt.flags": listed.flags_of("mqtt.flags", ("dup", "retain")),
    "mqtt.connect.flags": listed.flags_of(
        "mqtt.connect.flags", ("username", "password", "will_retain", "will", "clean_session")
    ),
    "mqtt.connack.session_present": listed.one_of(
        "mqtt.connack.session_present", ("true", "false"), {"yes": "true", "no": "false"}
    ),
    "filename": buffers.equals_in("file.name"),
    "fileext": buffers.equals_in("file.name", ending=True),
    "ssh.protoversion": sessions.ssh_version,
    "ssh.softwareversion": sessions.ssh_software,
    "ftpbounce": sessions.ftp_bounce,
    "ftpdata_command": buffers.equals_in("ftpdata.command", whole=True),
    "ftp.mode": buffers.equals_in("ftp.mode", whole=True),
    "ftp.reply_received": buffers.equals_in("ftp.reply_received", whole=True),
    "filemagic": buffers.equals_in("file.magic"),
    "filesize": transfers.filesize,
    "filemd5": transfers.listed_digest("md5"),
    "filesha1": transfers.listed_digest("sha1"),
    "filesha256": transfers.listed_digest("sha256"),
    "filestore": transfers.filestore,
    # contents
    "content": content.content,
    "uricontent": content.uricontent,
    "pcre": content.pcre,
    "nocase": content.nocase,
    "rawbytes": content.rawbytes,
    "depth": content.depth,
    "offset": content.offset,
    "distance": content.distance,
    "within": content.within,
    "startswith": content.startswith,
    "endswith": content.endswith,
    "fast_pattern": content.fast_pattern,
    "isdataat": content.isdataat,
    "bsize": content.bsize,
    "urilen": content.urilen,
    "dataset": sets.dataset,
    "datarep": sets.datarep,
    # numbers
    "byte_test": numbers.byte_test,
    "byte_jump": numbers.byte_jump,
    "byte_extract": numbers.byte_extract,
    "byte_math": numbers.byte_math,
    "asn1": asn1.asn1,
    "rpc": rpc.rpc,
    "base64_decode": numbers.base64_decode,
    "lua": lua.lua,
    "luajit": lua.lua,
    # packets
    **{name: packet.header_number(name) for name in packet.NUMBERS},
    **{f"{layer}-csum": packet.checksum(layer) for layer in packet.CHECKSUMS},
    "dsize": packet.dsize,
    "tos": packet.tos,
    "ip_proto": packet.ip_proto,
    "l3_proto": header.l3_proto,
    "flags": packet.flags,
    "tcp.flags": packet.flags,
    "fragbits": packet.fragbits,
    "ipopts": packet.ipopts,
    "sameip": packet.sameip,
    "decode-event": packet.noted("decode"),
    "engine-event": packet.engine_event,
    "stream-event": packet.noted("stream"),
    "geoip": addresses.geoip,
    "iprep": addresses.iprep,
    **{name: addresses.sticky(name) for name in addresses.BUFFERS},
    # flows and state
    "flow": flow.flow,
    "stream_size": flow.stream_size,
    "app-layer-protocol": flow.app_layer_protocol,
    "flowbits": state.flowbits,
    "hostbits": state.hostbits,
    "xbits": state.xbits,
    "flowint": state.flowint,
    "flowvar": state.text_of("flow"),
    "pktvar": state.text_of("pkt"),
    "noalert": state.noalert,
    "alert": state.alert,
    "config": state.config,
    "bypass": state.bypass,
    "threshold": state.threshold,
    "detection_filter": state.detection_filter,
    "tag": state.tag,
    # identity
    "msg": meta.msg,
    "sid": meta.sid,
    "rev": meta.rev,
    "gid": meta.gid,
    "priority": meta.priority,
    "classtype": meta.classtype,
    "reference": meta.reference,
    "metadata": meta.metadata,
    "target": meta.target,
    "prefilter": meta.without_effect,
}
"""By name, in lower case as Suricata has them."""

IN_QUOTES = frozenset((
    "content", "filemagic", "msg", "pcrexform", "tls.fingerprint", "tls.issuerdn", "tls.subject", "uricontent", "xor",
))  # fmt: skip
"""Options whose value stands in quotes."""

MAYBE_IN_QUOTES = IN_QUOTES | frozenset((
    "app-layer-protocol", "fileext", "filename", "ip_proto", "pcre", "replace", "ssh.protoversion",
    "ssh.softwareversion", "tos",
))  # fmt: skip
"""Options whose value may stand in quotes; that of all others may not."""

KEYWORDS["requires"] = partial(meta.requires, KEYWORDS)

_KNOWN = """
    bypass cip_service config dhcp.leasetime dhcp.rebinding_time dhcp.renewal_time dnp3_func dnp3_ind dnp3_obj
    enip_command flow.age flowvar frame ftpbounce
    ftpdata_command geoip http2.errorcode http2.frametype http2.priority http2.settings http2.size_update http2.window
    ike.chosen_sa_attribute ike.exchtype ike.key_exchange_payload_length ike.nonce_payload_length iprep
    modbus mqtt.connack.session_present mqtt.connect.flags mqtt.flags mqtt.protocol_version mqtt.qos mqtt.reason_code
    mqtt.type nfq_set_mark nfs.version nfs_procedure nfs_version pktvar replace rfb.secresult rfb.sectype snmp.pdu_type
    snmp.version ssh.softwareversion ssl_state ssl_version tls_cert_expired tls_cert_notafter tls_cert_notbefore
    tls.store tls_cert_valid tls_store vxlan_vni
"""

LATER = frozenset(_KNOWN.split()) - KEYWORDS.keys()
"""Options of Suricata that are refused by name."""
