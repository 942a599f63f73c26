"""Every protocol that is known here: to add one, write its module and put its descriptor into `PROTOCOLS`."""

from __future__ import annotations

from ids.protocols import (
    dcerpc,
    dns,
    ftp,
    http,
    http2,
    krb5,
    ldap,
    mailbox,
    nfs,
    quic,
    rdp,
    sides,
    smb,
    smtp,
    ssh,
    tls,
    websocket,
)  # fmt: skip
from ids.protocols.mime import EMAIL_BUFFERS
from ids.protocols.protocol import ODDITY, Buffer, Protocol
from ids.protocols.rare import (
    bittorrent,
    dhcp,
    dnp3,
    enip,
    ike,
    modbus,
    mqtt,
    mysql,
    ntp,
    pgsql,
    redis,
    rfb,
    sip,
    snmp,
    telnet,
    tftp,
)
from ids.types import Direction

PROTOCOLS: tuple[Protocol, ...] = (
    http2.PROTOCOL,
    tls.PROTOCOL,
    ssh.PROTOCOL,
    smb.PROTOCOL,
    dcerpc.PROTOCOL,
    krb5.PROTOCOL,
    rdp.PROTOCOL,
    ldap.PROTOCOL,
    smtp.PROTOCOL,
    sip.PROTOCOL,
    http.PROTOCOL,
    ftp.PROTOCOL,
    ftp.DATA,
    mailbox.IMAP,
    mailbox.POP3,
    quic.PROTOCOL,
    mqtt.PROTOCOL,
    rfb.PROTOCOL,
    dnp3.PROTOCOL,
    modbus.PROTOCOL,
    enip.PROTOCOL,
    bittorrent.PEERS,
    telnet.PROTOCOL,
    nfs.PROTOCOL,
    mysql.PROTOCOL,
    redis.PROTOCOL,
    pgsql.PROTOCOL,
    ike.PROTOCOL,
    dhcp.PROTOCOL,
    snmp.PROTOCOL,
    bittorrent.DHT,
    tftp.PROTOCOL,
    ntp.PROTOCOL,
    dns.PROTOCOL,
    websocket.PROTOCOL,
)
"""In the order in which they are tried: where two patterns fit, the first has it."""

BY_NAME: dict[str, Protocol] = {protocol.name: protocol for protocol in PROTOCOLS}

OTHER_NAMES = frozenset({"irc"})
"""EVE's names of protocols that nothing here recognises: a rule that names one is refused with that reason."""

SHARED_BUFFERS = (
    Buffer("file.data", None, None, "content of a transferred file or body, decompressed", several=True, grows=True),
    Buffer("file.name", None, None, "name of a transferred file, else the path of what was asked for", grows=True),
    Buffer("file.magic", None, None, "what a file is by its content, in libmagic's words", grows=True),
    Buffer("file.size", None, None, "bytes of a file that has ended, as a decimal number", grows=True),
    Buffer("file.md5", None, None, "MD5 of a complete file, in hexadecimal", grows=True),
    Buffer("file.sha1", None, None, "SHA-1 of a complete file, in hexadecimal", grows=True),
    Buffer("file.sha256", None, None, "SHA-256 of a complete file, in hexadecimal", grows=True),
    *dcerpc.BUFFERS,
    Buffer(ODDITY, None, None, "what a parser found odd, by Suricata's names: `dns.z_flag_set`", several=True),
    *(Buffer(name, None, None, text, several=True) for name, text in EMAIL_BUFFERS.items()),
    Buffer("ja3.hash", None, Direction.TO_SERVER, "JA3 of the client, hexadecimal"),
    Buffer("ja3.string", None, Direction.TO_SERVER, "JA3 string of the client"),
    Buffer("ja3s.hash", None, Direction.TO_CLIENT, "JA3S of the server, hexadecimal"),
    Buffer("ja3s.string", None, Direction.TO_CLIENT, "JA3S string of the server"),
    Buffer("ja4.hash", None, Direction.TO_SERVER, "JA4 of the client"),
)
"""Buffers that parsers of several protocols fill."""

BUFFERS: dict[str, Buffer] = {
    buffer.name: buffer
    for buffers in (SHARED_BUFFERS, http.PROTOCOL.buffers, *(protocol.buffers for protocol in PROTOCOLS))
    for buffer in buffers
}
"""By name: the shared ones, then those that a parser fills, then the others."""

ODDITIES = frozenset(
    (
        *(f"{protocol.name}.{oddity}" for protocol in PROTOCOLS for oddity in protocol.oddities),
        *(event.decode() for event in sides.EVENTS),
    )
)
"""All that can stand in the buffer `ODDITY`."""

EVENT_OF: dict[str, str] = {protocol.name: protocol.event or protocol.name for protocol in PROTOCOLS}
"""By protocol: the type of its event, which is also the key of its object in events."""

OF_SENDER = frozenset(protocol.event for protocol in PROTOCOLS if protocol.of_sender)
"""Types of events that name the sender of the message first."""

EVENT_TYPES = tuple(dict.fromkeys(protocol.event for protocol in PROTOCOLS if protocol.event is not None))
"""Types of the events that are written for transactions."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "http": ("http", "http2"), "http1": ("http",), "dcerpc": ("dcerpc", "smb"),
}  # fmt: skip
"""Names that a rule may say for several protocols, or for one that has another name here. All of a family fill the
buffers of the first."""


def meant(name: str) -> tuple[str, ...]:
    """Return the protocols that a rule means by a name."""
    return FAMILIES.get(name, (name,))
