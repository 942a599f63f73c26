"""DHCP for IPv4 (RFC 2131, RFC 2132): each message is a transaction."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ids.protocols.dialogue import Dialogue, DialogueSettings, speaking
from ids.protocols.framing import Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.spelling import text
from ids.types import Direction

_COOKIE = b"\x63\x82\x53\x63"
_HEAD = 236
"""Bytes before the cookie."""
MAX_OPTIONS = 256
"""Options of one message that are read: there are no more codes."""
_REQUEST, _REPLY = 1, 2
_END = b"\xff"
_MASK, _ROUTERS, _DNS, _HOSTNAME, _REQUESTED, _LEASE, _TYPE, _PARAMETERS = 1, 3, 6, 12, 50, 51, 53, 55
_RENEWAL, _REBINDING, _VENDOR, _CLIENT = 58, 59, 60, 61
_ACK = 5
_TYPES = ("discover", "offer", "request", "decline", "ack", "nak", "release", "inform")
_NAMED = {
    1: "subnet_mask", 3: "router", 6: "dns_server", 15: "domain", 35: "arp_timeout", 42: "ntp_server",
    66: "tftp_server_name", 150: "tftp_server_ip",
}  # fmt: skip
_TIMES = {_LEASE: "lease_time", _RENEWAL: "renewal_time", _REBINDING: "rebinding_time"}
_BUFFERS = {_LEASE: "dhcp.leasetime", _RENEWAL: "dhcp.renewal_time", _REBINDING: "dhcp.rebinding_time"}


class DhcpSettings(DialogueSettings):
    """Bounds of the DHCP parser, and what it logs."""

    extended: bool = Field(
        default=False,
        description="Write an event for every message, and all that there is to say of it; else of what a server"
        " grants alone, and in short, as Suricata does by default.",
    )


class DhcpMessage:
    """What one message says; it begins with a whole head."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.options: list[tuple[int, bytes]] = []
        self.whole = self._read_options()
        """Their end is there."""
        self.kind = next((of[0] for code, of in self.options if code == _TYPE and of), 0)

    def _read_options(self) -> bool:
        """Read the options of the message, as far as they are there; return whether their end, or a bound, is."""
        data, at = self.data, _HEAD + len(_COOKIE)
        for _ in range(MAX_OPTIONS):
            at = len(data) - len(data[at:].lstrip(b"\0"))
            if data[at : at + 1] == _END:
                return True
            end = at + 2 + data[at + 1] if at + 2 <= len(data) else at + 2
            if end > len(data):
                return False
            self.options.append((data[at], data[at + 2 : end]))
            at = end
        return True

    def fields(self, extended: bool) -> dict[str, Any]:
        """Return what EVE logs."""
        data, op = self.data, self.data[0]
        size = min(data[2], 16)
        fields: dict[str, Any] = {
            "type": {_REQUEST: "request", _REPLY: "reply"}.get(op, "<unknown>"),
            "id": int.from_bytes(data[4:8], "big"),
            "client_mac": _hex(data[28 : 28 + size]),
            "assigned_ip": _address(data[16:20]),
        }
        if extended:
            fields["client_ip"] = _address(data[12:16])
            if op == _REPLY:
                fields["relay_ip"], fields["next_server_ip"] = _address(data[24:28]), _address(data[20:24])
        for code, of in self.options:
            if extended or code in (_CLIENT, _RENEWAL, _HOSTNAME, _TYPE):
                fields |= _logged(code, of)
        return fields

    def buffers(self) -> dict[str, bytes | tuple[bytes, ...] | None]:
        """Return what rules test."""
        found: dict[str, bytes | tuple[bytes, ...] | None] = {}
        for code, of in self.options:
            if code in _BUFFERS and len(of) == 4:
                found[_BUFFERS[code]] = b"%d" % int.from_bytes(of, "big")
        last = dict(self.options)
        found["dhcp.type"] = _name(self.kind).encode() if self.kind else None
        found["dhcp.hostname"] = last.get(_HOSTNAME)
        found["dhcp.vendor_class"] = last.get(_VENDOR)
        return found


def _logged(code: int, of: bytes) -> dict[str, Any]:
    """Return what EVE says of an option."""
    if code == _TYPE and of:
        return {"dhcp_type": _name(of[0])}
    if code in _TIMES and len(of) == 4:
        return {_TIMES[code]: int.from_bytes(of, "big")}
    if code == _CLIENT and of:
        return {"client_id": _hex(of[1:])}
    if code == _HOSTNAME and of:
        return {"hostname": text(of)}
    if code == _VENDOR and of:
        return {"vendor_class_identifier": text(of)}
    if code in (_MASK, _REQUESTED):
        return {"subnet_mask" if code == _MASK else "requested_ip": _address(of)}
    if code in (_ROUTERS, _DNS):
        name = "routers" if code == _ROUTERS else "dns_servers"
        return {name: [_address(of[at : at + 4]) for at in range(0, len(of) - 3, 4)]}
    if code == _PARAMETERS:
        return {"params": [_NAMED[one] for one in of if one in _NAMED]}
    return {}


def _name(kind: int) -> str:
    return _TYPES[kind - 1] if 1 <= kind <= len(_TYPES) else "unknown"


def _hex(data: bytes) -> str:
    return data.hex(":")


def _address(data: bytes) -> str:
    return ".".join(map(str, data)) if len(data) == 4 else data.hex(":")


def is_dhcp(data: bytes) -> bool:
    """Return whether a datagram is a message: what asks and answers, a hardware address, and the cookie."""
    return len(data) > _HEAD + len(_COOKIE) and data[0] in (1, 2) and data[_HEAD : _HEAD + 4] == _COOKIE


class DhcpFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "dhcp"

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        if not is_dhcp(message.data):
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), complete=False, odd=("malformed_options",))
            return
        settings = self.shared.settings
        extended = isinstance(settings, DhcpSettings) and settings.extended
        said = DhcpMessage(message.data)
        odd = [] if said.options else ["malformed_options"]
        if not said.whole:
            odd.append("truncated_options")
        logged = extended or said.kind == _ACK
        self.say(direction, said.buffers(), lambda: said.fields(extended), self.new(), complete=logged, odd=odd)


PROTOCOL = Protocol(
    name="dhcp",
    usual_ports=frozenset({67, 68}),
    usual_starts=dict.fromkeys((67, 68), frozenset({1, 2})),
    datagram=is_dhcp,
    settings=DhcpSettings,
    datagrams=speaking(DhcpFlow),
    oddities=("malformed_options", "truncated_options"),
    event="dhcp",
    of_sender=True,
    buffers=(
        Buffer("dhcp.type", "dhcp", None, "type of the message: `discover`, `ack`"),
        Buffer("dhcp.hostname", "dhcp", None, "name of the host"),
        Buffer("dhcp.vendor_class", "dhcp", None, "class of the client's vendor"),
        Buffer("dhcp.leasetime", "dhcp", None, "seconds of the lease, decimal"),
        Buffer("dhcp.renewal_time", "dhcp", None, "seconds until it is renewed, decimal"),
        Buffer("dhcp.rebinding_time", "dhcp", None, "seconds until another server is asked, decimal"),
    ),
)
