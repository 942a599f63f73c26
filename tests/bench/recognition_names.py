"""What the same protocols are called by each engine.

Ours and Suricata spell them alike, as EVE does. nDPI has names of its own, and many of protocols that no rule can name
here; a name that stands in neither table makes the comparison fail, so that none is passed over unseen.
"""

from __future__ import annotations

from ids.protocols import PROTOCOLS

NDPI: dict[str, str] = {
    "HTTP": "http", "HTTP_Connect": "http", "HTTP_Proxy": "http", "SOAP": "http", "OCSP": "http", "IPP": "http",
    "Direct_Download_Link": "http", "WindowsUpdate": "http", "RTSP": "http", "WebSocket": "websocket", "TLS": "tls",
    "QUIC": "quic", "DNS": "dns", "SSH": "ssh", "SMTP": "smtp", "SMTPS": "tls", "POP3": "pop3", "POPS": "tls",
    "IMAP": "imap", "IMAPS": "tls", "FTP_CONTROL": "ftp", "FTP_DATA": "ftp-data", "NetBIOS TCP": "smb", "SMBv1": "smb",
    "SMBv23": "smb", "DCE_RPC": "dcerpc", "Kerberos": "krb5", "LDAP": "ldap", "RDP": "rdp", "DHCP": "dhcp",
    "SNMP": "snmp", "SIP": "sip", "MQTT": "mqtt", "NTP": "ntp", "TFTP": "tftp", "IPsec": "ike", "Modbus": "modbus",
    "DNP3": "dnp3", "VNC": "rfb", "PostgreSQL": "pgsql", "BitTorrent TCP": "bittorrent",
    "BitTorrent UDP": "bittorrent-dht",
    "Telnet": "telnet", "NFS": "nfs", "MySQL": "mysql", "Redis": "redis", "EthernetIP": "enip", "IRC": "irc",
}  # fmt: skip
"""Names by which nDPI means one of ours; where the transport makes a difference, with it."""
NDPI_OTHERS = frozenset({
    "LLMNR", "MDNS", "NetBIOS UDP", "SSDP", "DHCPV6", "RTP", "RTCP", "STUN", "Teredo", "Mining", "Nats", "CiscoVPN",
    "Skype_Teams", "Syslog", "GTP_U", "GTP_C", "Radius", "WireGuard", "DTLS", "Memcached", "COAP", "WSD", "SOCKS",
    "OpenVPN", "Viber", "TeamViewer", "AnyDesk", "BJNP", "Git", "AMQP", "AJP", "MongoDB", "Zabbix", "s7comm",
})  # fmt: skip
"""Protocols that nothing is asked of here."""
OURS = frozenset(protocol.name for protocol in PROTOCOLS)
SURICATAS = OURS | {"enip", "irc", "msn", "jabber"}


class UnknownName(Exception):
    """An engine said a name that is in no table."""


def of_ndpi(name: str, transport: str) -> str | None:
    """Return our name of what nDPI calls so; None: nothing is asked of it here. Raises `UnknownName`."""
    for spelling in (name, f"{name} {transport}"):
        if spelling in NDPI:
            return NDPI[spelling]
        if spelling in NDPI_OTHERS:
            return None
    raise UnknownName(f"nDPI's {name} over {transport}: add it to {__name__}")


def of_eve(name: str) -> str:
    """Return our name of what EVE calls so. Raises `UnknownName`."""
    if name not in SURICATAS:
        raise UnknownName(f"EVE's {name}: add it to {__name__}")
    return name
