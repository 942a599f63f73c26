"""Every protocol that is known here: to add one, write its module and put its descriptor into `PROTOCOLS`."""

from __future__ import annotations

from ids.protocols import dns, ftp, http, mailbox, recognised, smtp, ssh, tls
from ids.protocols.mime import EMAIL_BUFFERS
from ids.protocols.protocol import ODDITY, Buffer, Protocol

PROTOCOLS: tuple[Protocol, ...] = (
    recognised.HTTP2,
    tls.PROTOCOL,
    ssh.PROTOCOL,
    recognised.SMB,
    smtp.PROTOCOL,
    http.PROTOCOL,
    ftp.PROTOCOL,
    ftp.DATA,
    mailbox.IMAP,
    mailbox.POP3,
    dns.PROTOCOL,
)
"""In the order in which they are tried: where two patterns fit, the first has it."""

BY_NAME: dict[str, Protocol] = {protocol.name: protocol for protocol in PROTOCOLS}

OTHER_NAMES = frozenset(
    {"dhcp", "dnp3", "ike", "krb5", "ldap", "modbus", "mqtt", "nfs", "ntp", "pgsql", "quic", "rdp", "rfb",
     "sip", "snmp", "telnet", "tftp"}
)  # fmt: skip
"""EVE's names of protocols that nothing here recognises: a rule that names one is refused with that reason."""

SHARED_BUFFERS = (
    Buffer("file.data", None, None, "content of a transferred file or body, decompressed", several=True, grows=True),
    Buffer("file.name", None, None, "name of a transferred file, else the path of what was asked for", grows=True),
    Buffer("file.magic", None, None, "what a file is by its content, in libmagic's words", grows=True),
    Buffer("file.size", None, None, "bytes of a file that has ended, as a decimal number", grows=True),
    Buffer("file.md5", None, None, "MD5 of a complete file, in hexadecimal", grows=True),
    Buffer("file.sha1", None, None, "SHA-1 of a complete file, in hexadecimal", grows=True),
    Buffer("file.sha256", None, None, "SHA-256 of a complete file, in hexadecimal", grows=True),
    Buffer(ODDITY, None, None, "what a parser found odd, by Suricata's names: `dns.z_flag_set`", several=True),
    *(Buffer(name, None, None, text, several=True) for name, text in EMAIL_BUFFERS.items()),
)
"""Buffers that parsers of several protocols fill."""

BUFFERS: dict[str, Buffer] = {
    buffer.name: buffer
    for buffers in (SHARED_BUFFERS, http.PROTOCOL.buffers, *(protocol.buffers for protocol in PROTOCOLS))
    for buffer in buffers
}
"""By name: the shared ones, then those that a parser fills, then the others."""

ODDITIES = frozenset(f"{protocol.name}.{oddity}" for protocol in PROTOCOLS for oddity in protocol.oddities)
"""All that can stand in the buffer `ODDITY`."""

EVENT_OF: dict[str, str] = {protocol.name: protocol.event or protocol.name for protocol in PROTOCOLS}
"""By protocol: the type of its event, which is also the key of its object in events."""

EVENT_TYPES = tuple(dict.fromkeys(protocol.event for protocol in PROTOCOLS if protocol.event is not None))
"""Types of the events that are written for transactions."""
