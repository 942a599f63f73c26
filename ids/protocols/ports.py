"""Whose a port is: a protocol that shows at another's is reported, for who hides goes where nobody looks closely."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ids.types import I64, Bool, FlowColumns

MAX_REPORTED = 256
"""Of one batch; the others are counted."""
HOMES: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...] = (
    ((20,), ("ftp-data",)),
    ((21,), ("ftp", "tls")),
    ((22,), ("ssh",)),
    ((23,), ("telnet",)),
    ((25, 587), ("smtp", "tls")),
    ((53,), ("dns",)),
    ((67, 68), ("dhcp",)),
    ((69,), ("tftp",)),
    ((80, 8080), ("http", "http2", "websocket")),
    ((88,), ("krb5",)),
    ((110,), ("pop3", "tls")),
    ((123,), ("ntp",)),
    ((135,), ("dcerpc",)),
    ((139, 445), ("smb", "dcerpc")),
    ((143,), ("imap", "tls")),
    ((161, 162), ("snmp",)),
    ((389, 3268), ("ldap", "tls")),
    ((443, 8443), ("tls", "quic", "http2")),
    ((465, 636, 853, 989, 990, 993, 995, 3269, 8883), ("tls", "quic")),
    ((500, 4500), ("ike",)),
    ((502,), ("modbus",)),
    ((1883,), ("mqtt",)),
    ((2049,), ("nfs",)),
    ((3306,), ("mysql", "tls")),
    ((3389,), ("rdp", "tls")),
    ((5060,), ("sip",)),
    ((5061,), ("tls", "sip")),
    ((5432,), ("pgsql", "tls")),
    ((5900, 5901), ("rfb",)),
    ((6379,), ("redis", "tls")),
    ((20000,), ("dnp3",)),
    ((44818,), ("enip",)),
)
"""Ports of servers (IANA's, and usage), and what is said there; where both sides may agree on TLS, that too; HTTP/2 in
clear is behind what ends TLS."""


class Homes:
    """Which protocols are at home at which port, asked of many flows at once. Behind a handover any may come."""

    def __init__(self, flows: FlowColumns, codes: Mapping[str, int]) -> None:
        """``codes`` has those of `FlowColumns.app_proto`, by name; of a protocol that is not among them, nothing is
        known."""
        self._flows = flows
        self._home = np.zeros(1 << 16, np.int64)
        """By port: its row in ``_at_home``; 0: nobody's."""
        self._at_home: Bool = np.zeros((len(HOMES) + 1, max(codes.values(), default=0) + 1), np.bool_)
        self._at_home[0] = True
        for row, (ports, names) in enumerate(HOMES, 1):
            self._home[list(ports)] = row
            self._at_home[row, [codes[name] for name in names if name in codes]] = True

    def strangers(self, slots: I64, codes: I64) -> I64:
        """Return those of the flows whose server is at the port of another protocol than theirs."""
        at_home = self._at_home[self._home[self._flows.dport[slots]], codes]
        return np.asarray(slots[~at_home & (self._flows.app_orig[slots] == 0)], np.int64)
