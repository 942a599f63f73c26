"""What is in the data of DNS records, and how Suricata names types and codes in EVE."""

from __future__ import annotations

from socket import AF_INET, inet_ntop
from struct import Struct
from typing import Any

from ids.protocols.dns.message import Message, Record
from ids.protocols.dns.names import Malformed
from ids.protocols.spelling import text

A, NS, CNAME, SOA, NULL, PTR, MX, TXT, AAAA, SRV, OPT, SSHFP = 1, 2, 5, 6, 10, 12, 15, 16, 28, 33, 41, 44

RRTYPES = {
    1: "A", 2: "NS", 3: "ND", 4: "MF", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR", 10: "NULL", 11: "WKS",
    12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 19: "X25", 20: "ISDN", 21: "RT",
    22: "NSAP", 23: "NSAPPT", 24: "SIG", 25: "KEY", 26: "PX", 27: "GPOS", 28: "AAAA", 29: "LOC", 30: "NXT", 33: "SRV",
    34: "ATMA", 35: "NAPTR", 36: "KX", 37: "CERT", 38: "A6", 39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP",
    45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA",
    55: "HIP", 59: "CDS", 60: "CDSNKEY", 65: "HTTPS", 99: "SPF", 249: "TKEY", 250: "TSIG", 254: "MAILA", 255: "ANY",
    256: "URI",
}  # fmt: skip
"""Types by the names that Suricata 7 gives them, its slips (3, 23, 60) included; it writes others as numbers."""

RCODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
    "NOTZONE", "11", "12", "13", "14", "15",
)  # fmt: skip
"""Codes of the header, by number."""

_SOA = Struct(">5I").unpack_from
_SRV = Struct(">3H").unpack_from


def rrtype_name(number: int) -> str:
    """Return how EVE spells a type."""
    return RRTYPES.get(number) or str(number)


def values(message: Message, record: Record) -> list[Any]:
    """Return what EVE says of a record's data: words, or an object; several for a TXT record of several strings.

    Of a type that EVE says nothing of, and of data that cannot be read: nothing.
    """
    of = _OF_TYPE.get(record.rrtype)
    if of is None:
        return []
    try:
        return of(message, record)
    except (Malformed, IndexError):
        return []


def key(rrtype: int) -> str:
    """Return under which key EVE has the value of a record."""
    return _KEYS.get(rrtype, "rdata")


def _address(message: Message, record: Record) -> list[Any]:
    raw = message.data[record.start : record.end]
    if len(raw) == 4:
        return [inet_ntop(AF_INET, raw)]
    return [raw.hex(":", 2) if len(raw) == 16 else ""]


def _name(message: Message, record: Record, skipped: int = 0) -> list[Any]:
    at = record.start + skipped
    return [text(message.names.read(at)[0])] if at < record.end else []


def _mail(message: Message, record: Record) -> list[Any]:
    return _name(message, record, skipped=2)


def _strings(message: Message, record: Record) -> list[Any]:
    data, at, found = message.data, record.start, []
    while at < record.end:
        after = at + 1 + data[at]
        found.append(text(data[at + 1 : min(after, record.end)]))
        at = after
    return found


def _raw(message: Message, record: Record) -> list[Any]:
    return [text(message.data[record.start : record.end])]


def _authority(message: Message, record: Record) -> list[Any]:
    mname, at = message.names.read(record.start)
    rname, at = message.names.read(at)
    if at + 20 > record.end:
        return []
    serial, refresh, retry, expire, minimum = _SOA(message.data, at)
    return [
        {
            "mname": text(mname), "rname": text(rname), "serial": serial, "refresh": refresh, "retry": retry,
            "expire": expire, "minimum": minimum,
        }
    ]  # fmt: skip


def _service(message: Message, record: Record) -> list[Any]:
    if record.start + 6 > record.end:
        return []
    priority, weight, port = _SRV(message.data, record.start)
    name = text(message.names.read(record.start + 6)[0])
    return [{"priority": priority, "weight": weight, "port": port, "name": name}]


def _host_key(message: Message, record: Record) -> list[Any]:
    raw = message.data[record.start : record.end]
    return [{"fingerprint": raw[2:].hex(":"), "algo": raw[0], "type": raw[1]}]


_OF_TYPE = {
    A: _address, AAAA: _address, NS: _name, CNAME: _name, PTR: _name, MX: _mail, TXT: _strings, NULL: _raw,
    SOA: _authority, SRV: _service, SSHFP: _host_key,
}  # fmt: skip
_KEYS = {SOA: "soa", SRV: "srv", SSHFP: "sshfp"}
