"""How a session of RDP begins: what both sides agree on, and what a client says of itself ([MS-RDPBCGR] 2.2.1)."""

from __future__ import annotations

from struct import Struct
from typing import Any

from ids.later import late_pattern
from ids.protocols.rdp import names

TPKT = 4
"""Bytes before a message (T.123): a version, and its length."""
_TLS = 5
_REQUEST, _CONFIRM, _DATA = 0xE0, 0xD0, 0xF0
_CONNECT, _CONNECTED = b"\x7f\x65", b"\x7f\x66"
_COOKIE = late_pattern(rb"Cookie: mstshash=([^\r\n]{1,256})")
_X224 = 7
"""Bytes of a message of X.224 that begins a connection, its length included."""
_OFFER, _CHOICE, _FAILURE = 1, 2, 3
_NEGOTIATION = 8
_BLOCKS = b"Duca"
"""Stands before the data of a client."""
_CORE, _NETWORK = 0xC001, 0xC003
_MAX_CHANNELS = 64
_HH, _I = Struct("<HH").unpack_from, Struct("<I").unpack_from


def length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message takes, or a record of TLS, as `ids.protocols.framing.LengthOf`."""
    if data[at] == 0x16:
        return _TLS + (data[at + 3] << 8 | data[at + 4]) if len(data) >= at + _TLS else 0
    if data[at] != 3:
        return -1
    if len(data) < at + TPKT:
        return 0
    size = data[at + 2] << 8 | data[at + 3]
    return size if size > TPKT else -1


def is_tls(message: bytes) -> bool:
    """Return whether a message is a record of TLS."""
    return message[:1] == b"\x16"


def read(message: bytes) -> dict[str, Any] | None:
    """Return what a message says, key for key as Suricata 7; None for one that says nothing of interest."""
    body = message[TPKT:]
    kind = body[1] & 0xF0 if len(body) > 1 else 0
    if kind in (_REQUEST, _CONFIRM) and len(body) >= _X224:
        rest = body[_X224 : 1 + body[0]]
        return _request(rest) if kind == _REQUEST else _confirm(rest)
    if kind == _DATA:
        data = body[1 + body[0] :]
        if data.startswith(_CONNECT):
            return _connect(data)
        if data.startswith(_CONNECTED):
            return {"event_type": "connect_response"}
    return None


def chosen(said: dict[str, Any]) -> bool:
    """Return whether both sides go on in TLS."""
    return bool(said["event_type"] == "initial_response" and said.get("protocol", "rdp") != "rdp")


def _request(rest: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"event_type": "initial_request"}
    cookie = _COOKIE.search(rest)
    if cookie is not None:
        said["cookie"] = cookie[1].decode("utf-8", "replace")
    offer = rest[rest.find(b"\r\n") + 2 :] if b"\r\n" in rest else rest
    if len(offer) >= _NEGOTIATION and offer[0] == _OFFER and offer[1]:
        said["flags"] = names.flags(offer[1], names.REQUEST_FLAGS)
    return said


def _confirm(rest: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"event_type": "initial_response"}
    if len(rest) < _NEGOTIATION:
        return said
    value = int(_I(rest, 4)[0])
    if rest[0] == _CHOICE:
        if rest[1]:
            said["server_supports"] = names.flags(rest[1], names.RESPONSE_FLAGS)
        said["protocol"] = names.PROTOCOLS.get(value, names.UNKNOWN)
    elif rest[0] == _FAILURE:
        said["error_code"] = value
        said["reason"] = names.FAILURES.get(value, names.UNKNOWN)
    return said


def _connect(data: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"event_type": "connect_request"}
    at = data.find(_BLOCKS)
    if at < 0:
        return said
    at += len(_BLOCKS)
    at += 2 if data[at : at + 1] >= b"\x80" else 1
    while at + 4 <= len(data):
        kind, size = _HH(data, at)
        if size < 4:
            break
        block = data[at + 4 : at + size]
        if kind == _CORE and "client" not in said and len(block) >= 128:
            said["client"] = _client(block)
        elif kind == _NETWORK and "channels" not in said and (channels := _channels(block)):
            said["channels"] = channels
        at += size
    return said


def _client(block: bytes) -> dict[str, Any]:
    """Return what a client says of itself."""
    width, height, first = (_number(block, at, 2) or 0 for at in (4, 6, 8))
    said: dict[str, Any] = {
        "version": names.VERSIONS.get(_number(block, 0, 4) or 0, names.UNKNOWN), "desktop_width": width,
        "desktop_height": height, "color_depth": names.depth(first, _number(block, 128, 2), _number(block, 136, 2)),
        "keyboard_layout": names.layout(_number(block, 12, 4) or 0), "build": names.build(_number(block, 16, 4) or 0),
        "client_name": _text(block[20:52]), "keyboard_type": names.KEYBOARDS.get(_number(block, 52, 4) or 0),
        "keyboard_subtype": _number(block, 56, 4) or None, "function_keys": _number(block, 60, 4) or None,
        "ime": _text(block[64:128]), "product_id": _number(block, 130, 2),
        "serial_number": _number(block, 132, 4) or None,
        "capabilities": names.flags(_number(block, 140, 2) or 0, names.CAPABILITIES) or None,
        "id": _text(block[142:206]), "connection_hint": names.HINTS.get(_number(block, 206, 1) or 0),
        "physical_width": _number(block, 212, 4), "physical_height": _number(block, 216, 4),
        "desktop_orientation": _number(block, 220, 2), "scale_factor": _number(block, 222, 4),
        "device_scale_factor": _number(block, 226, 4),
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None and value != ""}


def _number(block: bytes, at: int, size: int) -> int | None:
    """Return a number of a block; None where the block is shorter."""
    return int.from_bytes(block[at : at + size], "little") if len(block) >= at + size else None


def _text(raw: bytes) -> str:
    """Return a text in UTF-16, up to its end."""
    return raw.decode("utf-16-le", "replace").partition("\0")[0]


def _channels(block: bytes) -> list[str]:
    count = min(_number(block, 0, 4) or 0, _MAX_CHANNELS)
    raw = [block[at : at + 8] for at in range(4, min(4 + 12 * count, len(block)), 12)]
    return [name.split(b"\0")[0].decode("utf-8", "replace") for name in raw]
